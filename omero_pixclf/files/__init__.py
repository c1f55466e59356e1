"""Readers and writers of file formats: TIFF, OME-Zarr, HDF5, PNG and NumPy, by axes, names and blocks."""

from omero_pixclf.files.opening import open_image

__all__ = ["open_image"]

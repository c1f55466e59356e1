"""OME-Zarr stores: metadata, images, plates, reading and writing."""

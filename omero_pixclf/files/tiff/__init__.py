"""TIFF and OME-TIFF files: read, written, checked."""

"""Read, check and write TIFF and OME-TIFF."""

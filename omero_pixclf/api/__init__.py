"""The functions of the Python API; ``omero_pixclf`` imports each at its first use."""

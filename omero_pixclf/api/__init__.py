"""The functions of the Python API; `omero_pixclf` imports them at their first use."""

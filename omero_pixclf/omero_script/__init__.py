"""The script in OMERO.web."""

"""One file per OMERO service."""

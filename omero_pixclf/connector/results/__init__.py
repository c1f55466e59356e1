"""Results of a run in OMERO: write, find, replace and remove them."""

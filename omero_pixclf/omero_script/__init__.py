"""The script in OMERO.web: its form, and the run that it starts."""

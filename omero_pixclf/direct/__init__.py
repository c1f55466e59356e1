"""Read pixels from mounted files of an OMERO server's storage instead of through the server."""

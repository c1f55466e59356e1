"""OMERO: read pixels, write results. The only package that communicates with a server."""

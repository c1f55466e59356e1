"""OMERO: pixels out, results in. The only room that talks to a server."""

"""OMERO as a backend: read pixels, write results. Only this package talks to an OMERO server."""

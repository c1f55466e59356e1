"""An OMERO-compatible server in Python, for the demo, the tests and offline use."""

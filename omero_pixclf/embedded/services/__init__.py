"""The services of the embedded OMERO: one module per OMERO service."""

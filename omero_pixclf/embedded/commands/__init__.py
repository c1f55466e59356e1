"""omero.cmd requests: deleting, change, copying and asking about parts of the object graph."""

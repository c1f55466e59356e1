"""omero.cmd requests: deleting, moving, copying and asking about parts of the object graph."""

"""omero.cmd requests: delete, move, change owner, duplicate, and questions about the object graph."""

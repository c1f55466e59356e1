"""Log in to OMERO and call its services in the right group."""

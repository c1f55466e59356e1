"""Sessions on an OMERO server: login, TLS, permissions, and service calls bound to a group."""

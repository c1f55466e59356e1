"""Logging in to OMERO, and calling its services in the right group."""

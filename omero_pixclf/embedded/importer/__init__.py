"""Clients of imports: `omero import` without Java, and `omero-pixclf embedded import`."""

"""`omero import` without Java: arguments, folders, uploads."""

"""The database of the embedded OMERO: tables, loading and saving of model objects, full-text search."""

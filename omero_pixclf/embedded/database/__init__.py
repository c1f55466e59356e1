"""The database of the embedded OMERO: its tables, objects as rows, saving and loading."""

"""OMERO: sessions, pixels out; ROIs, tables, files and the ledger in. The only room that imports omero."""

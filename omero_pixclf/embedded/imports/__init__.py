"""Importing files: upload, checksums, and what becomes of a set of files in the database and on the disk."""

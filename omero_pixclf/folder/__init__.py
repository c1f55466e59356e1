"""A results folder instead of OMERO: results of runs over files, with ledger, tables and outlines."""

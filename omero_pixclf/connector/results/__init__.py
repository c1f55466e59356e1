"""Results of runs in OMERO: write, find, replace and remove ROIs, tables, files and ledger entries."""

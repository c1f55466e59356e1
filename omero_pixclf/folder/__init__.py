"""A folder as a backend: results of runs, their ledger, tables and outlines."""

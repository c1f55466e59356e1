"""A reader of HDF5 in Python that survives hostile files: every offset is checked, nothing is executed."""

"""A reader of HDF5 in Python for hostile files: every offset is checked, nothing is executed."""

"""HDF5 files as ilastik reads and writes them."""

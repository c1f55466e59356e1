"""The data folder: paths of pixels and files, the managed repository, locking."""

"""How images are worked on: in this process, in several, on a dask cluster, by jobs of a batch system."""

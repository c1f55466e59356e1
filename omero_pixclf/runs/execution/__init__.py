"""Execute a run's images: in this process, in several, on a dask cluster, or in jobs of a batch system."""

"""A run's folder: its manifest, kept files, resuming and merging."""

"""A run's folder: manifest, images' files, resuming and merging."""

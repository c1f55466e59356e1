"""IContainer: hierarchies of projects, datasets and images, their annotations and counts."""

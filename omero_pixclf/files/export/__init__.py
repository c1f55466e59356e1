"""Results as files: formats, names, value ranges, chunks."""

"""Export of results to files: formats, file names, value ranges, chunks."""

"""Local files as sources and sinks."""

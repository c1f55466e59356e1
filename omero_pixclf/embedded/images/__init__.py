"""Pixels on disk, rendering, resolutions and statistics of shapes."""

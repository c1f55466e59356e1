"""Local files as sources and sinks."""

from omero_pixclf.files.opening import open_image

__all__ = ["open_image"]

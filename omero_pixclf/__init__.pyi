# The types of the lazily imported names in __init__.py, for type checkers and editors.
from omero_pixclf import errors
from omero_pixclf.api.connection import connect, open_image
from omero_pixclf.api.object_analysis import measure, outlines, segment
from omero_pixclf.api.prediction import predict, read_project, simple_segmentation
from omero_pixclf.api.recipe_runs import run, undo

__all__ = [
    "__version__",
    "connect",
    "errors",
    "measure",
    "open_image",
    "outlines",
    "predict",
    "read_project",
    "run",
    "segment",
    "simple_segmentation",
    "undo",
]

__version__: str

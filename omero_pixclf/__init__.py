"""ilastik pixel classifiers applied, without ilastik, to everything in an OMERO server."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("omero_pixclf")

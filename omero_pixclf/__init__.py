"""ilastik pixel classifiers applied, without ilastik, to everything in an OMERO server."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when asked for: the look-up is a fifth of a small image's whole time."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("omero_pixclf")

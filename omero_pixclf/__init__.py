"""Apply trained ilastik pixel classifiers, without ilastik, to arrays, image files and images in OMERO.

The names below are the Python API. Each is imported at its first use, so that ``import omero_pixclf`` is fast. Only
`connect` and `open_image` need omero-py and Ice. ``errors`` has the exceptions. Axes are given as letters of
``"tzyxc"``, such as ``axes="zyx"``.
"""

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

_MODULES = {
    "connect": "omero_pixclf.api.connection",
    "measure": "omero_pixclf.api.object_analysis",
    "open_image": "omero_pixclf.api.connection",
    "outlines": "omero_pixclf.api.object_analysis",
    "predict": "omero_pixclf.api.prediction",
    "read_project": "omero_pixclf.api.prediction",
    "run": "omero_pixclf.api.recipe_runs",
    "segment": "omero_pixclf.api.object_analysis",
    "simple_segmentation": "omero_pixclf.api.prediction",
    "undo": "omero_pixclf.api.recipe_runs",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("omero_pixclf")
    if name not in _MODULES and name != "errors":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "errors":
        return import_module("omero_pixclf.errors")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})

"""The packages of the extra ``embedded``, which only the embedded OMERO needs, and the error if one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from omero_pixclf.errors import UsageError

__all__ = ["require_extra"]

_PACKAGES = ("cryptography", "tables")
"""``cryptography`` makes the server's certificate, ``tables`` (PyTables) stores OMERO.tables."""


def require_extra() -> None:
    """Check that the packages of the extra ``embedded`` are installed.

    Raises
    ------
    UsageError
        One of them is missing; the message says how to install the extra.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the embedded OMERO needs {' and '.join(missing)}, not installed here; install the extra `embedded`: "
            "pip install '.[embedded]' in the checkout"
        )

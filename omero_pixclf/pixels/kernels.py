"""Choose the kernels: compiled ones where the package was built with a compiler, otherwise those in numpy.

Set ``OMERO_PIXCLF_PURE=1`` to use numpy's always. Both give the same numbers.
"""

from __future__ import annotations

import logging
import os
from typing import Any

__all__ = ["NATIVE", "kernels"]

from omero_pixclf.pixels import kernels_numpy

_log = logging.getLogger(__name__)


def _import_native() -> Any:
    if os.environ.get("OMERO_PIXCLF_PURE", "") not in ("", "0"):
        return None
    try:
        from omero_pixclf.pixels import _native as compiled  # type: ignore[attr-defined]
    except ImportError as missing:
        _log.warning("compiled kernels are missing (%s): numpy gives the same numbers, many times slower", missing)
        return None
    return compiled


NATIVE: Any = _import_native()
kernels: Any = NATIVE or kernels_numpy

"""The sequential steps on objects, compiled where the package was built with a compiler and Python's otherwise.

Set ``OMERO_PIXCLF_PURE=1`` to use Python's in any case. Both give the same numbers.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from omero_pixclf.objects import kernels_python

__all__ = ["NATIVE", "kernels"]

_log = logging.getLogger(__name__)


def _load_native() -> Any:
    if os.environ.get("OMERO_PIXCLF_PURE", "") not in ("", "0"):
        return None
    try:
        from omero_pixclf.objects import _native as compiled  # type: ignore[attr-defined]
    except ImportError as missing:
        _log.warning("compiled kernels are missing (%s): Python gives the same numbers, many times slower", missing)
        return None
    return compiled


NATIVE: Any = _load_native()
kernels: Any = NATIVE or kernels_python

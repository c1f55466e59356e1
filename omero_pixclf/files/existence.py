"""Whether files and folders exist. Unlike pathlib's methods, these accept names that no file system allows."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["exists", "is_dir", "is_file"]


def exists(path: str | Path) -> bool:
    r"""Whether a file or folder exists.

    >>> exists("x" * 5000), exists("a\0b")
    (False, False)
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Whether the path is an existing file."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | Path) -> bool:
    """Whether the path is an existing folder."""
    return os.path.isdir(path)  # noqa: PTH112

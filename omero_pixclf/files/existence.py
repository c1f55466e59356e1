"""Whether files and folders are there, for names of any kind: pathlib raises over names that no file system takes."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["exists", "is_dir", "is_file"]


def exists(path: str | Path) -> bool:
    r"""Whether there is a file or folder.

    >>> exists("x" * 5000), exists("a\0b")
    (False, False)
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Whether there is a file."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | Path) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112

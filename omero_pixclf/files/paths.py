"""Names of files as ilastik takes them: ``stack.h5/volume/data``, globs, and lists joined by the path separator."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.errors import ImageError

__all__ = ["DataPath", "expand", "is_pattern", "nickname", "split"]

_HDF5 = re.compile(r"^(?P<file>.*\.(?:h5|hdf5|ilp))(?P<inside>/.*)?$", re.IGNORECASE)
_ZARR = re.compile(r"^(?P<file>.*?\.zarr)(?P<inside>/.*)?$", re.IGNORECASE)


@dataclass(frozen=True)
class DataPath:
    """A file (or store) and, where it holds several arrays, which one.

    Attributes
    ----------
    file
        The path on disk.
    inside
        The name of the array within, without a leading slash; None where not given.
    """

    file: Path
    inside: str | None = None

    @property
    def kind(self) -> str:
        """The extension in lower case, ``".h5"``."""
        return self.file.suffix.lower()

    def __str__(self) -> str:
        return str(self.file) if self.inside is None else f"{self.file}/{self.inside}"


def split(path: str | Path) -> DataPath:
    """The file and the array within it that a path names.

    Examples
    --------
    >>> split("a/stack.h5/volume/data").inside
    'volume/data'
    >>> split("a/stack.tif").inside is None
    True
    """
    text = os.fspath(path).replace("\\", "/") if os.sep == "\\" else os.fspath(path)
    for pattern in (_HDF5, _ZARR):
        match = pattern.match(text)
        if match:
            inside = (match["inside"] or "").strip("/")
            return DataPath(Path(match["file"]), inside or None)
    return DataPath(Path(text))


def is_pattern(path: str | Path) -> bool:
    """Whether a path stands for several files: a glob, or names joined by the path separator."""
    text = os.fspath(path)
    return not Path(text).exists() and ("*" in text or os.pathsep in text)


def expand(path: str | Path) -> tuple[DataPath, ...]:
    """All arrays that a path, a glob or a list of these stands for, sorted by name.

    Raises
    ------
    ImageError
        Where nothing is there by that name.
    """
    text = os.fspath(path)
    parts = [p for p in text.split(os.pathsep) if p] if is_pattern(text) else [text]
    found = [d for part in parts for d in _expand_one(part)]
    return tuple(sorted(found, key=str)) if len(found) > 1 else tuple(found)


def _expand_one(text: str) -> list[DataPath]:
    data = split(Path(text).expanduser())
    files = [data.file] if data.file.exists() else [Path(p) for p in glob.glob(str(data.file))]  # noqa: PTH207
    if not files:
        raise ImageError(f"{data.file}: no such file")
    if data.inside is None or "*" not in data.inside or data.kind == ".zarr":
        return [DataPath(f, data.inside) for f in files]
    return [DataPath(f, name) for f in files for name in _names_inside(f, data.inside)]


def _names_inside(file: Path, pattern: str) -> list[str]:
    from omero_pixclf.files.hdf5 import array_names

    names = fnmatch.filter(array_names(file), pattern)
    if not names:
        raise ImageError(f"{file}: holds no array that matches {pattern!r}")
    return names


def nickname(paths: Sequence[DataPath]) -> str:
    """The short name that ilastik gives a dataset, for file names of results.

    Examples
    --------
    >>> nickname([split("a/stack.h5/volume/data")])
    'stack-volume-data'
    >>> nickname([split("a/s_01.tif"), split("a/s_02.tif")])
    's_0'
    """
    stems = [os.fspath(p.file)[: -len(p.file.suffix) or None] for p in paths]
    shared = os.path.commonprefix(stems)  # noqa: RUF071 - by letters, as ilastik
    outer = Path(shared).name if shared else f"stack_at-{paths[0].file.stem}"
    inner = os.path.commonprefix([p.inside or "" for p in paths])  # noqa: RUF071
    return (outer + (f"-{inner.replace('/', '-')}" if inner else "")).replace("*", "")

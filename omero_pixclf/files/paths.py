"""Paths as ilastik's command line accepts them: ``stack.h5/volume/data``, globs, and lists joined by a separator."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.errors import ImageError
from omero_pixclf.files.existence import exists, is_dir, is_file
from omero_pixclf.files.ome_zarr.zarr_store import STORE_SUFFIXES, is_store
from omero_pixclf.text import expand_home

__all__ = ["DataPath", "dataset_nickname", "expand_paths", "is_folder", "is_pattern", "split_path"]

_SERIES = re.compile(r"(?P<path>.+)#(?P<series>\d{1,9})", re.DOTALL)
_HDF5 = (".h5", ".hdf5", ".ilp")


@dataclass(frozen=True)
class DataPath:
    """A file (or store) and, if given, the array or image in it.

    Attributes
    ----------
    file
        The path on disk.
    inside
        The name of the array in the file, without a leading slash; None if not given.
    series
        The number of the image in the file, from 0; None if not given.
    """

    file: Path
    inside: str | None = None
    series: int | None = None

    @property
    def kind(self) -> str:
        """The extension in lower case, ``".h5"``; ``".zarr"`` for OME-Zarr in a ZIP file, too."""
        return ".zarr" if self.file.name.lower().endswith(STORE_SUFFIXES) else self.file.suffix.lower()

    def __str__(self) -> str:
        number = "" if self.series is None else f"#{self.series}"
        return f"{self.file}{number}" if self.inside is None else f"{self.file}/{self.inside}{number}"


def split_path(path: str | Path) -> DataPath:
    """Split a path into a file and the array or image in it.

    If a path can be read in several ways, the files on disk decide: ``exports.h5/a.tif`` may be a file in a folder.

    Examples
    --------
    >>> split_path("a/stack.h5/volume/data").inside
    'volume/data'
    >>> split_path("a/stack.tif").inside is None
    True
    >>> split_path("a/two.ome.tif#1").series
    1
    """
    text = os.fspath(path).replace("\\", "/") if os.sep == "\\" else os.fspath(path)
    numbered = None if os.path.lexists(text) else _SERIES.fullmatch(text)
    series = int(numbered["series"]) if numbered else None
    file, inside = _split_container(numbered["path"] if numbered else text)
    return DataPath(Path(file), inside.strip("/") or None, series)


def _split_container(text: str) -> tuple[str, str]:
    """Split a path after an HDF5 file or a Zarr store in it; returns the whole path and "" if there is none."""
    if is_file(text):
        return text, ""
    ends = [i for i, letter in enumerate(text) if letter == "/" and i] + [len(text)]
    stores = [end for end in ends if text[:end].lower().endswith(STORE_SUFFIXES)]
    files = [end for end in ends if text[:end].lower().endswith(_HDF5) and not is_dir(text[:end])]
    end = next(
        iter(
            [e for e in files if is_file(text[:e])]
            or [e for e in stores if is_file(text[:e]) or is_store(Path(text[:e]))]
            or files[-1:]
            or [e for e in stores if e == len(text) or not is_dir(text[:e])]
        ),
        len(text),
    )
    return text[:end], text[end:]


def is_folder(path: str | Path) -> bool:
    """Whether a path is a folder of files, and not a Zarr store or part of one, whatever its name."""
    if not is_dir(path):
        return False
    data = split_path(path)
    return data.kind != ".zarr" or not is_store(data.file)


def is_pattern(path: str | Path) -> bool:
    """Whether a path is a glob or a list of names joined by the path separator."""
    text = os.fspath(path)
    return not exists(split_path(text).file) and ("*" in text or os.pathsep in text)


def expand_paths(path: str | Path) -> tuple[DataPath, ...]:
    """Return all arrays of a path, a glob or a list of these, sorted by name.

    Raises
    ------
    ImageError
        If no such file exists.
    """
    text = os.fspath(path)
    parts = [p for p in text.split(os.pathsep) if p] if is_pattern(text) else [text]
    found = [d for part in parts for d in _expand_one(part)]
    return tuple(sorted(found, key=str)) if len(found) > 1 else tuple(found)


def _expand_one(text: str) -> list[DataPath]:
    data = split_path(expand_home(text))
    files = [data.file] if exists(data.file) else _find_files(str(data.file))
    if not files:
        raise ImageError(f"{data.file}: no such file")
    if data.inside is None or "*" not in data.inside or data.kind == ".zarr":
        return [DataPath(f, data.inside, data.series) for f in files]
    return [DataPath(f, name) for f in files for name in _names_inside(f, data.inside)]


def _find_files(pattern: str) -> list[Path]:
    """Return the files that match a glob.

    File names with ``[1]`` or ``?`` are more common than such wildcards, so at first only ``*`` is a wildcard. If
    nothing matches, the others are wildcards, too, as in ilastik, but not in the names of existing folders.
    """
    folder = next((p for p in Path(pattern).parents if p.is_dir()), Path())
    rest = str(Path(pattern).relative_to(folder))
    stars = glob.escape(pattern).replace("[*]", "*")
    choices = os.path.join(glob.escape(str(folder)), rest)  # noqa: PTH118 - "." stays "."
    return [Path(p) for p in glob.glob(stars) or glob.glob(choices)]  # noqa: PTH207


def _filter_names(names: Sequence[str], pattern: str) -> list[str]:
    """Return the names that match a pattern by the rules of `_find_files`."""
    stars = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    return [name for name in names if stars.fullmatch(name)] or fnmatch.filter(names, pattern)


def _names_inside(file: Path, pattern: str) -> list[str]:
    from omero_pixclf.files.hdf5.hdf5_reader import array_names

    names = _filter_names(array_names(file), pattern)
    if not names:
        raise ImageError(f"{file}: holds no array that matches {pattern!r}")
    return names


def dataset_nickname(paths: Sequence[DataPath]) -> str:
    """Return the short name that ilastik gives a dataset, which names of result files contain.

    Examples
    --------
    >>> dataset_nickname([split_path("a/stack.h5/volume/data")])
    'stack-volume-data'
    >>> dataset_nickname([split_path("a/s_01.tif"), split_path("a/s_02.tif")])
    's_0'
    """
    stems = [os.fspath(p.file)[: -len(p.file.suffix) or None] for p in paths]
    shared = os.path.commonprefix(stems)  # noqa: RUF071 - by letters, as ilastik
    outer = Path(shared).name if shared else f"stack_at-{paths[0].file.stem}"
    inner = os.path.commonprefix([p.inside or "" for p in paths])  # noqa: RUF071
    number = f"-{paths[0].series}" if len(paths) == 1 and paths[0].series is not None else ""
    return (outer + (f"-{inner.replace('/', '-')}" if inner else "") + number).replace("*", "")

"""Files of an image's results in the run's folder: tables and preview, for its container."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import InputError
from omero_pixclf.table import Column, Table
from omero_pixclf.text import parse_json

__all__ = ["BLOCKS_FOLDER", "NPZ_ERRORS", "ImageFiles", "key_to_file_name", "table_from_arrays", "table_to_arrays"]

BLOCKS_FOLDER = "pieces"  # the folder in a run's folder
NPZ_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""What numpy raises on an ``.npz`` that is cut off or changed."""


class ImageFiles:
    """The files of a run's images; any process that works on an image may write them.

    Attributes
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_table(self, key: str, name: str, table: Table) -> None:
        """Save a table of an image (``summary`` or ``objects``), completely or not at all."""
        target = self._path(key, name)
        part = target.with_suffix(".part")
        with part.open("wb") as out:
            np.savez_compressed(out, **table_to_arrays(table))
        part.replace(target)

    def load_table(self, key: str, name: str) -> Table | None:
        """Return a saved table, or None if there is none.

        Raises
        ------
        InputError
            Its file is damaged.
        """
        path = self._path(key, name)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return table_from_arrays(arrays)
        except NPZ_ERRORS as error:
            raise InputError(f"{path}: is damaged: {error}; repeat {key} with --force") from error

    def copy_image(self, other: ImageFiles, key: str) -> bool:
        """Copy the files of an image from another run's folder, the summary last; return whether there were any.

        Raises
        ------
        InputError
            A file is damaged; then nothing is copied.
        """
        if other.load_table(key, "summary") is None:
            return False
        other.load_table(key, "objects")
        paths = {other.preview_path(key): self.preview_path(key)}
        paths |= {other._path(key, name): self._path(key, name) for name in ("objects", "summary")}
        for source, target in paths.items():
            if source.is_file():
                part = target.with_suffix(".part")
                shutil.copy2(source, part)
                part.replace(target)
        return True

    def preview_path(self, key: str) -> Path:
        """Return the path of an image's preview (PNG)."""
        return self.folder / "images" / f"{key_to_file_name(key)}.png"

    def blocks_folder(self, key: str) -> Path:
        """Return the folder of an image's blocks (`omero_pixclf.runs.blocks.block_plan`)."""
        return self.folder / BLOCKS_FOLDER / key_to_file_name(key)

    def remove_blocks(self, key: str) -> None:
        """Remove the blocks of an image that is done."""
        shutil.rmtree(self.blocks_folder(key), ignore_errors=True)
        with suppress(OSError):  # others are left, or there is none
            (self.folder / BLOCKS_FOLDER).rmdir()

    def remove_all_blocks(self) -> None:
        """Remove the blocks of images that were not done."""
        shutil.rmtree(self.folder / BLOCKS_FOLDER, ignore_errors=True)

    def _path(self, key: str, name: str) -> Path:
        return self.folder / "images" / f"{key_to_file_name(key)}.{name}.npz"


def key_to_file_name(key: str) -> str:
    """Return a file name for a key: ``Image:51`` → ``Image_51``; long or unusual ones get a digest."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", key)
    if plain == key.replace(":", "_") and len(plain) < 80 and plain[:1].isalnum():
        return plain
    return f"{plain[-60:]}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:12]}"


_DECLARED = ("name", "kind", "unit", "description", "fill")


def table_to_arrays(table: Table, prefix: str = "") -> dict[str, Any]:
    """Return a table as arrays whose names start with ``prefix``."""
    described = [{name: getattr(c, name) for name in _DECLARED} for c in table.columns]
    values = {
        f"{prefix}values{i}": np.asarray(c.values.tolist(), dtype=str) if c.kind == "string" else c.values
        for i, c in enumerate(table.columns)
    }
    return {f"{prefix}columns": np.asarray(json.dumps(described)), **values}


def table_from_arrays(arrays: Mapping[str, Any], prefix: str = "") -> Table:
    """Return the table that `table_to_arrays` has made arrays of."""
    described = parse_json(str(arrays[f"{prefix}columns"]))
    return Table(tuple(Column(values=arrays[f"{prefix}values{i}"].tolist(), **d) for i, d in enumerate(described)))

"""Stores of several OME-Zarr images: which group is image number n, and whether an array is whole."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_zarr import group_attributes
from omero_pixclf.wording import counted

__all__ = ["image_group", "refuse_incomplete", "store_of"]

_METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


def store_of(path: Path) -> Path | None:
    """The outermost Zarr store that a path names or lies in, or None.

    >>> store_of(Path("/data/plate.ome.zarr/A/1/0/.zattrs"))
    PosixPath('/data/plate.ome.zarr')
    """
    return next((p for p in reversed([path, *path.parents]) if p.suffix.lower() == ".zarr"), None)


def image_group(store: Path, series: int) -> str:
    """The group of image number ``series`` in a store: of one image, of bioformats2raw's layout, or of a plate.

    Raises
    ------
    ImageError
        Where there are not so many, or the metadata is not readable.
    """
    attributes = group_attributes(store)
    if attributes.get("plate"):
        groups = _of_plate(store, attributes["plate"])
    elif attributes.get("bioformats2raw.layout") is not None:
        listed = group_attributes(store / "OME").get("series")
        groups = [str(name) for name in listed] if isinstance(listed, list) else [str(series)] * (series + 1)
    else:
        groups = [""]
    if not 0 <= series < len(groups):
        raise ImageError(f"{store}: holds {counted(len(groups), 'image')}, none of number {series}")
    return groups[series]


def _of_plate(store: Path, plate: Any) -> list[str]:
    """The images of a plate in the order of its wells, and of their fields."""
    wells = [str(w["path"]) for w in plate.get("wells", ()) if isinstance(w, dict) and "path" in w]
    found = []
    for path in wells:
        if ".." in Path(path).parts or Path(path).is_absolute():
            raise ImageError(f"{store}: its plate has a well at {path!r}, out of the store")
        well = group_attributes(store / path).get("well")
        images = well.get("images", ()) if isinstance(well, dict) else ()
        found += [f"{path}/{image['path']}" for image in images if isinstance(image, dict) and "path" in image]
    return found


def refuse_incomplete(folder: Path) -> None:
    """Refuse an array in which chunks are missing: a copy that is not finished looks like one with empty chunks.

    Raises
    ------
    ImageError
        Also where the array has links, which could lead anywhere.
    """
    import zarr

    array: Any = zarr.open_array(str(folder), mode="r")
    pieces = getattr(array, "shards", None) or array.chunks
    expected = math.prod(-(-n // m) for n, m in zip(array.shape, pieces, strict=True))
    there = _count_files(folder)
    if there < expected:
        raise ImageError(f"{folder}: {expected - there} of {expected} chunks are not there")


def _count_files(folder: Path) -> int:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise ImageError(f"{entry.path}: a link within a store is not followed")
            if entry.is_dir():
                count += _count_files(Path(entry.path))
            else:
                count += entry.name not in _METADATA
    return count

"""The images of a Zarr store: of one image, of bioformats2raw's layout, or of a plate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_zarr.zarr_store import ZarrStore, open_store
from omero_pixclf.image import ImageLocation, well_name
from omero_pixclf.text import pluralize

__all__ = [
    "PlateLayout",
    "StoreContents",
    "StoreImage",
    "check_chunks_present",
    "find_place",
    "image_by_number",
    "image_group",
    "image_groups_below",
    "outermost_store",
    "store_contents",
]

_METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


@dataclass(frozen=True)
class StoreImage:
    """An image of a store.

    Attributes
    ----------
    group
        Its name within the store, ``"A/1/0"``; ``""`` where the store is the image.
    row, column
        Of its well, from 0; None off plates, and where the metadata does not say them.
    field
        Its number in its well, from 0.
    acquisition
        The name of the plate's acquisition, where the metadata says so.
    """

    group: str
    row: int | None = None
    column: int | None = None
    field: int = 0
    acquisition: str | None = None


@dataclass(frozen=True)
class PlateLayout:
    """A plate's name and its numbers of rows and columns."""

    name: str
    rows: int
    columns: int


@dataclass(frozen=True)
class StoreContents:
    """What a store holds; ``missing`` are the paths of wells that its plate lists and that are not there."""

    images: tuple[StoreImage, ...]
    plate: PlateLayout | None = None
    missing: tuple[str, ...] = ()


def store_contents(store: ZarrStore) -> StoreContents:
    """All images of a store, in its own order; those of a plate by well, as listed.

    Raises
    ------
    ImageError
        Where the metadata is not readable, or leads out of the store.
    """
    attributes = store.attributes()
    if isinstance(attributes.get("plate"), Mapping):
        return _plate_contents(store, attributes["plate"])
    if attributes.get("multiscales") is None and attributes.get("bioformats2raw.layout") is not None:
        return StoreContents(tuple(StoreImage(name) for name in _series_names(store)))
    return StoreContents((StoreImage(""),))


def _series_names(store: ZarrStore) -> list[str]:
    """Names of bioformats2raw's images: as listed, else numbers from 0 as long as there are groups."""
    listed = store.attributes("OME").get("series")
    if isinstance(listed, list):
        return [store.resolve("", name) for name in listed]
    found: list[str] = []
    while store.has(str(len(found))):
        found.append(str(len(found)))
    return found


def _plate_contents(store: ZarrStore, plate: Mapping[str, Any]) -> StoreContents:
    images: list[StoreImage] = []
    missing: list[str] = []
    wells = [(store.resolve("", well.get("path")), well) for well in _list_of_mappings(plate.get("wells"))]
    _check_unique_wells(store, plate, wells)
    for path, well in wells:
        if not store.has(path):
            missing.append(path)
            continue
        images += _well_images(store, plate, well, path)
    return StoreContents(tuple(images), _layout(store, plate), tuple(missing))


def _check_unique_wells(
    store: ZarrStore, plate: Mapping[str, Any], wells: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """Refuse a plate that lists a well twice, or two at one place: its images would be counted twice or mixed up."""
    paths: set[str] = set()
    places: dict[tuple[int, int], str] = {}
    for path, well in wells:
        if path in paths:
            raise ImageError(f"{store.path}: its plate lists the well {path} twice; each belongs there once")
        paths.add(path)
        row, column = _position(plate, well, path)
        if row is None or column is None:
            continue
        other = places.setdefault((row, column), path)
        if other != path:
            raise ImageError(
                f"{store.path}: its plate lists the wells {other} and {path} both at {well_name(row, column)} "
                f"(row {row}, column {column}, from 0); correct rowIndex and columnIndex"
            )


def _well_images(
    store: ZarrStore, plate: Mapping[str, Any], well: Mapping[str, Any], path: str
) -> Iterator[StoreImage]:
    row, column = _position(plate, well, path)
    described = store.attributes(path).get("well")
    listed = described.get("images") if isinstance(described, Mapping) else None
    for field, image in enumerate(_list_of_mappings(listed)):
        group = store.resolve(path, image.get("path"))
        yield StoreImage(group, row, column, field, _acquisition(plate, image.get("acquisition")))


def _position(plate: Mapping[str, Any], well: Mapping[str, Any], path: str) -> tuple[int | None, int | None]:
    """Row and column of a well; stores before version 0.4 say them by the names in its path only, ``A/1``."""
    row, column = well.get("rowIndex"), well.get("columnIndex")
    if _is_index(row) and _is_index(column):
        return row, column
    names = [[str(one.get("name")) for one in _list_of_mappings(plate.get(axis))] for axis in ("rows", "columns")]
    parts = path.split("/")
    if len(parts) == 2 and parts[0] in names[0] and parts[1] in names[1]:
        return names[0].index(parts[0]), names[1].index(parts[1])
    return None, None


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000


def _acquisition(plate: Mapping[str, Any], ident: Any) -> str | None:
    known = _list_of_mappings(plate.get("acquisitions"))
    return next((str(one.get("name") or ident) for one in known if one.get("id") == ident), None)


def _layout(store: ZarrStore, plate: Mapping[str, Any]) -> PlateLayout:
    rows, columns = (len(_list_of_mappings(plate.get(axis))) for axis in ("rows", "columns"))
    return PlateLayout(str(plate.get("name") or store.path.name), rows, columns)


def _list_of_mappings(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def find_place(store: ZarrStore, group: str) -> ImageLocation | None:
    """The well of an image of a plate; None where the store is no plate, or the plate does not list the image."""
    plate = store.attributes().get("plate")
    if not isinstance(plate, Mapping) or "/" not in group:
        return None
    for well in _list_of_mappings(plate.get("wells")):
        said = well.get("path")
        if not isinstance(said, str) or not group.startswith(f"{said.strip('/')}/"):
            continue
        path = store.resolve("", said)
        for image in _well_images(store, plate, well, path):
            if image.group == group:
                return _place(store, _layout(store, plate), image)
    return None


def _place(store: ZarrStore, plate: PlateLayout, image: StoreImage) -> ImageLocation:
    """The place of an image; a well without row and column is called as its path is, ``"A/1"``."""
    row, column = image.row, image.column
    if row is None or column is None:
        well, rows, columns = image.group.rpartition("/")[0], plate.rows, plate.columns
    else:
        well, rows, columns = well_name(row, column), max(plate.rows, row + 1), max(plate.columns, column + 1)
    return ImageLocation(
        container=str(store.path),
        name=plate.name,
        well=well,
        field=image.field + 1,
        acquisition=image.acquisition,
        plate=(rows, columns) if rows and columns else None,
    )


def outermost_store(path: Path) -> Path | None:
    """The outermost Zarr store that a path names or lies in, or None.

    >>> outermost_store(Path("/data/plate.ome.zarr/A/1/0/.zattrs"))
    PosixPath('/data/plate.ome.zarr')
    """
    return next((p for p in reversed([path, *path.parents]) if p.suffix.lower() == ".zarr"), None)


def image_group(path: Path, series: int) -> str:
    """The group of image number ``series`` in a store.

    Raises
    ------
    ImageError
        Where there are not so many, or the metadata is not readable.
    """
    with open_store(path) as store:
        return image_by_number(store, series).group


def image_by_number(store: ZarrStore, series: int) -> StoreImage:
    """Image number ``series`` of a store, from 0; ImageError where there are not so many."""
    images: Sequence[StoreImage] = store_contents(store).images
    if not 0 <= series < len(images):
        last = f"; its images are #0 to #{len(images) - 1}" if images else ""
        raise ImageError(f"{store.path}: holds {pluralize(len(images), 'image')}, none of number {series}{last}")
    return images[series]


def check_chunks_present(folder: Path) -> None:
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


def image_groups_below(contents: StoreContents, inside: str) -> list[str]:
    """The images at or below a group of a store, such as those of a well."""
    groups = [one.group for one in contents.images]
    return [group for group in groups if not inside or group == inside or group.startswith(f"{inside}/")]

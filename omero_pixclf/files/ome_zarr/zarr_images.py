"""The images of a Zarr store: one image, the images of bioformats2raw's layout, or those of a plate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_zarr.zarr_metadata import PlateEntry, PlateWell, WellEntry, parse_metadata
from omero_pixclf.files.ome_zarr.zarr_store import ZarrStore, open_store
from omero_pixclf.image import ImageLocation, well_name
from omero_pixclf.text import pluralize

__all__ = [
    "PlateLayout",
    "StoreContents",
    "StoreImage",
    "check_chunks_present",
    "find_location",
    "image_by_number",
    "image_group",
    "image_groups_below",
    "store_contents",
]

_METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


@dataclass(frozen=True)
class StoreImage:
    """An image of a store.

    Attributes
    ----------
    group
        Its group in the store, ``"A/1/0"``; ``""`` if the store is the image.
    row, column
        Of its well, from 0; None if there is no plate, or the metadata does not give them.
    field
        Its number in its well, from 0.
    acquisition
        The name of its acquisition, if the metadata gives it.
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
    """The content of a store; ``missing`` are the paths of wells that its plate lists and that do not exist."""

    images: tuple[StoreImage, ...]
    plate: PlateLayout | None = None
    missing: tuple[str, ...] = ()


def store_contents(store: ZarrStore) -> StoreContents:
    """Return all images of a store in the order of its metadata; those of a plate by well.

    Raises
    ------
    ImageError
        If the metadata is not readable, or refers to paths outside the store.
    """
    attributes = store.attributes()
    if (plate := _parse_plate(store)) is not None:
        return _plate_contents(store, plate)
    if attributes.get("multiscales") is None and attributes.get("bioformats2raw.layout") is not None:
        return StoreContents(tuple(StoreImage(name) for name in _series_names(store)))
    return StoreContents((StoreImage(""),))


def _series_names(store: ZarrStore) -> list[str]:
    """Return the groups of bioformats2raw's images: as listed, else numbers from 0 as long as the groups exist."""
    listed = store.attributes("OME").get("series")
    if isinstance(listed, list):
        return [store.resolve("", name) for name in listed]
    found: list[str] = []
    while store.has(str(len(found))):
        found.append(str(len(found)))
    return found


def _plate_contents(store: ZarrStore, plate: PlateEntry) -> StoreContents:
    images: list[StoreImage] = []
    missing: list[str] = []
    wells = [(store.resolve("", well.path), well) for well in plate.wells]
    _check_unique_wells(store, plate, wells)
    for path, well in wells:
        if not store.has(path):
            missing.append(path)
            continue
        images += _well_images(store, plate, well, path)
    return StoreContents(tuple(images), _layout(store, plate), tuple(missing))


def _parse_plate(store: ZarrStore) -> PlateEntry | None:
    """Return the plate that a store describes; None if it is no plate."""
    found = store.attributes().get("plate")
    return parse_metadata(PlateEntry, found, f"{store.path}: plate") if isinstance(found, Mapping) else None


def _check_unique_wells(store: ZarrStore, plate: PlateEntry, wells: Sequence[tuple[str, PlateWell]]) -> None:
    """Refuse a plate that lists a well twice, or two wells at one place: their images would be mixed up."""
    paths: set[str] = set()
    places: dict[tuple[int, int], str] = {}
    for path, well in wells:
        if path in paths:
            raise ImageError(f"{store.path}: its plate lists the well {path} twice, expected once")
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


def _well_images(store: ZarrStore, plate: PlateEntry, well: PlateWell, path: str) -> Iterator[StoreImage]:
    row, column = _position(plate, well, path)
    found = store.attributes(path).get("well")
    if not isinstance(found, Mapping):
        return
    for field, image in enumerate(parse_metadata(WellEntry, found, f"{store.path}/{path}: well").images):
        group = store.resolve(path, image.path)
        yield StoreImage(group, row, column, field, _acquisition_name(plate, image.acquisition))


def _position(plate: PlateEntry, well: PlateWell, path: str) -> tuple[int | None, int | None]:
    """Return row and column of a well. Stores before version 0.4 give them only by the names in its path, ``A/1``."""
    if well.rowIndex is not None and well.columnIndex is not None:
        return well.rowIndex, well.columnIndex
    rows, columns = [row.name for row in plate.rows], [column.name for column in plate.columns]
    parts = path.split("/")
    if len(parts) == 2 and parts[0] in rows and parts[1] in columns:
        return rows.index(parts[0]), columns.index(parts[1])
    return None, None


def _acquisition_name(plate: PlateEntry, ident: int | None) -> str | None:
    return next((one.name or str(ident) for one in plate.acquisitions or () if one.id == ident), None)


def _layout(store: ZarrStore, plate: PlateEntry) -> PlateLayout:
    return PlateLayout(plate.name or store.path.name, len(plate.rows), len(plate.columns))


def find_location(store: ZarrStore, group: str) -> ImageLocation | None:
    """Return the well of an image of a plate; None if the store is no plate, or the plate does not list the image."""
    plate = _parse_plate(store) if "/" in group else None
    if plate is None:
        return None
    for well in plate.wells:
        if not group.startswith(f"{well.path.strip('/')}/"):
            continue
        path = store.resolve("", well.path)
        for image in _well_images(store, plate, well, path):
            if image.group == group:
                return _place(store, _layout(store, plate), image)
    return None


def _place(store: ZarrStore, plate: PlateLayout, image: StoreImage) -> ImageLocation:
    """Return the location of an image; a well without row and column is named by its path, ``"A/1"``."""
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


def image_group(path: Path, series: int) -> str:
    """Return the group of image number ``series`` in a store.

    Raises
    ------
    ImageError
        If there is no such image, or the metadata is not readable.
    """
    with open_store(path) as store:
        return image_by_number(store, series).group


def image_by_number(store: ZarrStore, series: int) -> StoreImage:
    """Return image number ``series`` of a store, from 0; raises ImageError if there is no such image."""
    images: Sequence[StoreImage] = store_contents(store).images
    if not 0 <= series < len(images):
        last = f"; its images are #0 to #{len(images) - 1}" if images else ""
        raise ImageError(f"{store.path}: holds {pluralize(len(images), 'image')}, none of number {series}{last}")
    return images[series]


def check_chunks_present(folder: Path) -> None:
    """Refuse an array with missing chunks: an unfinished copy looks like an array with empty chunks.

    Raises
    ------
    ImageError
        If chunks are missing, or the array has symbolic links, which could lead out of the store.
    """
    import zarr

    array: Any = zarr.open_array(str(folder), mode="r")
    pieces = getattr(array, "shards", None) or array.chunks
    expected = math.prod(-(-n // m) for n, m in zip(array.shape, pieces, strict=True))
    there = _count_files(folder)
    if there < expected:
        raise ImageError(f"{folder}: {expected - there} of {expected} chunks are missing")


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
    """Return the images at or below a group of a store, such as those of a well."""
    groups = [one.group for one in contents.images]
    return [group for group in groups if not inside or group == inside or group.startswith(f"{inside}/")]

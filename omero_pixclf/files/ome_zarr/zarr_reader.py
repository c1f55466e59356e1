"""OME-Zarr images as stored arrays: Zarr versions 2 and 3, in folders and ZIP files, read through zarr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, Axis, axes_from_keys, guess_keys
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.ome_zarr.zarr_images import find_location, image_by_number, image_groups_below, store_contents
from omero_pixclf.files.ome_zarr.zarr_metadata import ChannelList, Multiscale, find_violation, parse_metadata
from omero_pixclf.files.ome_zarr.zarr_store import ZarrStore, fingerprint_files, join_name, open_store
from omero_pixclf.files.several_images import SeveralImagesError
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.image import AXES

__all__ = ["level_names", "log", "open_levels", "open_zarr"]

log = logging.getLogger(__name__)


@contextmanager
def open_zarr(path: Path, inside: str | None, *, series: int | None = None) -> Iterator[StoredArray]:
    """Open the full-resolution array of an OME-Zarr image, or the array named ``inside``; plain Zarr arrays as well.

    Parameters
    ----------
    path
        The store: a folder, or a ZIP file.
    inside
        The group or array in the store; None if the store holds one image.
    series
        The number of the image in the store, from 0.

    Raises
    ------
    ImageError
        If there is no such array, or it cannot be read; `SeveralImagesError` if the store holds several images.
    """
    with open_store(path) as store:
        named = image_by_number(store, series).group if series is not None else (inside or "").strip("/")
        group, spec, name = _locate(store, named)
        found, array = _open_array(store, group, spec, name)
        yield replace(
            found,
            name=_address(path, inside, series),
            files=fingerprint_files(store, group, name, array),
            place=find_location(store, group) if spec is not None else None,
            label=_label(store, group, inside, series),
        )


def open_levels(store: ZarrStore, inside: str = "") -> tuple[StoredArray, ...]:
    """Return the resolutions of an image of an open store, the largest first; a plain array has one.

    Raises
    ------
    ImageError
        As for `open_zarr`.
    """
    group, spec, name = _locate(store, inside)
    return tuple(_open_array(store, group, spec, one)[0] for one in _level_names(store, group, spec, name))


def level_names(path: Path, inside: str = "") -> tuple[str, ...]:
    """Return the names of the arrays of an image's resolutions, the largest first; "" if the store is an array.

    Raises
    ------
    ImageError
        If there is no store; `SeveralImagesError` if it holds several images and none is named.
    """
    with open_store(path) as store:
        group, spec, name = _locate(store, inside)
        return _level_names(store, group, spec, name)


def _level_names(store: ZarrStore, group: str, spec: Multiscale | None, name: str) -> tuple[str, ...]:
    return (name,) if spec is None else tuple(store.resolve(group, dataset.path) for dataset in spec.datasets)


def _open_array(store: ZarrStore, group: str, spec: Multiscale | None, name: str) -> tuple[StoredArray, Any]:
    """Return an array in the axis order of the store, and zarr's object for it."""
    path, array = store.path, store.open_array(name)
    shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
    _check(f"{path}/{name}", shape, dtype)
    axes = _axes(spec, name[len(group) :].strip("/"), len(shape)) if spec is not None else None
    found = StoredArray(
        name=f"{path}/{name}",
        shape=shape,
        dtype=dtype.newbyteorder("="),
        axes=axes if axes is not None else axes_from_keys(guess_keys(shape)),
        axes_problem="" if axes is not None or spec is None else _describe_axes_problem(spec, shape),
        read=lambda slices: _read(path, array, dtype, slices),
        channels=_channels(store, group),
        has_named_axes=axes is not None,
    )
    return found, array


def _address(path: Path, inside: str | None, series: int | None) -> str:
    if series is not None:
        return f"{path}#{series}"
    return str(path) if inside is None else f"{path}/{inside}"


def _label(store: ZarrStore, group: str, inside: str | None, series: int | None) -> str:
    """Return what distinguishes an image from others of its store; "" if it is the only one."""
    if series is not None:
        return f"#{series}"
    return f"/{inside}" if inside and group and "multiscales" not in store.attributes() else ""


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not 2 <= len(shape) <= 5 or min(shape, default=0) < 1 or dtype.kind not in "uifb":
        raise ImageError(f"{name}: {dtype} of shape {shape}; expected numbers in 2 to 5 dimensions, none empty")


def _read(path: Path, array: Any, dtype: np.dtype[Any], slices: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(array[slices], dtype.newbyteorder("="))
    except decoder_errors() as error:
        raise ImageError(f"{path}: pixels cannot be read: {error}; copy or export it again") from error


def _locate(store: ZarrStore, inside: str) -> tuple[str, Multiscale | None, str]:
    """Return the group of the image, its ``multiscales`` entry (None for a plain array) and the name of its array."""
    parts = inside.split("/") if inside else []
    for depth in range(len(parts), -1, -1):
        group = "/".join(parts[:depth])
        spec = _multiscale(store, group)
        if spec is not None:
            rest = "/".join(parts[depth:])
            return group, spec, join_name(group, rest) if rest else store.resolve(group, spec.datasets[0].path)
    if store.is_array(inside):
        return "", None, inside
    return _only_image(store, inside)


def _only_image(store: ZarrStore, inside: str) -> tuple[str, Multiscale | None, str]:
    """Return the only image below a group that is not an image itself.

    Raises
    ------
    ImageError
        If there is none; `SeveralImagesError` if there are several.
    """
    contents = store_contents(store)
    below = [group for group in image_groups_below(contents, inside) if group != inside]
    named = f"{store.path}/{inside}" if inside else str(store.path)
    if len(below) > 1:
        kind = "an OME-Zarr plate" if contents.plate else "a store"
        addresses = [f"{store.path}/{group}" for group in below]
        raise SeveralImagesError(named, addresses, kind=kind, missing=contents.missing)
    if below:
        return _locate(store, below[0])
    arrays = store.arrays(inside)
    if len(arrays) == 1:
        return "", None, arrays[0]
    shown = f"; name one of its arrays, as in {store.path}/{arrays[0]}" if arrays else ""
    gone = f" (wells {', '.join(contents.missing)} are listed, but missing)" if contents.missing else ""
    raise ImageError(f"{named}: no image and no array of that name in the store{gone}{shown}")


def _multiscale(store: ZarrStore, group: str) -> Multiscale | None:
    """Return the first entry of ``multiscales`` of a group; None if it has none."""
    attributes = store.attributes(group)
    entries = attributes.get("multiscales")
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return None
    where = f"{store.path}/{group}".rstrip("/")
    found = parse_metadata(Multiscale, entries[0], f"{where}: multiscales.0")
    if violation := find_violation(attributes):
        log.debug("%s: %s; it is read all the same", where, violation)
    return found


def _axes(spec: Multiscale, array: str, count: int) -> Axes | None:
    """Return the axes of an image with the pixel size of one of its arrays; None if they do not fit the array."""
    names = [axis.name for axis in spec.axis_entries]
    if len(names) != count or set(names) - set(AXES) or len(set(names)) != count:
        return None
    dataset = next((one for one in spec.datasets if one.path == array), None)
    scales = [spec.scale(count), None if dataset is None else dataset.scale(count)]
    known = any(scale is not None for scale in scales)
    sizes = np.prod([np.ones(count) if scale is None else np.asarray(scale) for scale in scales], axis=0)
    return tuple(
        Axis(axis.name, float(size) if known and axis.unit else 0.0, axis.unit or "")
        for axis, size in zip(spec.axis_entries, sizes, strict=True)
    )


def _describe_axes_problem(spec: Multiscale, shape: tuple[int, ...]) -> str:
    named = ", ".join(axis.name for axis in spec.axis_entries)
    return f"its axes [{named}] do not fit an array of shape {shape}, expected letters of {AXES!r}".replace("'", "")


def _channels(store: ZarrStore, group: str) -> tuple[str, ...]:
    """Return the names of channels in the part ``omero`` of the metadata."""
    omero = store.attributes(group).get("omero")
    if not isinstance(omero, dict):
        return ()
    where = f"{store.path}/{group}".rstrip("/")
    return tuple(one.label or "" for one in parse_metadata(ChannelList, omero, f"{where}: omero").channels)

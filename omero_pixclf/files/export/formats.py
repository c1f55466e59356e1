"""The export formats by ilastik's names, and how each writes the blocks of a result."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.files.axes import Axis
from omero_pixclf.files.contiguous import open_scratch_array
from omero_pixclf.files.export.naming import fill_template
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock
from omero_pixclf.files.npy import write_npy

__all__ = ["FORMATS", "ExportFormat", "get_format", "reorder_axes"]


@dataclass(frozen=True)
class ExportFormat:
    """One export format.

    Attributes
    ----------
    extension
        The file extension, without a dot.
    open
        ``open(path, inside, target)`` returns a context manager that yields the function for writing blocks.
    keys
        The axis order of the format; empty if it stores any order.
    buffer_bytes
        Returns the memory in bytes that writing a target may take for pixels that are not written yet.
    """

    extension: str
    open: Callable[[Path, str, OutputArray], AbstractContextManager[WriteBlock]]
    keys: str = ""
    buffer_bytes: Callable[[OutputArray], int] = lambda _: 0


def get_format(name: str) -> ExportFormat:
    """Return a format by ilastik's name.

    Raises
    ------
    UsageError
        If it is unknown, or a format of ilastik that is not supported.
    """
    if name in FORMATS:
        return FORMATS[name]
    raise UsageError(f"output format {name!r} is not supported; choose one of: {', '.join(FORMATS)}")


def reorder_axes(target: OutputArray, keys: str) -> OutputArray:
    """Return the target with its axes in this order; missing axes are added with size 1."""
    if not keys:
        return target
    by_key = {k: i for i, k in enumerate(target.keys)}
    axes = tuple(target.axes[by_key[k]] if k in by_key else Axis(k) for k in keys)
    shape = tuple(target.shape[by_key[k]] if k in by_key else 1 for k in keys)
    start = tuple(target.start[by_key[k]] if k in by_key else 0 for k in keys)
    return replace(target, axes=axes, shape=shape, offset=start)


def _hdf5(path: Path, inside: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    from omero_pixclf.files.hdf5.hdf5_writer import write_hdf5

    return write_hdf5(path, inside, target, compress=False)


def _compressed_hdf5(path: Path, inside: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    from omero_pixclf.files.hdf5.hdf5_writer import write_hdf5

    return write_hdf5(path, inside, target, compress=True)


def _hdf5_buffer_bytes(target: OutputArray) -> int:
    from omero_pixclf.files.hdf5.hdf5_writer import hdf5_buffer_bytes

    return hdf5_buffer_bytes(target)


def _zarr_buffer_bytes(target: OutputArray) -> int:
    from omero_pixclf.files.ome_zarr.zarr_writer import zarr_buffer_bytes

    return zarr_buffer_bytes(target)


def _png_buffer_bytes(target: OutputArray) -> int:
    from omero_pixclf.files.png import png_buffer_bytes

    return png_buffer_bytes(target)


def _npy(path: Path, _: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    return write_npy(path, target)


def _zarr(path: Path, _: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    from omero_pixclf.files.ome_zarr.zarr_writer import write_zarr

    return write_zarr(path, target)


def _ome_tiff(path: Path, _: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    from omero_pixclf.files.tiff.tiff_writer import write_ome_tiff

    return write_ome_tiff(path, target)


@contextmanager
def _single_plane(path: Path, target: OutputArray, save: Callable[[Path, NDArray[Any]], None]) -> Iterator[WriteBlock]:
    """Write a picture of one plane: all axes except two and the channels must have size 1."""
    _check_axis_count(path, target, 2)
    with open_scratch_array(path, target) as (write, array):
        yield write
        save(path, _to_plane(array, target.keys))


@contextmanager
def _sequence(
    path: Path, target: OutputArray, save: Callable[[Path, OutputArray, NDArray[Any]], None], count: int
) -> Iterator[WriteBlock]:
    """Write a file for each step along the first axis with more than one entry; ``{slice_index}`` numbers them."""
    if "{slice_index" not in path.name:
        raise UsageError(f"{path.name}: a sequence needs '{{slice_index}}' in its file name template")
    _check_axis_count(path, target, count)
    axis = _sequence_axis(target)
    first = target.start[axis]
    digits = math.ceil(math.log10(first + target.shape[axis] + 1))
    template = path.name.replace("{slice_index}", f"{{slice_index:0{digits}}}")
    one = _first_step(target, axis)
    with open_scratch_array(path.with_name(path.name.replace("{slice_index}", "sequence")), target) as (write, array):
        yield write
        for index in range(target.shape[axis]):
            name = fill_template(template, {"slice_index": first + index})
            save(path.with_name(name), one, array[(slice(None),) * axis + (slice(index, index + 1),)])


def _sequence_axis(target: OutputArray) -> int:
    """Return the number of the axis along which a sequence has its files: the first with more than one entry."""
    return next((i for i, n in enumerate(target.shape) if n > 1), 0)


def _first_step(target: OutputArray, axis: int) -> OutputArray:
    return replace(target, shape=(*target.shape[:axis], 1, *target.shape[axis + 1 :]))


def _check_axis_count(path: Path, target: OutputArray, most: int) -> None:
    """Refuse more axes (besides channels) than a format holds; if c is the first axis of a sequence, it counts."""
    long = [k for k, n in zip(target.keys, target.shape, strict=True) if n > 1]
    least = 0 if most == 2 else most
    count = len([k for k in long if k != "c"]) + (1 if most > 2 and long[:1] == ["c"] else 0)
    if not least <= count <= most:
        raise OutputError(
            f"{path.name}: the format holds {most} axes besides channels, the result has "
            f"{dict(zip(target.keys, target.shape, strict=True))}; cut it or choose another format"
        )


def _to_plane(array: NDArray[Any], keys: str) -> NDArray[Any]:
    """Return a plane as (rows, columns) or (rows, columns, channels); columns run along x if there is an x axis."""
    long = [k for k, n in zip(keys, array.shape, strict=True) if n > 1]
    rest = [k for k in keys if k not in long and k != "c"]
    while len([k for k in long if k != "c"]) < 2 and rest:
        long.append(rest.pop(max(range(len(rest)), key=lambda i: "tzyx".index(rest[i]))))
    squeezed = array.squeeze(axis=tuple(i for i, k in enumerate(keys) if k not in long))
    order = sorted((k for k in keys if k in long), key="tzyxc".index)
    present = [k for k in keys if k in long]
    picture: NDArray[Any] = squeezed.transpose([present.index(k) for k in order])
    return picture


def _save_png(path: Path, picture: NDArray[Any]) -> None:
    from omero_pixclf.files.png import save_png

    save_png(path, picture)


def _save_tiff(path: Path, picture: NDArray[Any]) -> None:
    from omero_pixclf.files.tiff.tiff_writer import write_plane_tiff

    target = OutputArray(picture.shape, picture.dtype, tuple(Axis(k) for k in "yxc"[: picture.ndim]))
    with write_plane_tiff(path, target) as write:
        rows = max(1, (16 << 20) // max(1, picture[0].nbytes))
        for top in range(0, len(picture), rows):
            band = picture[top : top + rows]
            write((slice(top, top + len(band)), *(slice(0, n) for n in picture.shape[1:])), band)


def _save_stack(path: Path, target: OutputArray, array: NDArray[Any]) -> None:
    from omero_pixclf.files.tiff.tiff_writer import write_ome_tiff

    final = reorder_axes(target, "tzcyx")
    order = [target.keys.index(k) for k in "tzcyx" if k in target.keys]
    pages = array.transpose(order).reshape(final.shape)
    with write_ome_tiff(path, final) as write:
        for index in itertools.product(*(range(n) for n in final.shape[:3])):
            place = (*(slice(i, i + 1) for i in index), *(slice(0, n) for n in final.shape[3:]))
            write(place, pages[index][np.newaxis, np.newaxis, np.newaxis])


def _png(path: Path, _: str, target: OutputArray) -> AbstractContextManager[WriteBlock]:
    from omero_pixclf.files.png import check_png

    check_png(path, target.channel_count, target.dtype)
    return _single_plane(path, target, _save_png)


def _plane_formats(
    extension: str, save: Callable[[Path, NDArray[Any]], None], buffer_bytes: Callable[[OutputArray], int]
) -> dict[str, ExportFormat]:
    """Return the formats of pictures of one plane, and of sequences of them."""
    return {
        extension: ExportFormat(
            extension, lambda path, _, target: _single_plane(path, target, save), buffer_bytes=buffer_bytes
        ),
        f"{extension} sequence": ExportFormat(
            extension,
            lambda path, _, target: _sequence(path, target, lambda p, t, a: save(p, _to_plane(a, t.keys)), 3),
            buffer_bytes=lambda target: buffer_bytes(_first_step(target, _sequence_axis(target))),
        ),
    }


FORMATS: dict[str, ExportFormat] = {
    "hdf5": ExportFormat("h5", _hdf5, buffer_bytes=_hdf5_buffer_bytes),
    "compressed hdf5": ExportFormat("h5", _compressed_hdf5, buffer_bytes=_hdf5_buffer_bytes),
    "numpy": ExportFormat("npy", _npy),
    "single-scale OME-Zarr": ExportFormat("zarr", _zarr, "tczyx", _zarr_buffer_bytes),
    "multipage tiff": ExportFormat("tiff", _ome_tiff, "tzcyx"),
    "multipage tiff sequence": ExportFormat("tiff", lambda path, _, target: _sequence(path, target, _save_stack, 4)),
    **_plane_formats("tiff", _save_tiff, lambda _: 0),
    **_plane_formats("tif", _save_tiff, lambda _: 0),
    **_plane_formats("png", _save_png, _png_buffer_bytes),
    "png": ExportFormat("png", _png, buffer_bytes=_png_buffer_bytes),
}

"""Export settings, the plan of an exported file, and writing results block by block as ilastik does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.atomic import check_file_name
from omero_pixclf.files.axes import Axes, Axis, add_channel_axis, axis_keys, from_tzyxc, region_slices, tzyxc_shape
from omero_pixclf.files.export.formats import get_format, reorder_axes
from omero_pixclf.files.export.naming import (
    DEFAULT_TEMPLATE,
    SLICE_INDEX,
    coordinate_fields,
    fill_template,
    output_path,
)
from omero_pixclf.files.export.output_array import LabelValue, OutputArray
from omero_pixclf.files.export.value_ranges import exported_range, value_converter
from omero_pixclf.image import AXES, PixelArray, Region, split_into_bands

__all__ = [
    "CutoutBounds",
    "ExportPlan",
    "ExportSettings",
    "ResultDescription",
    "output_address",
    "plan_export",
    "save_image",
    "write_result",
]

CutoutBounds = tuple[tuple[int | None, ...], tuple[int | None, ...]]


@dataclass(frozen=True)
class ExportSettings:
    """How to write a result; the names are those of ilastik's options.

    Attributes
    ----------
    output_format
        A key of `omero_pixclf.files.export.formats.FORMATS`.
    output_filename_format, output_internal_path
        Templates for the file name and for the name of the array in the file.
    export_dtype
        The stored type; None keeps the type of the result.
    pipeline_result_drange, export_drange
        The range of the result, and the range that it is mapped to.
    output_axis_order
        Axes of the file; axes that are left out must have size 1. None keeps those of the image.
    cutout_subregion
        Start and stop along the result's axes (channels included); None stands for the end of the image.
    folder
        The folder for relative file names; None for the working directory.
    """

    output_format: str = "hdf5"
    output_filename_format: str = DEFAULT_TEMPLATE
    output_internal_path: str = "exported_data"
    export_dtype: str | None = None
    pipeline_result_drange: tuple[float, float] | None = None
    export_drange: tuple[float, float] | None = None
    output_axis_order: str | None = None
    cutout_subregion: CutoutBounds | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        get_format(self.output_format)
        if self.export_drange is not None and self.pipeline_result_drange is None:
            raise UsageError("--export_drange needs --pipeline_result_drange: the range that is mapped onto it")
        order = self.output_axis_order or ""
        if set(order) - set(AXES) or len(set(order)) != len(order):
            raise UsageError(f"--output_axis_order {order!r}: expected letters of {AXES!r}, each at most once")


@dataclass(frozen=True)
class ResultDescription:
    """The description of a result before it is computed: its name, shape, type and axes.

    Attributes
    ----------
    kind
        ``"Probabilities"``, ``"Simple Segmentation"`` and so on.
    shape, dtype
        Extents along ``axes``; the type in which it is computed.
    axes
        The image's axes; ``c`` is appended if the image has no channel axis.
    drange
        The range of its values, if known.
    channels
        Names along ``c``, or empty.
    colors, labels
        As those of `omero_pixclf.files.export.output_array.OutputArray`.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Axes
    drange: tuple[float, float] | None = None
    display_mode: str = "grayscale"
    channels: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    labels: tuple[LabelValue, ...] | None = None

    @classmethod
    def like(
        cls, kind: str, axes: Axes, image_shape: tuple[int, ...], count: int, dtype: str, **more: Any
    ) -> ResultDescription:
        """A result with ``count`` channels over an image of this shape and these axes."""
        own = add_channel_axis(axes)
        sizes = {**dict(zip(axis_keys(axes), image_shape, strict=True)), "c": count}
        tags = tuple(Axis("c") if a.key == "c" else a for a in own)
        return cls(kind, tuple(sizes[a.key] for a in own), np.dtype(dtype), tags, **more)


@dataclass(frozen=True)
class ExportPlan:
    """A file to be written, and the part of the result that goes into it.

    Attributes
    ----------
    region
        In ``(t, z, y, x, c)`` of the whole result.
    """

    path: Path
    inside: str
    region: Region
    target: OutputArray
    convert: Callable[[NDArray[Any]], NDArray[Any]]
    output_format: str

    @property
    def address(self) -> str:
        """The path, with the array's name where the format has one."""
        return str(self.path) if self.array is None else f"{self.path}/{self.array}"

    @property
    def array(self) -> str | None:
        """The array's name, where the format has one."""
        return self.inside if self.path.suffix == ".h5" else None


def plan_export(export: ExportSettings, result: ResultDescription, *, dataset_dir: str, nickname: str) -> ExportPlan:
    """Plan the file and layout of a result before it is computed.

    Raises
    ------
    UsageError, ImageError
        If the options do not fit the result.
    """
    form = get_format(export.output_format)
    keys = axis_keys(result.axes)
    start, stop = _cutout_bounds(export, result)
    dtype = np.dtype(export.export_dtype) if export.export_dtype else result.dtype
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    ranges = (export.pipeline_result_drange, export.export_drange)
    part = slice(start[keys.index("c")], stop[keys.index("c")])
    target = OutputArray(
        shape, dtype, result.axes, start, exported_range(result.drange, dtype, *ranges), result.display_mode
    )
    target = replace(target, channels=result.channels[part], colors=result.colors[part])
    if export.export_drange is None:
        target = replace(target, labels=result.labels)
    if export.output_axis_order:
        target = _reorder_axes(target, export.output_axis_order, result.kind)
    values = {
        **coordinate_fields(
            target.keys, target.start, tuple(a + n for a, n in zip(target.start, target.shape, strict=True))
        ),
        **coordinate_fields(keys, start, stop),
        "dataset_dir": dataset_dir,
        "nickname": nickname,
        "result_type": result.kind,
    }
    return ExportPlan(
        *output_address(export, values),
        _region(keys, start, stop),
        reorder_axes(target, form.keys),
        value_converter(dtype, *ranges),
        export.output_format,
    )


def output_address(export: ExportSettings, values: Mapping[str, Any]) -> tuple[Path, str]:
    """Return the file of a result and the name of the array in it, from the fields of the templates.

    Raises
    ------
    UsageError
        If a template is malformed.
    OutputError
        If the name is longer than file systems allow.
    """
    extension = get_format(export.output_format).extension
    path = output_path(export.output_filename_format, values, extension, folder=export.folder)
    if SLICE_INDEX not in path.name:
        check_file_name(path)
    return path, fill_template(export.output_internal_path, values).strip("/")


def _cutout_bounds(export: ExportSettings, result: ResultDescription) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return start and stop of the part to write along the result's axes, clipped to the image, as in ilastik."""
    if export.cutout_subregion is None:
        return (0,) * len(result.shape), result.shape
    start, stop = export.cutout_subregion
    facts = dict(zip(axis_keys(result.axes), result.shape, strict=True))
    if not len(start) == len(stop) == len(result.shape):
        raise UsageError(f"--cutout_subregion {start}, {stop}: expected {len(facts)} numbers each, for {facts}")
    low = tuple(max(0, a or 0) for a in start)
    high = tuple(min(n, b or n) for b, n in zip(stop, result.shape, strict=True))
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise UsageError(f"--cutout_subregion {start}, {stop}: does not overlap the image of {facts}")
    return low, high


def _reorder_axes(target: OutputArray, order: str, kind: str) -> OutputArray:
    lost = {k: n for k, n in zip(target.keys, target.shape, strict=True) if k not in order and n > 1}
    if lost:
        raise ImageError(
            f"--output_axis_order {order}: {kind} has {lost}, which would be lost; cut them with --cutout_subregion"
        )
    return reorder_axes(target, order)


def _region(keys: str, start: tuple[int, ...], stop: tuple[int, ...]) -> Region:
    low, high = dict(zip(keys, start, strict=True)), dict(zip(keys, stop, strict=True))
    a, b = [low.get(k, 0) for k in AXES], [high.get(k, 1) for k in AXES]
    return Region((a[0], a[1], a[2], a[3], a[4]), (b[0], b[1], b[2], b[3], b[4]))


@contextmanager
def write_result(planned: ExportPlan) -> Iterator[Callable[[Region, NDArray[Any]], None]]:
    """Open the file of a result; yields ``take(region, block)`` for writing blocks.

    The file gets its name when the context ends without an exception. Blocks are ``(t, z, y, x, c)`` with all channels.
    Their regions are those of the whole result, inside the planned region except along ``c``.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    whole, target = planned.region, planned.target
    with get_format(planned.output_format).open(planned.path, planned.inside, target) as write:

        def take(region: Region, block: NDArray[Any]) -> None:
            low, high = max(whole.start[4], region.start[4]), min(whole.stop[4], region.stop[4])
            if low >= high:
                return
            first, last = (*region.start[:4], low), (*region.stop[:4], high)
            local = Region(_subtract(first, whole.start), _subtract(last, whole.start))
            values = planned.convert(block[..., low - region.start[4] : high - region.start[4]])
            write(region_slices(local, target.keys), from_tzyxc(values, target.keys))

        yield take


def _subtract(point: tuple[int, ...], origin: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    t, z, y, x, c = (p - o for p, o in zip(point, origin, strict=True))
    return (t, z, y, x, c)


def save_image(
    path: Path,
    pixels: PixelArray,
    *,
    axes: str | Axes = AXES,
    output_format: str | None = None,
    inside: str = "exported_data",
    channels: tuple[str, ...] = (),
    drange: tuple[float, float] | None = None,
    colors: tuple[tuple[int, int, int], ...] = (),
    labels: tuple[LabelValue, ...] | None = None,
) -> None:
    """Write a ``(t, z, y, x, c)`` array to a file with these axes, by default in the format of its extension.

    Large arrays are read and written in bands.

    Raises
    ------
    OutputError
        If it cannot be written.
    UsageError
        If the extension belongs to no format.
    """
    by_extension = {".h5": "compressed hdf5", ".npy": "numpy", ".zarr": "single-scale OME-Zarr", ".png": "png"}
    by_extension |= {".tif": "multipage tiff", ".tiff": "multipage tiff"}
    name = output_format or by_extension.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"{path}: no format is known for {path.suffix!r}, expected one of {sorted(by_extension)}")
    tags = tuple(Axis(k) for k in axes) if isinstance(axes, str) else axes
    shape = from_tzyxc(np.broadcast_to(np.empty((), pixels.dtype), pixels.shape), axis_keys(tags)).shape
    target = OutputArray(
        shape, np.dtype(pixels.dtype), tags, drange=drange, channels=channels, colors=colors, labels=labels
    )
    final = reorder_axes(target, get_format(name).keys)
    planned = ExportPlan(path, inside, Region.whole(tzyxc_shape(shape, target.keys)), final, lambda v: v, name)
    with write_result(planned) as take:
        for region in split_into_bands(planned.region.shape, target.dtype.itemsize):
            take(region, np.asarray(pixels[region.slices]))

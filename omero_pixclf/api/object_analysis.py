"""Python API: segment probabilities to labelled objects, measure the objects, and get their outlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from omero_pixclf.api.arrays import AnyArray, as_array, default_axes, to_image_array
from omero_pixclf.config import ObjectSettings
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.axes import add_channel_axis, axes_from_keys, axis_keys, from_tzyxc
from omero_pixclf.objects.measure import PixelSize
from omero_pixclf.objects.measure import measure as measure_objects
from omero_pixclf.objects.outline import Outline
from omero_pixclf.objects.outline import trace_outlines as find_outlines
from omero_pixclf.objects.segment import SegmentationSettings, segment_objects
from omero_pixclf.runs.analysis import segmentation_settings
from omero_pixclf.table import Table
from omero_pixclf.text import format_validation_error

__all__ = ["UNKNOWN_SIZE", "Dims", "measure", "outlines", "segment"]

Dims = Literal["auto", "2d", "3d"]
UNKNOWN_SIZE: PixelSize = (None, None, None)


def segment(
    probabilities: AnyArray,
    axes: str | None = None,
    *,
    label: int = 1,
    method: Literal["threshold", "hysteresis", "segmentation"] = "threshold",
    threshold: float = 0.5,
    low: float = 0.5,
    high: float = 0.8,
    smooth: float | tuple[float, float, float] = 0.0,
    min_size: int = 10,
    max_size: int | None = None,
    connectivity: Literal[4, 6, 8, 26] | None = None,
    dims: Dims = "auto",
    split: Literal["none", "distance", "probability"] = "none",
    fill_holes: bool = False,
    border: Literal["keep", "remove"] = "keep",
    pixel_size_um: PixelSize = UNKNOWN_SIZE,
) -> NDArray[np.int32]:
    """Find the objects of one class in a probability array and number them.

    The parameters below ``label`` are the keys of ``[objects]`` in a recipe (docs/recipe.md), with the same defaults.

    Parameters
    ----------
    probabilities
        From `predict`.
    axes
        The axes of the probabilities, with ``c``; None means ``"yxc"``.
    label
        The number of the class, from 1.
    method
        ``threshold``: probability >= ``threshold``. ``hysteresis``: above ``low``, where a part is above ``high``.
        ``segmentation``: the class is the most probable one.
    threshold, low, high
        Probabilities from 0 to 1.
    smooth
        Sigma in pixels of a Gaussian on the probabilities, one number or ``(z, y, x)``.
    min_size, max_size
        Smallest and largest object, in pixels (voxels in 3D).
    connectivity
        Neighbours of a pixel, 4 or 8 in 2D, 6 or 26 in 3D; None means 4 and 6, as in ilastik.
    dims
        Objects in each plane (``2d``) or through z (``3d``); ``auto`` means 3D where there are several planes.
    split
        Separate touching objects by a watershed on the distance or the probability.
    fill_holes
        Fill holes in objects.
    border
        ``remove`` drops objects that touch the image's border in y or x.
    pixel_size_um
        Micrometres along ``(z, y, x)``, for ``split="distance"`` in 3D.

    Returns
    -------
    numpy.ndarray
        int32, with the axes of the probabilities without ``c``: 0 is background, objects count from 1 at each time
        point.

    Raises
    ------
    ImageError
        The probabilities have another number of axes than named.
    UsageError
        A parameter has a bad value, or there is no such class.

    Examples
    --------
    >>> import numpy as np
    >>> import omero_pixclf
    >>> foreground = np.zeros((32, 32), np.float32)
    >>> foreground[2:8, 2:8] = foreground[20:30, 20:30] = 0.9
    >>> labels = omero_pixclf.segment(np.stack([foreground, 1 - foreground], axis=-1))
    >>> int(labels.max()), np.bincount(labels.ravel())[1:].tolist()
    (2, [36, 100])
    """
    settings = _settings(
        method=method,
        threshold=threshold,
        low=low,
        high=high,
        smooth=smooth,
        min_size=min_size,
        max_size=max_size,
        connectivity=connectivity,
        dims=dims,
        split=split,
        fill_holes=fill_holes,
        border=border,
    )
    probabilities = as_array(probabilities)
    axes = _axes_with_classes(probabilities, axes)
    five = to_image_array(probabilities, axes, "the probability array")
    found = segment_objects(five, _class_index(five, label), settings, pixel_size_um=pixel_size_um)
    return from_tzyxc(found[..., None], axes).squeeze(axes.index("c"))


def measure(
    labels: AnyArray,
    image: AnyArray,
    axes: str | None = None,
    *,
    probabilities: AnyArray | None = None,
    label: int = 1,
    class_name: str = "Object",
    channels: Sequence[str] = (),
    pixel_size_um: PixelSize = UNKNOWN_SIZE,
    dims: Dims = "auto",
) -> Table:
    """Measure size, shape, intensity and probability of every object of a label array.

    Parameters
    ----------
    labels
        From `segment`, or any label array: integers, 0 is background. Its axes are those of the image without ``c``.
    image
        Integers or real numbers.
    axes
        The axes of the image; None means ``"yx"``, or ``"yxc"`` where the image has one axis more than the labels.
    probabilities
        From `predict` on this image; None leaves NaN in the columns of probability and uncertainty.
    label
        The number of the objects' class in the probabilities, from 1.
    class_name
        For the column ``Class``.
    channels
        Names of the image's channels, for the columns' names.
    pixel_size_um
        Micrometres along ``(z, y, x)``; None where unknown, which leaves NaN in columns in µm.
    dims
        As in `segment`.

    Returns
    -------
    Table
        A row for each object, by time point and label; docs/results.md lists the columns. ``table["Area_px"]`` is an
        array, ``table.to_pandas()`` a DataFrame.

    Raises
    ------
    ImageError
        Axes or shapes of labels, image and probabilities do not fit, or the labels are no integers.
    UsageError
        The probabilities have no such class.

    Examples
    --------
    >>> import numpy as np
    >>> import omero_pixclf
    >>> labels = np.zeros((32, 32), np.int32)
    >>> labels[2:8, 2:8] = 1
    >>> table = omero_pixclf.measure(labels, np.full((32, 32), 7), pixel_size_um=(None, 0.5, 0.5))
    >>> table["Area_px"].tolist(), table["Area_um2"].tolist(), table["Mean_Channel_1"].tolist()
    ([36.0], [9.0], [7.0])
    """
    labels, image = as_array(labels), as_array(image)
    shape = tuple(image.shape)
    axes = axes or default_axes(shape, "the image", channels=len(shape) > len(labels.shape))
    label_axes = axes.replace("c", "")
    five = to_image_array(image, axes, "the image")
    marked = _label_image(labels, label_axes)
    if marked.shape[:4] != five.shape[:4]:
        raise ImageError(f"labels have the shape {tuple(labels.shape)} ({label_axes}), the image {shape} ({axes})")
    scores, index = None, 0
    if probabilities is not None:
        class_axes = axis_keys(add_channel_axis(axes_from_keys(axes)))
        probabilities = as_array(probabilities)
        scores = to_image_array(probabilities, class_axes, "the probability array")
        if scores.shape[:4] != five.shape[:4]:
            raise ImageError(
                f"probabilities have the shape {tuple(probabilities.shape)} ({class_axes}), the image {shape} ({axes})"
            )
        index = _class_index(scores, label)
    return measure_objects(
        marked[..., 0],
        five,
        scores,
        class_name=class_name,
        class_index=index,
        dims=3 if dims == "3d" or (dims == "auto" and marked.shape[1] > 1) else 2,
        pixel_size_um=pixel_size_um,
        channels=channels,
    )


def outlines(
    labels: AnyArray,
    axes: str | None = None,
    *,
    kind: Literal["polygon", "mask"] = "polygon",
    simplify: float = 0.0,
    min_hole: int = 0,
) -> Iterator[Outline]:
    """Yield the outline of every object of a label array, by time point and label.

    Parameters
    ----------
    labels
        From `segment`, or any label array: integers, 0 is background.
    axes
        The axes of the labels; None means ``"yx"``.
    kind
        ``polygon``: rings in pixel-corner coordinates, with holes. ``mask``: bitmaps.
    simplify
        Largest deviation of polygons from the pixels' corners, in pixels; 0 keeps every corner.
    min_hole
        Polygons leave out holes of fewer pixels.

    Returns
    -------
    Iterator of Outline
        ``label``, ``t`` and ``shapes``, one or more for each plane of the object. Points are ``(x, y)``.

    Raises
    ------
    ImageError
        The labels have another number of axes, or are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> import omero_pixclf
    >>> labels = np.zeros((8, 8), np.int32)
    >>> labels[2:4, 3:7] = 1
    >>> [outline] = omero_pixclf.outlines(labels)
    >>> outline.shapes[0].points.tolist()
    [[3.0, 2.0], [7.0, 2.0], [7.0, 4.0], [3.0, 4.0]]
    """
    labels = as_array(labels)
    axes = axes or default_axes(tuple(labels.shape), "the label array")
    if "c" in axes:
        raise UsageError(f"axes {axes!r}: label arrays have no axis 'c'; select a channel by indexing")
    return find_outlines(_label_image(labels, axes)[..., 0], kind=kind, simplify=simplify, min_hole=min_hole)


def _settings(**values: Any) -> SegmentationSettings:
    try:
        return segmentation_settings(ObjectSettings(**values))
    except ValidationError as error:
        raise UsageError(format_validation_error(error, ObjectSettings, "segment")) from error


def _axes_with_classes(probabilities: AnyArray, axes: str | None) -> str:
    if axes is None:
        return default_axes(tuple(probabilities.shape), "the probability array", channels=True)
    if "c" not in axes:
        raise UsageError(f"axes {axes!r}: expected an axis 'c' for the classes")
    return axes


def _label_image(labels: AnyArray, axes: str) -> NDArray[Any]:
    """Labels as ``(t, z, y, x, 1)`` of integers."""
    five = to_image_array(labels, axes, "the label array")
    if five.dtype.kind not in "iu":
        raise ImageError(f"the label array has the type {five.dtype}, expected integers")
    return five


def _class_index(probabilities: NDArray[Any], label: int) -> int:
    """The position of a class along the last axis."""
    count = probabilities.shape[-1]
    if not 1 <= label <= count:
        raise UsageError(f"label {label}: the probability array has {count} classes along c, counted from 1")
    return label - 1

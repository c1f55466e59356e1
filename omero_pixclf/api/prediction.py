"""Python API: read a project, predict the probabilities of an array, and segment by the most probable class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.api.arrays import (
    AnyArray,
    AxesReader,
    LazyImage,
    as_array,
    check_resources,
    project_axes,
    to_image_array,
)
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.axes import add_channel_axis, axes_from_keys, axis_keys, from_tzyxc, region_slices
from omero_pixclf.ilastik.project import Project
from omero_pixclf.ilastik.project import read_project as read_project_file
from omero_pixclf.pixels.exports import simple_segmentation as most_probable_class
from omero_pixclf.pixels.predict import predict_blocks
from omero_pixclf.text import pluralize

__all__ = ["Out", "predict", "read_project", "simple_segmentation"]

Out = TypeVar("Out")


def read_project(source: Path | str | bytes, *, name: str | None = None) -> Project:
    """Read a trained ilastik project (``.ilp``). Nothing in the file is executed.

    Parameters
    ----------
    source
        A path, or the file's bytes.
    name
        The name for messages; None takes the file's.

    Returns
    -------
    Project
        ``classes``, ``channels`` and ``axes`` say what it was trained on.

    Raises
    ------
    ProjectError
        The file is no trained Pixel Classification or Autocontext project.

    Examples
    --------
    >>> import omero_pixclf
    >>> from importlib.resources import files
    >>> project = omero_pixclf.read_project(files("omero_pixclf.demo") / "plate.ilp")
    >>> project.channels, project.axes, [label.name for label in project.classes]
    (2, 'yxc', ['Nucleus', 'Cytoplasm', 'Background'])
    """
    return read_project_file(source, name=name)


@overload
def predict(
    project: Project,
    image: AnyArray,
    axes: str | None = None,
    *,
    out: None = None,
    threads: int | None = None,
    memory: int | None = None,
) -> NDArray[np.float32]: ...
@overload
def predict(
    project: Project,
    image: AnyArray,
    axes: str | None = None,
    *,
    out: Out,
    threads: int | None = None,
    memory: int | None = None,
) -> Out: ...
def predict(
    project: Project,
    image: AnyArray,
    axes: str | None = None,
    *,
    out: Any = None,
    threads: int | None = None,
    memory: int | None = None,
) -> Any:
    """Predict the probability of each class for each pixel of an array.

    Parameters
    ----------
    project
        From `read_project`.
    image
        An array of numpy, dask, zarr or h5py, or from `open_image`: integers or real numbers. It is read by blocks.
    axes
        One letter of ``"tzyxc"`` for each axis, in any order. None means ``"yx"`` for two axes, otherwise the axes of
        the image that the project was trained on.
    out
        An array of numpy, zarr or h5py for the result, float32; needed where the result does not fit into memory.
    threads
        Number of threads; None uses one for each processor.
    memory
        Memory limit in bytes for the blocks; None means 448 MB. The result is the same for every limit.

    Returns
    -------
    numpy.ndarray
        Probabilities, float32 in [0, 1], with the image's axes; the axis ``c`` has the classes, and is the last one
        where the image has none. It is ``out``, where that was given.

    Raises
    ------
    ImageError
        The image's rank, channels, size or type do not fit the project, or the shape of ``out`` does not fit.
    UsageError
        ``axes`` has an unknown letter, or one twice; ``threads`` or ``memory`` is below 1.

    Examples
    --------
    >>> import omero_pixclf
    >>> from importlib.resources import files
    >>> from omero_pixclf.demo.images import z_stack
    >>> project = omero_pixclf.read_project(files("omero_pixclf.demo") / "stack.ilp")
    >>> stack = z_stack(1).pixels[0, :, :64, :64, 0]
    >>> probabilities = omero_pixclf.predict(project, stack, axes="zyx")
    >>> probabilities.shape
    (24, 64, 64, 2)
    >>> float(probabilities.sum(axis=-1).mean().round(3))
    1.0
    """
    check_resources(threads, memory)
    image, name = as_array(image), _array_name(image)
    shape = tuple(int(size) for size in image.shape)
    axes = axes or (image.axes if isinstance(image, LazyImage) else project_axes(project, shape, name))
    reader = AxesReader(image, axes, name)
    found = reader.info.shape[4]
    if found != project.channels:
        raise ImageError(
            f"{name} has {pluralize(found, 'channel')} (shape {shape}, axes {axes!r}), {project.name} was trained on "
            f"{project.channels}; select the channels by indexing, or name the axes with axes="
        )
    result_axes = axis_keys(add_channel_axis(axes_from_keys(axes)))
    expected = (*reader.info.shape[:4], len(project.classes))
    result_shape = tuple(expected["tzyxc".index(key)] for key in result_axes)
    if out is None:
        whole = np.empty(expected, np.float32)
        for _ in predict_blocks(project, reader, out=whole, threads=threads, memory=memory):
            pass
        return from_tzyxc(whole, result_axes)
    if tuple(out.shape) != result_shape or np.dtype(out.dtype) != np.float32:
        raise ImageError(f"out is {out.dtype} {tuple(out.shape)}, expected float32 {result_shape} ({result_axes})")
    for region, block in predict_blocks(project, reader, threads=threads, memory=memory):
        out[region_slices(region, result_axes)] = from_tzyxc(block, result_axes)
    return out


def simple_segmentation(probabilities: AnyArray, axes: str | None = None) -> NDArray[np.uint8]:
    """Return the number of the most probable class of each pixel, ilastik's Simple Segmentation.

    Parameters
    ----------
    probabilities
        From `predict`.
    axes
        The axes of the probabilities, with ``c``; None means that ``c`` is the last axis.

    Returns
    -------
    numpy.ndarray
        uint8, with the axes of the probabilities without ``c``: classes from 1, the lowest one where several are
        equal.

    Raises
    ------
    ImageError
        The probabilities have another number of axes than named.
    UsageError
        ``axes`` has no ``c``, an unknown letter, or one twice.

    Examples
    --------
    >>> import numpy as np
    >>> import omero_pixclf
    >>> omero_pixclf.simple_segmentation(np.array([[[0.9, 0.1], [0.2, 0.8]]], np.float32))
    array([[1, 2]], dtype=uint8)
    """
    if axes is None:
        return most_probable_class(np.asarray(probabilities))[..., 0]
    if "c" not in axes:
        raise UsageError(f"axes {axes!r}: expected an axis 'c' for the classes")
    five = to_image_array(probabilities, axes, "the probability array")
    return from_tzyxc(most_probable_class(five), axes).squeeze(axes.index("c"))


def _array_name(image: AnyArray) -> str:
    return image.info.key if isinstance(image, LazyImage) else "the array"

"""Label connected components, in each plane or through z, for each time point.

Label images are ``(t, z, y, x)`` int32, 0 is background. Objects of a time point are numbered from 1 in raster order
(z, then y, then x, of an object's first pixel), as ilastik numbers them; each time point starts again at 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from scipy import ndimage

from omero_pixclf.image import Array, BoolArray, Int64Array

__all__ = [
    "Connectivity",
    "background_connectivity",
    "clear_border",
    "fill_holes",
    "filter_sizes",
    "label_components",
    "label_sizes",
    "relabel_in_raster_order",
    "resolve_connectivity",
    "select_labels",
    "structuring_element",
]

Connectivity = Literal[4, 6, 8, 26]
"""Which pixels are neighbours: 4 or 8 in a plane (objects end at their plane), 6 or 26 through z."""


_ORDER: dict[int, tuple[bool, int]] = {4: (False, 1), 8: (False, 2), 6: (True, 1), 26: (True, 3)}  # through z, steps
_CHUNK = 2**17  # pixels that are counted or renumbered at a time
_BACKGROUND: dict[int, Connectivity] = {4: 8, 8: 4, 6: 26, 26: 6}


def resolve_connectivity(dims: Literal["auto", "2d", "3d"], connectivity: int | None, planes: int) -> Connectivity:
    """Return the connectivity for an image of so many planes, from the settings of a recipe.

    ``auto`` is 3D if there is more than one plane. A number of the other dimension is converted: 4 and 6 (direct
    neighbours) to each other, 8 and 26 (all neighbours) likewise. None means direct neighbours, as in ilastik.

    >>> [resolve_connectivity(*case) for case in (("auto", None, 1), ("auto", None, 24), ("2d", 26, 24))]
    [4, 6, 8]
    """
    through_z = dims == "3d" or (dims == "auto" and planes > 1)
    direct = connectivity in (None, 4, 6)
    if through_z:
        return 6 if direct else 26
    return 4 if direct else 8


def structuring_element(connectivity: Connectivity) -> BoolArray:
    """Return the neighbourhood as a ``(3, 3, 3)`` bool array in (z, y, x)."""
    through_z, steps = _ORDER[connectivity]
    around: BoolArray = ndimage.generate_binary_structure(3, steps)
    if not through_z:
        around[[0, 2]] = False
    return around


def background_connectivity(connectivity: Connectivity) -> Connectivity:
    """Return the connectivity of the background for that of the foreground, so that no diagonal connects both.

    >>> background_connectivity(4), background_connectivity(26)
    (8, 6)
    """
    return _BACKGROUND[connectivity]


def label_components(mask: Array, *, connectivity: Connectivity) -> Array:
    """Label the connected components of a ``(t, z, y, x)`` mask, in raster order at each t; int32.

    >>> label_components(np.array([[[[1, 0, 1], [0, 1, 0]]]]), connectivity=4).tolist()
    [[[[1, 0, 2], [0, 3, 0]]]]
    """
    labels = np.empty(mask.shape, dtype=np.int32)
    around = structuring_element(connectivity)
    for t in range(mask.shape[0]):
        ndimage.label(np.ascontiguousarray(mask[t]), around, output=labels[t])
    return labels


def label_sizes(labels: Array) -> list[Int64Array]:
    """Count the pixels (voxels) of each label at each t; index 0 is the background."""
    return [_count_pixels(frame) for frame in labels]


def _count_pixels(frame: Array) -> Int64Array:
    """Count the pixels of each label of a time point, in chunks: `numpy.bincount` converts them to 64-bit integers."""
    total = np.zeros(int(frame.max(initial=0)) + 1, dtype=np.int64)
    for part in _split_into_chunks(frame):
        total += np.bincount(part, minlength=len(total))
    return total


def _split_into_chunks(frame: Array) -> Iterator[Array]:
    """Return views of a contiguous array, in order, of a size that fits the caches."""
    flat = frame.reshape(-1)
    return (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))


def select_labels(labels: Array, wanted: Iterable[BoolArray]) -> Array:
    """Return the wanted objects, renumbered without gaps in their order.

    ``wanted`` has one bool array per time point, with a bool per label of that time point; index 0 is ignored.
    """
    result = np.empty(labels.shape, labels.dtype)  # contiguous, so that its parts are views
    for t, keep in enumerate(wanted):
        counted = np.array(keep, dtype=np.bool_)
        counted[0] = False
        number = np.where(counted, np.cumsum(counted), 0).astype(labels.dtype)
        for part, into in zip(_split_into_chunks(labels[t]), _split_into_chunks(result[t]), strict=True):
            into[...] = number[part]
    return result


def filter_sizes(labels: Array, *, min_size: int = 0, max_size: int | None = None) -> Array:
    """Return the objects of ``min_size`` to ``max_size`` pixels (both included), renumbered without gaps."""
    most = labels.size if max_size is None else max_size
    return select_labels(labels, ((count >= max(min_size, 1)) & (count <= most) for count in label_sizes(labels)))


def clear_border(labels: Array) -> Array:
    """Return the objects that do not touch the image's border in y or x, renumbered without gaps."""
    return select_labels(labels, (_is_off_border(frame) for frame in labels))


def _is_off_border(frame: Array) -> BoolArray:
    wanted = _count_pixels(frame) > 0
    for face in (frame[:, 0], frame[:, -1], frame[:, :, 0], frame[:, :, -1]):
        wanted[face] = False
    return wanted


def relabel_in_raster_order(labels: Array) -> Array:
    """Return the same objects, numbered from 1 at each t in raster order of their first pixels; int32."""
    result = np.empty(labels.shape, dtype=np.int32)
    for t, frame in enumerate(labels):
        flat = frame.ravel()
        places = np.flatnonzero(flat)
        first = np.full(int(flat.max(initial=0)) + 1, flat.size, dtype=np.int64)
        first[flat[places[::-1]]] = places[::-1]  # for equal indices numpy keeps the last assignment: the first pixel
        order = np.argsort(first, kind="stable")
        number = np.zeros(len(first), dtype=np.int32)
        number[order] = np.arange(1, len(first) + 1)
        number[first == flat.size] = 0
        result[t] = number[frame]
    return result


def fill_holes(mask: Array, *, connectivity: Connectivity) -> BoolArray:
    """Return the mask ``(t, z, y, x)`` with its holes filled.

    A hole is background that does not reach the border: that of the plane for connectivity 4 and 8, that of the volume
    for 6 and 26. Background has the complementary connectivity (8, 4, 26, 6), so that no diagonal connects both.
    Objects within a hole become part of the surrounding object.
    """
    through_z = _ORDER[connectivity][0]
    background = label_components(~np.asarray(mask, dtype=np.bool_), connectivity=background_connectivity(connectivity))
    filled = np.empty(mask.shape, dtype=np.bool_)
    for t, frame in enumerate(background):
        outside = np.zeros(int(frame.max(initial=0)) + 1, dtype=np.bool_)
        faces = [frame[:, 0], frame[:, -1], frame[:, :, 0], frame[:, :, -1]]
        faces += [frame[0], frame[-1]] if through_z else []
        for face in faces:
            outside[face] = True
        outside[0] = False  # 0 is the mask itself
        filled[t] = ~outside[frame]
    return filled

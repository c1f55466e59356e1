"""ilastik's "2D Skeleton Features" of objects, equal to those of vigra's ``extractSkeletonFeatures``.

scikit-image's ``skeletonize`` and ``medial_axis`` give other skeletons, so that none of the numbers would be the same.
"""

from __future__ import annotations

import numpy as np

from omero_pixclf.image import Array, Float64Array
from omero_pixclf.objects.features.object_pixels import ObjectSpans
from omero_pixclf.objects.kernels import kernels

__all__ = ["compute_skeleton_features"]


_COLUMNS = {
    "Diameter": slice(0, 1),
    "Euclidean Diameter": slice(1, 2),
    "Total Length": slice(2, 3),
    "Average Length": slice(3, 4),
    "Branch Count": slice(4, 5),
    "Hole Count": slice(5, 6),
    "Skeleton Center": slice(6, 8),
    "Terminal 1": slice(8, 10),
    "Terminal 2": slice(10, 12),
}


def compute_skeleton_features(
    objects: ObjectSpans, labels: Array, *, origin: tuple[int, int], image: tuple[int, int]
) -> dict[str, Float64Array]:
    """Compute all features of ilastik's plug-in "2D Skeleton Features".

    Parameters
    ----------
    objects
        n objects of one plane.
    labels
        ``(y, x)`` the plane, with one pixel more around the objects where the image has any.
    origin, image
        Where the plane begins along (y, x) in its image, and the image's extents.

    Returns
    -------
    dict
        ``(n, 1)`` or, for places, ``(n, 2)`` (x, y) float64 by ilastik's names. Objects without a pixel
        of skeleton have zeros.
    """
    out = np.zeros((len(objects), 12))
    boxes = np.concatenate([objects.lower[:, 1:], objects.upper[:, 1:]], axis=1)
    numbers, plane = objects.label, labels
    if int(labels.max()) > np.iinfo(np.int32).max:  # only the objects' own labels matter
        place = np.searchsorted(numbers, labels)
        found = numbers[np.minimum(place, len(numbers) - 1)] == labels
        numbers, plane = np.arange(1, len(numbers) + 1), np.where(found, place + 1, 0)
    numbers, plane = numbers.astype(np.int32), np.ascontiguousarray(plane, dtype=np.int32)
    kernels.skeletons(plane, plane.shape[1], numbers, np.ascontiguousarray(boxes), out, origin, image)
    return {name: out[:, columns] for name, columns in _COLUMNS.items()}

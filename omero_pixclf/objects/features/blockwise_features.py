"""Features of the objects of images larger than memory: the same numbers, computed window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from omero_pixclf.ilastik.object_features import Dimensions, ObjectFeature, column_count
from omero_pixclf.objects.block_labeling import ReadableArray, block_index, collect_statistics
from omero_pixclf.objects.features.compute import (
    FeatureTable,
    ImagePart,
    compute_features,
    concatenate_features,
    find_margin,
    find_value_range,
    needs_value_range,
)
from omero_pixclf.objects.windows import windows_of_objects

__all__ = ["compute_features_blockwise"]

_Extents = tuple[int, int, int]


def compute_features_blockwise(
    labels: ReadableArray, image: ReadableArray, features: Sequence[ObjectFeature], *, block: _Extents, t: int = 0
) -> FeatureTable:
    """Compute what `compute_features` gives for one time point, without holding the image.

    In memory are windows that hold the objects of one block and their neighborhoods, and the table. An object larger
    than a block has a window of its own.

    Parameters
    ----------
    labels, image
        ``(t, z, y, x)`` and ``(t, z, y, x, c)``, read box by box; labels are unique at each t.
    features
        Which features to compute.
    block
        _Extents along (z, y, x) of what is worked on at a time.
    t
        The time point.
    """
    whole = ImagePart((0, 0, 0), (labels.shape[1], labels.shape[2], labels.shape[3]))
    value_range = _find_range(labels, image, block, t) if needs_value_range(features) else None
    tables = list(_compute_windows(labels, image, features, block, t, whole, value_range))
    if tables:
        return concatenate_features(tables)
    dims: Dimensions = 3 if whole.shape[0] > 1 else 2
    return FeatureTable(
        np.zeros(0, np.int64), {f: np.zeros((0, column_count(f, dims, image.shape[-1]))) for f in features}
    )


def _find_range(labels: ReadableArray, image: ReadableArray, block: _Extents, t: int) -> tuple[float, float]:
    low, high = np.nan, np.nan
    for window in windows_of_objects(labels, t, collect_statistics(labels, t, block=block), block=block):
        own = np.where(window.owned, window.labels, 0)
        least, most = find_value_range(own, np.asarray(image[block_index(t, window.place)]))
        low, high = np.fmin(low, least), np.fmax(high, most)
    return float(low), float(high)


def _compute_windows(
    labels: ReadableArray,
    image: ReadableArray,
    features: Sequence[ObjectFeature],
    block: _Extents,
    t: int,
    whole: ImagePart,
    value_range: tuple[float, float] | None,
) -> Iterator[FeatureTable]:
    x, y, z = find_margin(features)
    margin = (z + 1, y + 1, x + 1)  # ilastik looks one pixel further at the upper ends; skeletons look one pixel around
    for window in windows_of_objects(labels, t, collect_statistics(labels, t, block=block), block=block, margin=margin):
        origin = (window.place[0].start, window.place[1].start, window.place[2].start)
        yield compute_features(
            window.labels,
            np.asarray(image[block_index(t, window.place)]),
            features,
            owned=window.owned,
            part=ImagePart(origin, whole.shape),
            value_range=value_range,
        )

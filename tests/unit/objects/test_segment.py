"""A recipe's words about objects do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.objects.label import filter_sizes, label_sizes, resolve_connectivity
from omero_pixclf.objects.segment import SegmentationSettings, object_dimensions, segment_objects


def maps(foreground: NDArray[Any]) -> NDArray[Any]:
    """Two classes: the first has 0.9 on the foreground and 0.1 elsewhere."""
    first = np.where(foreground, 0.9, 0.1).astype(np.float32)
    return np.stack((first, 1 - first), axis=-1)


def count(probabilities: NDArray[Any], **settings: Any) -> int:
    return int(segment_objects(probabilities, 0, SegmentationSettings(**{"min_size": 0, **settings})).max())


@pytest.fixture
def ring_and_dots() -> NDArray[Any]:
    mask = np.zeros((1, 2, 20, 30), np.bool_)
    mask[0, 0, 2:9, 2:9] = True
    mask[0, 0, 4:7, 4:7] = False
    mask[0, 0, 12, 12] = mask[0, 0, 13, 13] = True
    mask[0, 1, 2:9, 2:9] = True
    mask[0, 0, 15:, 20:24] = True
    return mask


def test_planes_or_volumes_as_asked(ring_and_dots: NDArray[Any]) -> None:
    assert count(maps(ring_and_dots), dims="2d") == 5
    assert count(maps(ring_and_dots), dims="3d") == count(maps(ring_and_dots)) == 4
    assert count(maps(ring_and_dots), dims="3d", connectivity=26) == 3


def test_sizes_border_and_holes(ring_and_dots: NDArray[Any]) -> None:
    probabilities = maps(ring_and_dots)
    assert count(probabilities, dims="2d", min_size=2) == 3
    assert count(probabilities, dims="2d", min_size=2, max_size=40) == 2
    assert count(probabilities, dims="2d", min_size=2, border="remove") == 2
    filled = segment_objects(probabilities, 0, SegmentationSettings(dims="2d", fill_holes=True, min_size=0))
    assert (filled[0, 0] == 1).sum() == 49


def test_a_class_is_found_by_its_own_map(ring_and_dots: NDArray[Any]) -> None:
    labels = segment_objects(maps(ring_and_dots), 1, SegmentationSettings(dims="2d", min_size=0))
    assert np.array_equal(labels > 0, ~ring_and_dots)


def test_levels_and_segmentation(ring_and_dots: NDArray[Any]) -> None:
    probabilities = maps(ring_and_dots)
    assert count(probabilities, threshold=0.95) == 0
    assert count(probabilities, method="segmentation") == count(probabilities)
    assert count(probabilities, method="hysteresis", low=0.5, high=0.95) == 0
    probabilities[0, 0, 12, 12, 0] = 1.0
    assert count(probabilities, method="hysteresis", low=0.5, high=0.95) == 1


def test_smoothing_in_planes_never_mixes_planes(ring_and_dots: NDArray[Any]) -> None:
    probabilities = maps(ring_and_dots)
    settings = SegmentationSettings(dims="2d", smooth=(2.0, 1.0, 1.0), min_size=0)
    both = segment_objects(probabilities, 0, settings)
    assert np.array_equal(both[:, :1] > 0, segment_objects(probabilities[:, :1], 0, settings) > 0)
    assert count(probabilities, dims="2d", smooth=(1.0, 1.0, 1.0)) < count(probabilities, dims="2d")


@pytest.mark.parametrize("how", ["distance", "probability"])
def test_touching_discs_are_parted(how: Any) -> None:
    y, x = np.mgrid[:40, :70]
    away = np.minimum(np.hypot(y - 20, x - 22), np.hypot(y - 20, x - 46))
    first = np.clip(1.2 - away / 20, 0, 1).astype(np.float32)[None, None]
    probabilities = np.stack((first, 1 - first), axis=-1)
    assert count(probabilities) == 1
    labels = segment_objects(probabilities, 0, SegmentationSettings(split=how))
    assert labels.max() == 2
    assert labels[0, 0, 20, 22] == 1
    assert labels[0, 0, 20, 46] == 2


def test_auto_follows_the_number_of_planes() -> None:
    assert [
        object_dimensions(SegmentationSettings(dims=d), z) for d, z in (("auto", 1), ("auto", 5), ("2d", 5), ("3d", 1))
    ] == [
        2,
        3,
        2,
        3,
    ]
    assert [resolve_connectivity("2d", c, 9) for c in (None, 4, 6, 8, 26)] == [4, 4, 4, 8, 8]
    assert [resolve_connectivity("3d", c, 9) for c in (None, 4, 6, 8, 26)] == [6, 6, 6, 26, 26]


def test_labels_are_counted_and_chosen_the_same_however_they_lie_in_memory() -> None:
    squares = np.zeros((2, 1, 700, 500), np.int32)  # more than is counted at a time
    for number, side in enumerate((3, 40, 5, 20, 4), 1):
        squares[1, 0, 100 * number : 100 * number + side, :side] = number
    across = np.asfortranarray(squares)
    for labels in (squares, across):
        assert label_sizes(labels)[1].tolist() == [350_000 - 2050, 9, 1600, 25, 400, 16]
        assert label_sizes(labels)[0].tolist() == [350_000]
    kept = filter_sizes(across, min_size=16, max_size=400)
    assert np.array_equal(kept, np.array([0, 0, 0, 1, 2, 3])[squares])

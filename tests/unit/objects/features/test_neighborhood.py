"""Neighborhoods of objects, beside distance transforms object by object."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from omero_pixclf.objects.features.neighborhood import gather_neighborhoods
from tests.unit.objects.features.scenes import blobs, spans

Margin = tuple[int, int, int]


def expected(labels: NDArray[np.int32], label: int, margin: Margin) -> NDArray[np.bool_]:
    """The pixels around an object: ilastik's definition, literally."""
    own = labels == label
    reach = margin[::-1]
    widest = max(margin)
    pitch = [widest // extent if extent else 0 for extent in reach]
    box = np.zeros(labels.shape, np.bool_)
    sides = [(int(places.min()), int(places.max()) + 1) for places in np.nonzero(own)]
    area = tuple(slice(max(a - m, 0), b + 1 + m) for (a, b), m in zip(sides, reach, strict=True))
    box[area] = True
    sampling = [step if step else 10**6 for step in pitch]
    distance = ndimage.distance_transform_edt(~own[area], sampling=sampling)
    found = np.zeros(labels.shape, np.bool_)
    found[area] = (distance > 0) & (distance < widest)
    return found


@pytest.mark.parametrize(
    ("shape", "margin"),
    [
        ((1, 40, 44), (4, 4, 1)),
        ((1, 40, 44), (6, 3, 1)),
        ((1, 40, 44), (3, 7, 1)),
        ((1, 40, 44), (5, 4, 0)),
        ((1, 40, 44), (1, 1, 1)),
        ((9, 18, 20), (3, 3, 3)),
        ((9, 18, 20), (5, 5, 2)),
        ((9, 18, 20), (2, 3, 6)),
        ((9, 18, 20), (8, 8, 1)),
    ],
)
def test_neighborhoods_are_ilastiks(shape: tuple[int, int, int], margin: Margin) -> None:
    labels = blobs(shape, share=0.25)
    image = np.arange(labels.size).reshape(*shape, 1)  # values tell places
    objects = spans(labels)
    seen = set()
    for rows, pixels in gather_neighborhoods(objects, labels, image, margin, limit=2000):
        for row, first, count in zip(rows.tolist(), pixels.starts.tolist(), pixels.count.tolist(), strict=True):
            seen.add(row)
            places = pixels.values[0, first : first + int(count)]
            assert places.tolist() == np.flatnonzero(expected(labels, objects.label[row], margin)).tolist()
    for row in set(range(len(objects))) - seen:
        assert not expected(labels, objects.label[row], margin).any()


def test_objects_that_fill_the_image_have_none() -> None:
    labels = np.ones((1, 4, 5), np.int32)
    assert not list(gather_neighborhoods(spans(labels), labels, labels[..., None], (3, 3, 1), limit=100))

"""ilastik's convex hull features (its hull is the bounding box), object by object."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage, stats

from omero_pixclf.objects.features.convex_hull_features import compute_hull_features
from tests.unit.objects.features.scenes import blobs, spans


@pytest.mark.parametrize("limit", [1, 200, 10**6])
@pytest.mark.parametrize("shape", [(1, 50, 60), (8, 20, 22)])
def test_defects_are_the_free_parts_of_the_box(shape: tuple[int, int, int], limit: int) -> None:
    labels = blobs(shape, share=0.3)
    dims = 3 if shape[0] > 1 else 2
    found = compute_hull_features(spans(labels), dims=dims, origin=(3, 5, 7), limit=limit)
    for row, (label, box) in enumerate(zip(np.unique(labels)[1:], ndimage.find_objects(labels), strict=True)):
        free = labels[box] != label
        parts, count = ndimage.label(free)
        sizes = np.bincount(parts.ravel())[1:].astype(np.float64)
        assert found["DefectCount"][row] == count
        assert found["HullVolume"][row] == free.size
        assert found["InputVolume"][row] == free.size - free.sum()
        assert_allclose(found["Convexity"][row], 1 - free.mean())
        start = np.array([side.start for side in box]) + (3, 5, 7)
        center = np.argwhere(~free).mean(axis=0)
        assert_allclose(found["InputCenter"][row], (center + start)[::-1][:dims])
        if not count:
            assert all((values[row] == 0).all() for name, values in found.items() if name.startswith("Defect"))
            continue
        assert_allclose(found["DefectCenter"][row], (np.argwhere(free).mean(axis=0) + start)[::-1][:dims])
        centers = np.array([np.argwhere(parts == i + 1).mean(axis=0) for i in range(count)])
        away = np.sqrt(((centers - center) ** 2).sum(axis=1))
        assert_allclose(found["DefectDisplacementMean"][row], (sizes * away).sum() / sizes.sum())
        assert_allclose(found["DefectVolumeMean"][row], sizes.mean())
        assert_allclose(found["DefectVolumeVariance"][row], sizes.var(ddof=1) if count > 1 else 0)
        if count > 3 and sizes.var() > 0:
            assert_allclose(found["DefectVolumeSkewness"][row], stats.skew(sizes, bias=False), atol=1e-9)
            assert_allclose(found["DefectVolumeKurtosis"][row], stats.kurtosis(sizes, bias=False), atol=1e-9)

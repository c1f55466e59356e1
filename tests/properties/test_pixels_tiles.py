"""However an image is cut, by however many threads, the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import Region
from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3
from omero_pixclf.pixels.features import compute_features, feature_halo
from omero_pixclf.pixels.predict import predict_array, predict_blocks
from tests.golden.cases import reader
from tests.unit.ilastik.test_project import content

FLAT = read_project(content("k05_2d_customscales_reordered"))
MIXED = read_project(content("k08_2t3d_u16_mixed2d3d"))


def drawn(project: Project, data: st.DataObject) -> np.ndarray:
    depth, side = project.stages[0].selection.minimum_size(2)
    z = data.draw(st.integers(depth, depth + 9)) if not project.is_2d else data.draw(st.integers(1, 3))
    y, x = data.draw(st.integers(side, side + 50)), data.draw(st.integers(side, side + 120))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = data.draw(st.sampled_from([np.uint8, np.int16, np.float32]))
    return (rng.normal(size=(1, z, y, x, 1)) * 50).astype(kind)


@pytest.mark.parametrize("project", [FLAT, MIXED], ids=["planes", "planes and volumes"])
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_tile_is_the_crop_of_the_whole(project: Project, data: st.DataObject) -> None:
    raw = drawn(project, data)[0]
    image: Shape3 = (raw.shape[0], raw.shape[1], raw.shape[2])
    selection = project.stages[0].selection
    everything = BoundingBox((0, 0, 0), image)
    whole = compute_features(selection, raw, everything, image, everything).copy()
    start = [data.draw(st.integers(0, n - 1)) for n in image]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, image, strict=True)]
    target = BoundingBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    near = target.expand(feature_halo(selection, image[0]), image)
    part = compute_features(selection, raw[near.slices_in(everything)], near, image, target)
    np.testing.assert_array_equal(part, whole[(slice(None), *target.slices_in(everything))])


@pytest.mark.parametrize("project", [FLAT, MIXED], ids=["planes", "planes and volumes"])
@given(st.data())
@settings(max_examples=8, deadline=None)
def test_blocks_tile_the_image_and_sum_to_one(project: Project, data: st.DataObject) -> None:
    raw = drawn(project, data)
    whole = predict_array(project, raw, threads=1)
    np.testing.assert_allclose(whole.sum(axis=-1), 1, atol=1e-5)
    counted = np.zeros(whole.shape, int)
    memory, threads = data.draw(st.sampled_from([1, 30_000_000, 2**40])), data.draw(st.integers(1, 3))
    order = []
    for region, block in predict_blocks(project, reader(raw), memory=memory, threads=threads):
        assert region.shape == block.shape
        counted[region.slices] += 1
        order.append(region.start)
        np.testing.assert_array_equal(block, whole[region.slices])
    assert (counted == 1).all()
    assert order == sorted(order)


def test_pixels_are_read_within_the_image_and_only_around_what_is_asked_for() -> None:
    raw = np.zeros((1, 1, 400, 500, 1), np.uint8)
    regions: list[Region] = []

    class Watched:
        info = reader(raw).info

        def read(self, region: Region) -> np.ndarray:
            regions.append(region)
            return raw[region.slices]

    wanted = Region((0, 0, 100, 200, 0), (1, 1, 120, 230, 1))
    list(predict_blocks(FLAT, Watched(), region=wanted))
    far = feature_halo(FLAT.stages[0].selection, 1)[1]
    assert [region.start for region in regions] == [(0, 0, 100 - far, 200 - far, 0)]
    assert [region.stop for region in regions] == [(1, 1, 120 + far, 230 + far, 1)]

"""How images are cut."""

from __future__ import annotations

import numpy as np
import pytest

from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3
from omero_pixclf.pixels.tiling import VoxelCost, plan_tiling, remaining_memory, split_box

FLAT = VoxelCost(read=2, features=49, written=12, halo=(0, 39, 39))
DEEP = VoxelCost(read=1, features=61, written=8, halo=(38, 38, 38))


def test_pieces_cover_a_range_exactly_once_in_the_order_of_the_pixels() -> None:
    whole = BoundingBox((1, 2, 3), (4, 30, 41))
    counted = np.zeros((4, 30, 41), int)
    pieces = list(split_box(whole, (2, 7, 11)))
    for piece in pieces:
        counted[piece.slices_in(BoundingBox((0, 0, 0), (4, 30, 41)))] += 1
    assert (counted[1:, 2:, 3:] == 1).all()
    assert counted.sum() == whole.shape[0] * whole.shape[1] * whole.shape[2]
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)


@pytest.mark.parametrize(("image", "cost"), [((1, 40_000, 40_000), FLAT), ((900, 2000, 2000), DEEP), ((1, 9, 9), FLAT)])
@pytest.mark.parametrize("megabytes", [40, 200, 1000])
def test_blocks_are_made_of_tiles_and_both_fit(image: Shape3, cost: VoxelCost, megabytes: int) -> None:
    cut = plan_tiling(image, cost, memory=megabytes * 2**20, threads=2)
    assert all(1 <= t <= b <= n for t, b, n in zip(cut.tile, cut.block, image, strict=True))
    voxels = cut.block[0] * cut.block[1] * cut.block[2]
    features = cut.tile[0] * cut.tile[1] * cut.tile[2] * 4 * cost.features * 2
    assert voxels * (3 * cost.read + 4 * cost.written) + features < megabytes * 2**20


def test_less_memory_never_means_larger_pieces() -> None:
    sizes = [np.prod(plan_tiling((64, 512, 512), DEEP, memory=m * 2**20, threads=2).tile) for m in (20, 60, 200, 600)]
    assert sizes == sorted(sizes)


def test_what_the_process_holds_already_counts_against_its_limit() -> None:
    assert remaining_memory(None) is None
    roomy, tight = remaining_memory(2**40), remaining_memory(2**20)
    assert roomy is not None
    assert 2**39 < roomy < 2**40
    assert tight == 2**17


def test_a_range_grows_as_far_as_the_image_goes() -> None:
    assert BoundingBox((0, 5, 5), (1, 8, 9)).expand((0, 3, 9), (1, 10, 12)) == BoundingBox((0, 2, 0), (1, 10, 12))

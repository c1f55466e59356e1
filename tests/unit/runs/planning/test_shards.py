"""Shards of a run: disjoint, complete, and the same whenever they are planned."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.shards import parse_shard, select_shard


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 9))
def test_shares_are_disjoint_complete_and_even(sides: list[int], count: int) -> None:
    all_of_them = [image(n, side) for n, side in enumerate(sides)]
    shares = [select_shard(all_of_them, number, count) for number in range(1, count + 1)]
    assert sorted(i.key for s in shares for i in s) == sorted(i.key for i in all_of_them)
    loads = [sum(prod(i.shape) for i in s) for s in shares]
    assert max(loads) - min(loads) <= max(prod(i.shape) for i in all_of_them)


def test_a_share_does_not_depend_on_the_order_in_which_images_are_listed() -> None:
    listed = [image(n, 10 + n % 3) for n in range(9)]
    for number in (1, 2, 3):
        assert {i.key for i in select_shard(listed, number, 3)} == {
            i.key for i in select_shard(listed[::-1], number, 3)
        }


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/", "-1/3"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="i/N"):
        parse_shard(text)

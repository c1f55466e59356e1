"""Divide a run's images into shards for independent commands."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo, parse_id

__all__ = ["parse_shard", "select_shard"]


def select_shard(images: Sequence[ImageInfo], number: int, count: int) -> list[ImageInfo]:
    """Return the images of shard ``number`` (from 1) of ``count``, in their order.

    Shards have about the same number of pixels. They depend on the images only, not on which are done, so that shards
    that are planned at different times fit together.
    """
    loads = [0] * count
    mine = set()
    for image in sorted(images, key=lambda i: (-prod(i.shape), i.key)):
        lightest = loads.index(min(loads))
        loads[lightest] += max(1, prod(image.shape))
        if lightest == number - 1:
            mine.add(image.key)
    return [image for image in images if image.key in mine]


def parse_shard(text: str) -> tuple[int, int]:
    """Return number and count of ``"2/8"``.

    Raises
    ------
    UsageError
        The text has another form.

    >>> parse_shard("2/8")
    (2, 8)
    """
    first, _, second = text.partition("/")
    number, count = parse_id(first), parse_id(second)
    if number is None or count is None or not 1 <= number <= count:
        raise UsageError(f"shard {text[:40]!r}: expected i/N with i from 1 to N, such as 2/8")
    return number, count

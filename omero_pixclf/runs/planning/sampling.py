"""Choose which of many images are shown in pictures."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from omero_pixclf.image import ImageInfo

__all__ = ["MAX_TILES", "Item", "choose_previewed", "sample_groups"]

MAX_TILES = 96  # images on a contact sheet

Item = TypeVar("Item")


def choose_previewed(images: Iterable[ImageInfo]) -> frozenset[str]:
    """Return the keys of the images that the contact sheets of their containers show if all are processed."""
    members: dict[str, list[ImageInfo]] = {}
    for image in images:
        members.setdefault(image.place.container, []).append(image)
    return frozenset(
        here[n].key for here in members.values() for n in sample_groups([i.place.well or "" for i in here], MAX_TILES)
    )


def sample_groups(groups: Sequence[Hashable], limit: int) -> list[int]:
    """Return the indices of at most ``limit`` images to show: as many of each group as fit, else evenly spaced groups.

    An image with an empty group is a group of its own.

    >>> sample_groups(["A1", "A1", "A1", "A2", "A2", "A2"], 4), sample_groups([""] * 9, 3)
    ([0, 2, 3, 5], [0, 4, 8])
    """
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group or i, []).append(i)
    chosen = _pick_evenly(list(members.values()), limit)
    each = limit // len(chosen) if chosen else 0
    return sorted(i for group in chosen for i in _pick_evenly(group, each))


def _pick_evenly(items: list[Item], limit: int) -> list[Item]:
    if len(items) <= limit:
        return items
    return [items[round(i * (len(items) - 1) / max(1, limit - 1))] for i in range(limit)]

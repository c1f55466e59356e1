"""Split long lists of ids into pages that a server accepts in one query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["PAGE", "split_into_pages"]

PAGE = 500
"""Default number of ids per query."""


def split_into_pages(ids: Sequence[int], size: int = PAGE) -> Iterator[list[int]]:
    """Yield the ids in lists of at most ``size``, in order.

    Examples
    --------
    >>> list(split_into_pages([3, 1, 2], 2))
    [[3, 1], [2]]
    """
    yield from (list(ids[start : start + size]) for start in range(0, len(ids), size))

"""Numbers of things, as people write them."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """How many of something there are, in words; of nouns whose plural ends with an s.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "Nucleus object")
    ('1 image', '2 images', '0 Nucleus objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"

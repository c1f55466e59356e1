"""Numbers of things, as people write them."""

from __future__ import annotations

__all__ = ["counted", "size_text"]


def counted(count: int, noun: str) -> str:
    """How many of something there are, in words; of nouns whose plural ends with an s.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "Nucleus object")
    ('1 image', '2 images', '0 Nucleus objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """Bytes in the largest unit of which there is at least one.

    Examples
    --------
    >>> size_text(1536), size_text(512 * 2**20), size_text(3 * 2**29), size_text(0)
    ('1.5 KiB', '512 MiB', '1.5 GiB', '0 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}".replace(".0 ", " ")
    return f"{size} bytes"

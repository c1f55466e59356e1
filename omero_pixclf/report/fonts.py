"""Fonts for names on pictures: which one has a character, and texts of any script drawn on one line.

DejaVu Sans, which matplotlib carries along, comes first: it has Latin, Greek, Cyrillic, Arabic and Hebrew letters and
looks the same everywhere. Other characters (Chinese, Japanese, Korean, emoji) come from the system's fonts, to which
belong those in ``~/.local/share/fonts``. A character that no font has is drawn as an empty box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from omero_pixclf.text import one_line

__all__ = ["BOX", "draw_text", "drawable", "families", "font", "shortened", "text_width"]

BOX = "□"
ELLIPSIS = "…"
LONGEST = 1000  # characters that are looked at: no picture has room for more
MOST_FONTS = 500  # of the system that are searched
# Shown by what surrounds them, or not at all: joiners, directions, variation selectors, tags.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]")
_LIKELY = (
    "cjk",
    "noto",
    "unifont",
    "wqy",
    "wenquan",
    "droid",
    "ipa",
    "nanum",
    "gothic",
    "ming",
    "hei",
    "song",
    "emoji",
)


@lru_cache(maxsize=64)
def font(size: int, weight: str = "", path: Path | None = None) -> ImageFont.FreeTypeFont:
    """A font of so many pixels: DejaVu Sans, ``weight`` ``""`` or ``"-Bold"``, or the one of a file."""
    return ImageFont.truetype(str(path or _dejavu(weight)), size)


def _dejavu(weight: str = "") -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{weight}.ttf"


def drawable(text: str) -> str:
    r"""A text as it is drawn: on one line, with boxes for characters that no font has.

    >>> drawable("plate 1\nA$x$"), drawable("a\u202eb"), drawable("\U0010fffd")
    ('plate 1 A$x$', 'ab', '□')
    """
    line = _INVISIBLE.sub("", one_line(text[:LONGEST]))
    return "".join(c if _font_of(c) is not None else BOX for c in line)


@lru_cache(maxsize=8192)
def _font_of(character: str) -> Path | None:
    """The first font that has a character: DejaVu Sans, or one of the system; None where there is none."""
    candidates = (path for path in (_dejavu(), *_system_fonts()) if _has(path, character))
    return next((path for path in candidates if _draws(path, character)), None)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    """The system's fonts, those first that are likely to have what DejaVu Sans has not; upright before bold."""

    def rank(path: Path) -> tuple[bool, bool, str]:
        name = path.name.lower()
        odd = any(word in name for word in ("bold", "black", "light", "italic", "oblique", "mono", "serif"))
        return not any(word in name for word in _LIKELY), odd, str(path)

    return tuple(sorted((Path(p) for p in font_manager.findSystemFonts()), key=rank)[:MOST_FONTS])


def _has(path: Path, character: str) -> bool:
    known = _characters(path)
    at = int(np.searchsorted(known, ord(character)))
    return at < len(known) and int(known[at]) == ord(character)


@lru_cache(maxsize=MOST_FONTS + 1)
def _characters(path: Path) -> NDArray[np.int32]:
    """The code points that a font has, in order; none where the file is no font."""
    try:
        return np.array(sorted(FT2Font(str(path)).get_charmap()), dtype=np.int32)
    except Exception:  # noqa: BLE001 - a system's font files can be anything
        return np.empty(0, dtype=np.int32)


def _draws(path: Path, character: str) -> bool:
    """Whether both libraries can draw with it; fonts of coloured bitmaps have fixed sizes that only some read."""
    try:
        font(17, path=path).getmask(character)
        face = FT2Font(str(path))
        face.set_size(10, 100)
        face.load_char(ord(character))
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def _runs(text: str, weight: str) -> Iterator[tuple[str, Path]]:
    """Pieces of a drawable text, each with the file of its font."""
    for path, characters in groupby(text, _font_of):
        own = path is None or path == _dejavu()
        yield "".join(characters), _dejavu(weight) if own or path is None else path


def text_width(text: str, size: int, weight: str = "") -> float:
    """Pixels that a drawable text takes along x."""
    return sum(font(size, path=path).getlength(part) for part, path in _runs(text, weight))


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    weight: str = "",
    fill: str = "black",
    middle: bool = False,
) -> None:
    """Draw a drawable text; ``at`` is its upper left corner, or with ``middle`` the middle of its left side."""
    ascent, descent = font(size, weight).getmetrics()
    x, baseline = at[0], at[1] + ((ascent - descent) / 2 if middle else ascent)
    for part, path in _runs(text, weight):
        face = font(size, path=path)
        draw.text((x, baseline), part, fill=fill, font=face, anchor="ls")
        x += face.getlength(part)


def shortened(text: str, room: float, size: int, weight: str = "") -> str:
    """As much of a drawable text as fits into so many pixels, with an ellipsis where some is left out."""
    if text_width(text, size, weight) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        half = (low + high + 1) // 2
        if text_width(text[:half] + ELLIPSIS, size, weight) <= room:
            low = half
        else:
            high = half - 1
    return text[:low].rstrip() + ELLIPSIS


def families(text: str) -> list[str]:
    """The font families by which matplotlib draws a drawable text."""
    others = dict.fromkeys(path for part, path in _runs(text, "") if path != _dejavu())
    return ["DejaVu Sans", *map(_family, others)]


@lru_cache(maxsize=64)
def _family(path: Path) -> str:
    """The family of a font file, regular and bold (or matplotlib warns), which it knows from here on."""
    name = f"omero_pixclf {path.name}"
    known = font_manager.ttfFontProperty(FT2Font(str(path)))
    for weight in (400, 700):
        font_manager.fontManager.ttflist.append(replace(known, name=name, weight=weight, style="normal"))
    return name

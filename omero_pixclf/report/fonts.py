"""Fonts for texts on pictures: find a font for each character, measure and draw texts of any script on one line.

DejaVu Sans, which is part of matplotlib, is used first: it has Latin, Greek, Cyrillic, Arabic and Hebrew letters and
looks the same everywhere. Other characters (Chinese, Japanese, Korean, emoji) are drawn with the system's fonts,
including those in ``~/.local/share/fonts``. A character that no font has is drawn as an empty box.
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

from omero_pixclf.text import to_one_line

__all__ = [
    "BOX",
    "ELLIPSIS",
    "MAX_CHARACTERS",
    "MAX_FONTS",
    "draw_text",
    "font_families",
    "load_font",
    "shorten_text",
    "text_width",
    "to_drawable",
]

BOX = "□"
ELLIPSIS = "…"
MAX_CHARACTERS = 1000  # of a text: no picture is wide enough for more
MAX_FONTS = 500  # of the system that are searched
# Characters without a glyph: joiners, directions, variation selectors, tags.
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
def load_font(size: int, weight: str = "", path: Path | None = None) -> ImageFont.FreeTypeFont:
    """Load a font in a size in pixels: DejaVu Sans with ``weight`` ``""`` or ``"-Bold"``, or the font in a file."""
    return ImageFont.truetype(str(path or _dejavu(weight)), size)


def _dejavu(weight: str = "") -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{weight}.ttf"


def to_drawable(text: str) -> str:
    r"""Convert a text to what can be drawn: one line, with boxes for characters that no font has.

    >>> to_drawable("plate 1\nA$x$"), to_drawable("a\u202eb"), to_drawable("\U0010fffd")
    ('plate 1 A$x$', 'ab', '□')
    """
    line = _INVISIBLE.sub("", to_one_line(text[:MAX_CHARACTERS]))
    return "".join(c if _find_font(c) is not None else BOX for c in line)


@lru_cache(maxsize=8192)
def _find_font(character: str) -> Path | None:
    """Find the first font that has a character: DejaVu Sans, or one of the system; None if there is none."""
    candidates = (path for path in (_dejavu(), *_system_fonts()) if _has_character(path, character))
    return next((path for path in candidates if _can_draw(path, character)), None)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    """List the system's fonts: first those that probably have what DejaVu Sans has not, and regular before bold."""

    def rank(path: Path) -> tuple[bool, bool, str]:
        name = path.name.lower()
        special = any(word in name for word in ("bold", "black", "light", "italic", "oblique", "mono", "serif"))
        return not any(word in name for word in _LIKELY), special, str(path)

    return tuple(sorted((Path(p) for p in font_manager.findSystemFonts()), key=rank)[:MAX_FONTS])


def _has_character(path: Path, character: str) -> bool:
    known = _characters(path)
    index = int(np.searchsorted(known, ord(character)))
    return index < len(known) and int(known[index]) == ord(character)


@lru_cache(maxsize=MAX_FONTS + 1)
def _characters(path: Path) -> NDArray[np.int32]:
    """The sorted code points that a font has; empty if the file is not a font."""
    try:
        return np.array(sorted(FT2Font(str(path)).get_charmap()), dtype=np.int32)
    except Exception:  # noqa: BLE001 - a system's font files can be anything
        return np.empty(0, dtype=np.int32)


def _can_draw(path: Path, character: str) -> bool:
    """Whether both Pillow and matplotlib can draw it; some fonts of coloured bitmaps only work in one of them."""
    try:
        load_font(17, path=path).getmask(character)
        face = FT2Font(str(path))
        face.set_size(10, 100)
        face.load_char(ord(character))
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def _split_by_font(text: str, weight: str) -> Iterator[tuple[str, Path]]:
    """Split a drawable text into pieces of one font, each with the font's file."""
    for path, characters in groupby(text, _find_font):
        is_dejavu = path is None or path == _dejavu()
        yield "".join(characters), _dejavu(weight) if is_dejavu or path is None else path


def text_width(text: str, size: int, weight: str = "") -> float:
    """Width of a drawable text in pixels."""
    return sum(load_font(size, path=path).getlength(part) for part, path in _split_by_font(text, weight))


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
    ascent, descent = load_font(size, weight).getmetrics()
    x, baseline = at[0], at[1] + ((ascent - descent) / 2 if middle else ascent)
    for part, path in _split_by_font(text, weight):
        face = load_font(size, path=path)
        draw.text((x, baseline), part, fill=fill, font=face, anchor="ls")
        x += face.getlength(part)


def shorten_text(text: str, width: float, size: int, weight: str = "") -> str:
    """Cut a drawable text, with an ellipsis at its end, to fit into a width in pixels."""
    if text_width(text, size, weight) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        half = (low + high + 1) // 2
        if text_width(text[:half] + ELLIPSIS, size, weight) <= width:
            low = half
        else:
            high = half - 1
    return text[:low].rstrip() + ELLIPSIS


def font_families(text: str) -> list[str]:
    """List the font families that matplotlib needs to draw a drawable text."""
    others = dict.fromkeys(path for part, path in _split_by_font(text, "") if path != _dejavu())
    return ["DejaVu Sans", *map(_register_family, others)]


@lru_cache(maxsize=64)
def _register_family(path: Path) -> str:
    """Register a font file in matplotlib and return its family; as regular and bold, or matplotlib warns."""
    name = f"omero_pixclf {path.name}"
    known = font_manager.ttfFontProperty(FT2Font(str(path)))
    for weight in (400, 700):
        font_manager.fontManager.ttflist.append(replace(known, name=name, weight=weight, style="normal"))
    return name

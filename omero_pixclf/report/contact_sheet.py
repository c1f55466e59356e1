"""Pictures of results: an image with its objects outlined, and many of them on one sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from omero_pixclf.report.fonts import draw_text, drawable, shortened, text_width
from omero_pixclf.report.overlay import CHANNEL_COLORS, Color, coarse, line_color, overlay, png
from omero_pixclf.report.wells import plate_slots
from omero_pixclf.runs.planning.sampling import sampled

__all__ = ["Panel", "Tile", "contact_sheet", "overlay"]

MOST_CHANNELS = len(CHANNEL_COLORS)
WIDEST = 3000  # pixels, of a sheet
LEGEND, LONGEST_ENTRY = 17, 300  # pixels: size of a legend's text, and the longest of its entries


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet, with what is written below it; tiles of one group (a well) belong together."""

    picture: bytes
    title: str
    caption: str = ""
    group: str = ""


@dataclass(frozen=True)
class Panel:
    """One figure (PNG), and what it shows in words, for those who do not see it."""

    picture: bytes
    text: str


@dataclass(frozen=True)
class _Layout:
    """Where things stand on a sheet, in pixels."""

    columns: int
    rows: int
    cell: tuple[int, int]  # of a picture
    head: int
    margin: int = 20
    text: int = 58

    @property
    def size(self) -> tuple[int, int]:
        width = self.margin + self.columns * (self.cell[0] + self.margin)
        return max(width, 760), self.head + self.rows * (self.cell[1] + self.text) + self.margin // 2

    def corner(self, n: int) -> tuple[int, int]:
        row, column = divmod(n, self.columns)
        return self.margin + column * (self.cell[0] + self.margin), self.head + row * (self.cell[1] + self.text)


def contact_sheet(
    title: str,
    tiles: Sequence[Tile],
    *,
    columns: int | None = None,
    limit: int = 96,
    subtitle: str = "",
    classes: Mapping[str, Color] | None = None,
    channels: Sequence[str] = (),
) -> bytes:
    """A PNG with the tiles in rows, each with its title and caption; ``limit`` of them, well spread, if there are more.

    Parameters
    ----------
    title
        Written large at the top.
    tiles
        At least one.
    columns
        Pictures in a row; None: the sheet is laid out as the plate where tiles are grouped by wells, else as many as
        make a pleasant sheet.
    limit
        The most tiles to show.
    subtitle, classes, channels
        Written at the top: a line of text, and which colours outlines and channels have.
    """
    shown = [tiles[i] for i in sampled([t.group for t in tiles], limit)]
    sizes = [Image.open(io.BytesIO(t.picture)).size for t in shown]
    plate = plate_slots([t.group for t in shown]) if columns is None else None
    columns, slots = plate or (columns, list(range(len(shown))))
    layout = _layout(sizes, columns, max(slots) + 1)
    sheet = Image.new("RGB", layout.size, "white")
    note = f"{len(shown)} of {len(tiles)} images" if len(shown) < len(tiles) else ""
    _head(sheet, layout, (title, " · ".join(t for t in (subtitle, note) if t)), classes or {}, channels)
    for slot, tile in zip(slots, shown, strict=True):  # decoded one by one: hundreds at once would fill the memory
        _place(sheet, tile, layout.corner(slot), layout.cell)
    return png(sheet, effort=4)


def _layout(sizes: Sequence[tuple[int, int]], columns: int | None, slots: int) -> _Layout:
    width, height = (max(s[i] for s in sizes) for i in (0, 1))
    columns = min(slots, columns or max(1, round((slots * 1.5 * (height + 58) / width) ** 0.5)))
    shrink = min(1.0, (WIDEST / columns - 20) / width)
    cell = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return _Layout(columns, -(-slots // columns), cell, head=132)


def _head(
    sheet: Image.Image,
    layout: _Layout,
    texts: tuple[str, str],
    classes: Mapping[str, Color],
    channels: Sequence[str],
) -> None:
    draw = ImageDraw.Draw(sheet)
    for text, top, points, weight, ink in ((texts[0], 16, 30, "-Bold", "black"), (texts[1], 60, 18, "", "#444444")):
        line, size = _fitted(text, sheet.width - 2 * layout.margin, points, weight)
        draw_text(draw, (layout.margin, top), line, size, weight=weight, fill=ink)
    outlines = [(name, line_color(color)) for name, color in classes.items()]
    fills = [(channels[n] or f"channel {n + 1}", CHANNEL_COLORS[n]) for n in range(min(len(channels), MOST_CHANNELS))]
    end = _legend(draw, (layout.margin, 92), "Outlines", outlines, filled=False)
    _legend(draw, (end, 92), "Channels", fills, filled=True)


def _legend(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], what: str, entries: Sequence[tuple[str, Color]], *, filled: bool
) -> int:
    """Explain colours, from a corner on; returns where the next thing may stand."""
    x, y = corner
    if not entries:
        return x
    draw_text(draw, (x, y + 11), what, LEGEND, fill="#444444", middle=True)
    x += round(text_width(what, LEGEND)) + 12
    for name, color in entries:
        draw.rounded_rectangle((x, y, x + 26, y + 22), 4, fill="#202020")
        if filled:
            draw.rectangle((x + 5, y + 4, x + 21, y + 18), fill=color)
        else:
            draw.ellipse((x + 5, y + 3, x + 21, y + 19), outline=color, width=3)
        shown = shortened(drawable(name), LONGEST_ENTRY, LEGEND)
        draw_text(draw, (x + 34, y + 11), shown, LEGEND, middle=True)
        x += 34 + round(text_width(shown, LEGEND)) + 20
    return x + 16


def _fitted(text: str, room: int, size: int, weight: str = "") -> tuple[str, int]:
    """A text as it is drawn and the size in which it fits into so many pixels; smaller, and in the end shortened."""
    line = drawable(text)
    while text_width(line, size, weight) > room and size > 13:
        size -= 1
    return shortened(line, room, size, weight), size


def _place(sheet: Image.Image, tile: Tile, corner: tuple[int, int], cell: tuple[int, int]) -> None:
    picture = Image.open(io.BytesIO(tile.picture)).convert("RGB")
    shrink = min(cell[0] / picture.width, cell[1] / picture.height)
    size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
    x, y = corner
    sheet.paste(coarse(np.asarray(picture.resize(size, Image.Resampling.LANCZOS))), corner)
    draw = ImageDraw.Draw(sheet)
    lines = ((tile.title, 5, 17, "-Bold", "black"), (tile.caption, 27, 16, "", "#444444"))
    for text, below, most, weight, ink in lines:
        line, points = _fitted(text, cell[0], most, weight)
        draw_text(draw, (x, y + size[1] + below), line, points, weight=weight, fill=ink)

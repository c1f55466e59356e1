"""Contact sheet of a container: thumbnails of its images with titles and object counts, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from omero_pixclf.report.fonts import draw_text, shorten_text, text_width, to_drawable
from omero_pixclf.report.overlay import (
    CHANNEL_COLORS,
    Color,
    encode_png,
    lighten_for_dark_background,
    quantize_colors,
)
from omero_pixclf.report.wells import plate_slots
from omero_pixclf.runs.planning.sampling import sample_groups

__all__ = ["LEGEND_SIZE", "MAX_ENTRY_WIDTH", "MAX_WIDTH", "MOST_CHANNELS", "Thumbnail", "draw_contact_sheet"]

MOST_CHANNELS = len(CHANNEL_COLORS)
MAX_WIDTH = 3000  # pixels, of a sheet
LEGEND_SIZE, MAX_ENTRY_WIDTH = 17, 300  # pixels: size of a legend's text, and width of its longest entry


@dataclass(frozen=True)
class Thumbnail:
    """A picture (PNG) of one image, with the texts below it; thumbnails of one group (a well) are kept together."""

    picture: bytes
    title: str
    caption: str = ""
    group: str = ""


@dataclass(frozen=True)
class _Layout:
    """Positions on a sheet, in pixels."""

    columns: int
    rows: int
    cell: tuple[int, int]  # of a picture
    header: int
    margin: int = 20
    text: int = 58

    @property
    def size(self) -> tuple[int, int]:
        width = self.margin + self.columns * (self.cell[0] + self.margin)
        return max(width, 760), self.header + self.rows * (self.cell[1] + self.text) + self.margin // 2

    def corner(self, n: int) -> tuple[int, int]:
        row, column = divmod(n, self.columns)
        return self.margin + column * (self.cell[0] + self.margin), self.header + row * (self.cell[1] + self.text)


def draw_contact_sheet(
    title: str,
    thumbnails: Sequence[Thumbnail],
    *,
    columns: int | None = None,
    limit: int = 96,
    subtitle: str = "",
    classes: Mapping[str, Color] | None = None,
    channels: Sequence[str] = (),
) -> bytes:
    """Draw thumbnails in rows, each with its title and caption, and return the sheet as a PNG.

    Parameters
    ----------
    title
        Written large at the top.
    thumbnails
        At least one.
    columns
        Pictures in a row. None arranges thumbnails that are grouped by wells as on their plate, and others in a
        sheet with an aspect ratio of about 3:2.
    limit
        Maximum number of thumbnails; if there are more, an evenly spaced choice is shown.
    subtitle, classes, channels
        Written at the top: a line of text, and the colours of outlines and channels.
    """
    shown = [thumbnails[i] for i in sample_groups([t.group for t in thumbnails], limit)]
    sizes = [Image.open(io.BytesIO(t.picture)).size for t in shown]
    plate = plate_slots([t.group for t in shown]) if columns is None else None
    columns, slots = plate or (columns, list(range(len(shown))))
    layout = _layout(sizes, columns, max(slots) + 1)
    sheet = Image.new("RGB", layout.size, "white")
    note = f"{len(shown)} of {len(thumbnails)} images" if len(shown) < len(thumbnails) else ""
    _draw_header(sheet, layout, (title, " · ".join(t for t in (subtitle, note) if t)), classes or {}, channels)
    for slot, thumbnail in zip(slots, shown, strict=True):  # decoded one by one to save memory
        _draw_thumbnail(sheet, thumbnail, layout.corner(slot), layout.cell)
    return encode_png(sheet, effort=4)


def _layout(sizes: Sequence[tuple[int, int]], columns: int | None, slots: int) -> _Layout:
    width, height = (max(s[i] for s in sizes) for i in (0, 1))
    columns = min(slots, columns or max(1, round((slots * 1.5 * (height + 58) / width) ** 0.5)))
    scale = min(1.0, (MAX_WIDTH / columns - 20) / width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _Layout(columns, -(-slots // columns), cell, header=132)


def _draw_header(
    sheet: Image.Image,
    layout: _Layout,
    texts: tuple[str, str],
    classes: Mapping[str, Color],
    channels: Sequence[str],
) -> None:
    draw = ImageDraw.Draw(sheet)
    for text, top, points, weight, ink in ((texts[0], 16, 30, "-Bold", "black"), (texts[1], 60, 18, "", "#444444")):
        line, size = _fit_text(text, sheet.width - 2 * layout.margin, points, weight)
        draw_text(draw, (layout.margin, top), line, size, weight=weight, fill=ink)
    outlines = [(name, lighten_for_dark_background(color)) for name, color in classes.items()]
    fills = [(channels[n] or f"channel {n + 1}", CHANNEL_COLORS[n]) for n in range(min(len(channels), MOST_CHANNELS))]
    end = _draw_legend(draw, (layout.margin, 92), "Outlines", outlines, filled=False)
    _draw_legend(draw, (end, 92), "Channels", fills, filled=True)


def _draw_legend(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], what: str, entries: Sequence[tuple[str, Color]], *, filled: bool
) -> int:
    """Draw a legend of colours to the right of a corner; return the x coordinate after it."""
    x, y = corner
    if not entries:
        return x
    draw_text(draw, (x, y + 11), what, LEGEND_SIZE, fill="#444444", middle=True)
    x += round(text_width(what, LEGEND_SIZE)) + 12
    for name, color in entries:
        draw.rounded_rectangle((x, y, x + 26, y + 22), 4, fill="#202020")
        if filled:
            draw.rectangle((x + 5, y + 4, x + 21, y + 18), fill=color)
        else:
            draw.ellipse((x + 5, y + 3, x + 21, y + 19), outline=color, width=3)
        shown = shorten_text(to_drawable(name), MAX_ENTRY_WIDTH, LEGEND_SIZE)
        draw_text(draw, (x + 34, y + 11), shown, LEGEND_SIZE, middle=True)
        x += 34 + round(text_width(shown, LEGEND_SIZE)) + 20
    return x + 16


def _fit_text(text: str, width: int, size: int, weight: str = "") -> tuple[str, int]:
    """Fit a text into a width in pixels: reduce its size, then shorten it. Returns the drawable text and its size."""
    line = to_drawable(text)
    while text_width(line, size, weight) > width and size > 13:
        size -= 1
    return shorten_text(line, width, size, weight), size


def _draw_thumbnail(sheet: Image.Image, thumbnail: Thumbnail, corner: tuple[int, int], cell: tuple[int, int]) -> None:
    picture = Image.open(io.BytesIO(thumbnail.picture)).convert("RGB")
    scale = min(cell[0] / picture.width, cell[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    x, y = corner
    sheet.paste(quantize_colors(np.asarray(picture.resize(size, Image.Resampling.LANCZOS))), corner)
    draw = ImageDraw.Draw(sheet)
    lines = ((thumbnail.title, 5, 17, "-Bold", "black"), (thumbnail.caption, 27, 16, "", "#444444"))
    for text, below, largest, weight, ink in lines:
        line, points = _fit_text(text, cell[0], largest, weight)
        draw_text(draw, (x, y + size[1] + below), line, points, weight=weight, fill=ink)

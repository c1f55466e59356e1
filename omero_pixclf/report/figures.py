"""A page of panels, drawn once by matplotlib: as one picture, and panel by panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from omero_pixclf.report.contact_sheet import Panel
from omero_pixclf.report.fonts import drawable, families, shortened, text_width
from omero_pixclf.report.overlay import png

__all__ = ["Box", "Page", "blank", "fitted", "plain", "printed"]

Box = tuple[float, float, float, float]
"""A panel's place on its page, in inches from the lower left corner: left, bottom, width, height."""

EFFORT = 4  # of 9: figures are small either way
MEASURED = 100  # pixels in which texts are measured
SMALLEST = 7.0  # points
WIDEST_PAGE = 10_000  # pixels along a side


@dataclass(frozen=True)
class Page:
    """A whole page (PNG), and its panels one by one."""

    picture: bytes
    panels: tuple[Panel, ...]


def blank(width: float, height: float, dpi: int) -> Figure:
    """An empty white page of so many inches, and so many pixels per inch unless it would be huge."""
    figure = Figure(figsize=(width, height), dpi=min(dpi, WIDEST_PAGE / max(width, height)), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> dict[str, Any]:
    """Options of matplotlib by which a drawable text is drawn as it is: ``$`` is no formula, fonts have its letters."""
    return {"parse_math": False, "usetex": False, "fontfamily": families(text)}


def fitted(text: str, inches: float, points: float, *, weight: str = "") -> tuple[str, float]:
    """A name as it is drawn and its size in points, so that it fits; smaller, and in the end shortened."""
    line = drawable(text)
    wide = text_width(line, MEASURED, weight) / MEASURED * points / 72  # inches
    size = max(points * min(1.0, inches / wide), min(SMALLEST, points)) if wide else points
    return shortened(line, inches * 72 / size * MEASURED, MEASURED, weight), size


def printed(figure: Figure, panels: Sequence[tuple[Box, str]]) -> Page:
    """The page as pictures; ``panels`` are what is on it, each with a text for those who do not see it."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # `blank` gave it
    canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return Page(
        png(whole, effort=EFFORT),
        tuple(Panel(png(_cut(whole, box, figure.dpi), effort=EFFORT), text) for box, text in panels),
    )


def _cut(page: Image.Image, box: Box, dpi: float) -> Image.Image:
    left, bottom, width, height = (round(inches * dpi) for inches in box)
    x0, y0 = min(left, page.width - width), max(0, page.height - bottom - height)
    return page.crop((x0, y0, x0 + width, y0 + height))

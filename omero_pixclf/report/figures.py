"""Matplotlib figures with several panels, rendered to PNG once: the whole figure and each panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from omero_pixclf.report.fonts import font_families, shorten_text, text_width, to_drawable
from omero_pixclf.report.overlay import encode_png

__all__ = [
    "COMPRESSION_LEVEL",
    "MAX_SIDE",
    "MIN_POINTS",
    "TEST_SIZE",
    "Panel",
    "PanelBox",
    "RenderedFigure",
    "fit_text",
    "new_figure",
    "render_figure",
    "text_options",
]

PanelBox = tuple[float, float, float, float]
"""A panel's position in its figure, in inches from the lower left corner: left, bottom, width, height."""

COMPRESSION_LEVEL = 4  # of 9: figures are small at any level
TEST_SIZE = 100  # pixels: size in which texts are measured
MIN_POINTS = 7.0
MAX_SIDE = 10_000  # pixels along a figure's side


@dataclass(frozen=True)
class Panel:
    """One panel of a figure (PNG), and a text that says what it shows, for screen readers."""

    picture: bytes
    text: str


@dataclass(frozen=True)
class RenderedFigure:
    """A whole figure (PNG), and each of its panels."""

    picture: bytes
    panels: tuple[Panel, ...]


def new_figure(width: float, height: float, dpi: int) -> Figure:
    """Create an empty white figure of a size in inches; the resolution is reduced if a side exceeds `MAX_SIDE`."""
    figure = Figure(figsize=(width, height), dpi=min(dpi, MAX_SIDE / max(width, height)), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def text_options(text: str) -> dict[str, Any]:
    """Matplotlib's options to draw a drawable text literally: ``$`` starts no formula, fonts have all characters."""
    return {"parse_math": False, "usetex": False, "fontfamily": font_families(text)}


def fit_text(text: str, inches: float, points: float, *, weight: str = "") -> tuple[str, float]:
    """Fit a text into a width: reduce its size, then shorten it. Returns the drawable text and its size in points."""
    line = to_drawable(text)
    width = text_width(line, TEST_SIZE, weight) / TEST_SIZE * points / 72  # inches
    size = max(points * min(1.0, inches / width), min(MIN_POINTS, points)) if width else points
    return shorten_text(line, inches * 72 / size * TEST_SIZE, TEST_SIZE, weight), size


def render_figure(figure: Figure, panels: Sequence[tuple[PanelBox, str]]) -> RenderedFigure:
    """Render a figure of `new_figure` to PNG; ``panels`` has the position and the text of each panel."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # set by `new_figure`
    canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return RenderedFigure(
        encode_png(whole, effort=COMPRESSION_LEVEL),
        tuple(Panel(encode_png(_crop(whole, box, figure.dpi), effort=COMPRESSION_LEVEL), text) for box, text in panels),
    )


def _crop(figure: Image.Image, box: PanelBox, dpi: float) -> Image.Image:
    left, bottom, width, height = (round(inches * dpi) for inches in box)
    x0, y0 = min(left, figure.width - width), max(0, figure.height - bottom - height)
    return figure.crop((x0, y0, x0 + width, y0 + height))

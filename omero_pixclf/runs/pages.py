"""A page of panels, drawn once by matplotlib: as one picture, and panel by panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from omero_pixclf.runs.overlay import png
from omero_pixclf.runs.pictures import Panel

__all__ = ["Box", "Page", "blank", "printed"]

Box = tuple[float, float, float, float]
"""A panel's place on its page, in inches from the lower left corner: left, bottom, width, height."""

EFFORT = 4  # of 9: figures are small either way


@dataclass(frozen=True)
class Page:
    """A whole page (PNG), and its panels one by one."""

    picture: bytes
    panels: tuple[Panel, ...]


def blank(width: float, height: float, dpi: int) -> Figure:
    """An empty white page of so many inches."""
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


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

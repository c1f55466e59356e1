"""Histograms of the objects' size, intensities and probability for each class, from the object table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from omero_pixclf.image import Float64Array
from omero_pixclf.report.figures import RenderedFigure, fit_text, new_figure, render_figure, text_options
from omero_pixclf.report.overlay import Color
from omero_pixclf.table import Column, Table

__all__ = [
    "ACROSS",
    "DPI",
    "MAX_BINS",
    "MAX_BRIGHTNESS",
    "MAX_NAME_WIDTH",
    "PANEL",
    "SIZES",
    "TAIL",
    "TITLES",
    "darken_for_white_background",
    "draw_histograms",
]

# The first column of each row that has values is shown: in µm if pixels have a size.
SIZES = (("Area_um2", "Area_px"), ("Volume_um3", "Volume_px"))
TITLES = {
    "Area_um2": "area",
    "Area_px": "area",
    "Volume_um3": "volume",
    "Volume_px": "volume",
    "Probability_mean": "mean probability of the class",
}
ACROSS, PANEL, DPI = 3, (4.4, 3.0), 130  # panels beside each other, inches of one, pixels per inch
MAX_NAME_WIDTH = 1.5  # inches, of a class in a legend
MAX_BINS = 40
TAIL = 99.5  # percentile where the axis ends if a few values are far above it
MAX_BRIGHTNESS = 150  # of 255: lighter class colours are darkened to be visible on white


@dataclass(frozen=True)
class _Measure:
    """The finite values of one column for each class."""

    title: str
    unit: str
    values: Mapping[str, Float64Array]

    @property
    def limits(self) -> tuple[float, float]:
        """First and last value of the axis."""
        together = np.concatenate(list(self.values.values()))
        low, tail, high = (float(v) for v in np.percentile(together, (0, TAIL, 100)))
        end = tail if high - low > 1.6 * (tail - low) and tail > low else high
        margin = 0.5 * (abs(low) * 0.1 or 1.0) if end == low else 0.0
        return low - margin, end + margin


def draw_histograms(objects: Table, *, title: str, colors: Mapping[str, Color]) -> RenderedFigure:
    """Draw histograms of size, mean intensity of each channel, and mean probability, for each class.

    Parameters
    ----------
    objects
        One row per object, as returned by `measure`. NaN is left out. Without rows, the figure says that no objects
        were found, and has no panels.
    title
        Written at the top.
    colors
        Red, green, blue, 0 to 255, for each class.
    """
    measures = _measures(objects, colors)
    across = 2 if len(measures) in (0, 1, 2, 4) else ACROSS
    down = max(1, -(-len(measures) // across))
    width, height = across * PANEL[0], down * PANEL[1] + 0.45
    figure = new_figure(width, height, DPI)
    line, points = fit_text(title, width - 0.5, 14.0, weight="-Bold")
    figure.text(0.25 / width, 1 - 0.18 / height, line, fontsize=points, weight="bold", va="top", **text_options(line))
    if not measures:
        figure.text(0.5, 0.45, "No objects were found.", fontsize=13, ha="center", color="#444444")
    panels = []
    for n, measure in enumerate(measures):
        corner = (n % across * PANEL[0], (down - 1 - n // across) * PANEL[1])
        _draw_histogram(figure, corner, measure, colors)
        panels.append(((*corner, *PANEL), _describe(measure)))
    return render_figure(figure, panels)


def _describe(measure: _Measure) -> str:
    """A text for screen readers."""
    medians = [_median_text(name, values, measure.unit) for name, values in measure.values.items() if len(values)]
    return f"Histogram of {measure.title}. {'; '.join(medians)}"


def darken_for_white_background(color: Color) -> Color:
    """Darken a class colour until it is visible on white.

    >>> darken_for_white_background((255, 0, 0)), darken_for_white_background((255, 255, 0))
    ((255, 0, 0), (162, 162, 0))
    """
    light = float(np.dot(color, (0.2126, 0.7152, 0.0722)))
    r, g, b = (round(v * min(1.0, MAX_BRIGHTNESS / max(light, 1.0))) for v in color)
    return (r, g, b)


def _measures(objects: Table, colors: Mapping[str, Color]) -> list[_Measure]:
    """Choose the columns to show, in order; columns without any finite value are left out."""
    if not len(objects):
        return []
    columns = {c.name: c for c in objects.columns}
    alternatives = [*SIZES, *((n,) for n in columns if n.startswith("Mean_")), ("Probability_mean",)]
    classes = objects["Class"].tolist()
    names = [n for n in (*colors, *sorted(set(classes) - set(colors))) if n in set(classes)]
    masks = {name: np.array([c == name for c in classes], dtype=bool) for name in names}
    shown = (_first_with_values(columns, names) for names in alternatives)
    return [_measure(column, masks) for column in shown if column is not None]


def _first_with_values(columns: Mapping[str, Column], names: Sequence[str]) -> Column | None:
    return next((columns[n] for n in names if n in columns and np.isfinite(columns[n].values).any()), None)


def _measure(column: Column, masks: Mapping[str, NDArray[np.bool_]]) -> _Measure:
    finite = np.isfinite(column.values)
    values = {name: column.values[mask & finite] for name, mask in masks.items()}
    title = TITLES.get(column.name) or f"mean intensity of {column.name.removeprefix('Mean_')}"
    return _Measure(title, column.unit, values)


def _draw_histogram(
    figure: Figure, corner: tuple[float, float], measure: _Measure, colors: Mapping[str, Color]
) -> None:
    """Draw one histogram; ``corner`` is its panel's lower left corner in inches."""
    width, height = figure.get_size_inches()
    box = (
        (corner[0] + 0.62) / width,
        (corner[1] + 0.55) / height,
        (PANEL[0] - 0.85) / width,
        (PANEL[1] - 0.95) / height,
    )
    axes = figure.add_axes(box)
    low, high = measure.limits
    count = max(map(len, measure.values.values()))
    edges = np.linspace(low, high, 1 + min(MAX_BINS, max(8, round(3 * count ** (1 / 3)))))
    for name, values in measure.values.items():
        heights, _ = np.histogram(values, edges)
        ink = tuple(v / 255 for v in darken_for_white_background(colors.get(name, (90, 90, 90))))
        axes.stairs(heights, edges, fill=True, color=(*ink, 0.22))
        axes.stairs(heights, edges, color=ink, linewidth=1.4, label="class")  # named in the legend
        if len(values) and low <= float(np.median(values)) <= high:
            axes.vlines(float(np.median(values)), 0, heights.max(), color=ink, linewidth=1.2, linestyle=(0, (4, 3)))
    beyond = sum(int((values > high).sum()) for values in measure.values.values())
    _style_axes(axes, measure, f"{beyond} larger →" if beyond else "")


def _median_text(name: str, values: Float64Array, unit: str) -> str:
    if not len(values):
        return f"{name}: none"
    median = float(np.median(values))
    digits = 0 if abs(median) >= 100 else 1 if abs(median) >= 10 else 2
    return f"{name}: {len(values):,}, median {median:,.{digits}f} {unit}".rstrip()


def _style_axes(axes: Axes, measure: _Measure, note: str) -> None:
    """Set limits, title, labels and legend; ``note`` is written at the right end of the axis."""
    axes.set_xlim(*measure.limits)
    _, top = axes.get_ylim()
    axes.set_ylim(0, top * (1.12 + 0.1 * len(measure.values)))  # room for the legend
    line, points = fit_text(measure.title, PANEL[0] - 0.7, 11.0)
    axes.set_title(line, fontsize=points, loc="left", **text_options(line))
    axes.set_xlabel(measure.unit or " ", fontsize=9)
    axes.set_ylabel("objects", fontsize=9)
    axes.tick_params(labelsize=8, color="#888888")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    legend = axes.legend(
        fontsize=8.5, loc="upper right", framealpha=0.8, edgecolor="none", handlelength=1.2, borderaxespad=0.1
    )
    for entry, (name, values) in zip(legend.get_texts(), measure.values.items(), strict=True):
        # Set after the legend is made: matplotlib makes no entry for a label that starts with an underscore.
        line = _median_text(fit_text(name, MAX_NAME_WIDTH, 8.5)[0], values, measure.unit)
        entry.set(text=line, **text_options(line))
    if note:
        axes.text(1, -0.14, note, transform=axes.transAxes, ha="right", va="top", fontsize=8, color="#555555")

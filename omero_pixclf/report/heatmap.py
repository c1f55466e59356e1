"""Plate heat maps: mean object count and mean area fraction of each class in each well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from omero_pixclf.image import Float64Array
from omero_pixclf.report.data import class_names
from omero_pixclf.report.figures import RenderedFigure, fit_text, new_figure, render_figure, text_options
from omero_pixclf.report.wells import plate_shape, well_name, well_position
from omero_pixclf.table import Table
from omero_pixclf.text import pluralize

__all__ = [
    "ACROSS",
    "DPI",
    "MAX_WELLS",
    "MEASURES",
    "MIN_TEXT_SIZE",
    "TITLE_HEIGHT",
    "Shape",
    "WellMeans",
    "draw_heat_map",
    "well_means",
]

# column prefix: (title, factor, colour map)
MEASURES = {"Count_": ("objects per image", 1.0, "YlGnBu"), "Area_fraction_": ("area in %", 100.0, "YlOrBr")}
ACROSS = 2  # plates beside each other
DPI, TITLE_HEIGHT = 150, 0.55  # pixels per inch; inches
MAX_WELLS = 10_000  # of a plate that is drawn: the largest in use have 1,536
MIN_TEXT_SIZE = 5.0  # points: smaller numbers are left out


Shape = tuple[int, int]  # rows and columns


@dataclass(frozen=True)
class WellMeans:
    """One number per well.

    Attributes
    ----------
    values
        ``(rows, columns)`` float64 of the plate, NaN for wells without images.
    fields
        ``(rows, columns)`` int64, the number of images in each mean.
    """

    values: Float64Array
    fields: NDArray[np.int64]


def well_means(summary: Table, column: str, plate: Shape | None = None) -> WellMeans | None:
    """Compute the mean of a column over the images of each well, by ``Well_Name``.

    Parameters
    ----------
    summary
        One row per image. NaN is left out of means, and so are rows without a valid well name (`well_position`).
    column
        The column's name.
    plate
        Rows and columns of the plate; None takes the smallest standard plate that has these wells.

    Returns
    -------
    WellMeans or None
        None if no well has a value, or if the plate has more than `MAX_WELLS` wells.
    """
    if "Well_Name" not in summary:
        return None
    places = [well_position(name) for name in summary["Well_Name"].tolist()]
    known = np.array([p is not None for p in places], dtype=bool)
    if not known.any():
        return None
    rows, columns = np.array([p for p in places if p is not None], dtype=np.int64).T
    least = (int(rows.max()) + 1, int(columns.max()) + 1)
    usable = plate is not None and plate[0] >= least[0] and plate[1] >= least[1] and prod(plate) <= MAX_WELLS
    shape = plate if plate is not None and usable else plate_shape(*least)
    if prod(shape) > MAX_WELLS:
        return None
    measured = next(c for c in summary.columns if c.name == column)
    numbers = measured.values[known].astype(np.float64)
    there = np.isfinite(numbers) & measured.known[known]
    if not there.any():
        return None
    index = rows * shape[1] + columns
    total = np.bincount(index[there], numbers[there], minlength=shape[0] * shape[1])
    count = np.bincount(index[there], minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        return WellMeans((total / count).reshape(shape), count.reshape(shape).astype(np.int64))


def draw_heat_map(summary: Table, *, title: str, plate: Shape | None = None) -> RenderedFigure | None:
    """Draw a plate for each class's mean count and area fraction; wells without a value are hatched.

    Parameters
    ----------
    summary
        One row per image: ``Well_Name``, and ``Count_<class>``, ``Area_fraction_<class>`` for each class.
    title
        Written at the top.
    plate
        Rows and columns of the plate; None takes the smallest standard plate that has these wells.

    Returns
    -------
    RenderedFigure or None
        None if no row has a valid well name.
    """
    plates = _plates(summary, plate)
    if not plates:
        return None
    cell, (width, height) = _panel_size(plates[0])
    down = -(-len(plates) // ACROSS)
    figure = new_figure(min(ACROSS, len(plates)) * width, down * height + TITLE_HEIGHT, DPI)
    _draw_title(figure, title, _note(summary, plates))
    panels = []
    for n, one in enumerate(plates):
        corner = (n % ACROSS * width, (down - 1 - n // ACROSS) * height)
        _draw_plate(figure, corner, one, cell)
        panels.append(((*corner, width, height), _describe(one)))
    return render_figure(figure, panels)


def _describe(plate: _Plate) -> str:
    """A text for screen readers."""
    values = plate.wells.values
    low, high = (_number_format(values)(float(f(values))) for f in (np.nanmin, np.nanmax))
    return f"Plate heat map. {plate.title}: from {low} to {high}"


@dataclass(frozen=True)
class _Plate:
    """The values of one plate, with title and name of the colour map."""

    title: str
    colors: str
    wells: WellMeans


def _plates(summary: Table, shape: Shape | None) -> list[_Plate]:
    """For each class: its count, then its area fraction."""
    plates = []
    for tag, name in class_names(summary).items():
        for prefix, (measure, factor, colors) in MEASURES.items():
            wells = well_means(summary, prefix + tag, shape) if prefix + tag in summary else None
            if wells is not None:
                fields = np.unique(wells.fields[wells.fields > 0]).tolist()
                span = f"{fields[0]} to {fields[-1]}" if len(fields) > 1 else f"{fields[0]}"
                mean = "" if fields == [1] else f", mean of {span} images"
                plates.append(
                    _Plate(f"{name}: {measure}{mean}", colors, WellMeans(wells.values * factor, wells.fields))
                )
    return plates


def _panel_size(plate: _Plate) -> tuple[float, tuple[float, float]]:
    """Size of a well's side and of the whole panel (width, height), in inches."""
    rows, columns = plate.wells.values.shape
    cell = float(np.clip(6.6 / columns, 0.34, 1.1))
    return cell, (columns * cell + 1.35, rows * cell + 0.85)


def _note(summary: Table, plates: Sequence[_Plate]) -> str:
    """The line below the title, about wells without values and images without a position on the plate."""
    notes = ["hatched: no measurement"] if any(bool(np.isnan(p.wells.values).any()) for p in plates) else []
    unplaced = sum(well_position(name) is None for name in summary["Well_Name"].tolist())
    if unplaced:
        notes.append(f"not shown: {pluralize(unplaced, 'image')} of wells without row and column")
    return "; ".join(notes)


def _draw_title(figure: Figure, title: str, note: str) -> None:
    width, height = figure.get_size_inches()
    left = 0.2 / width
    line, points = fit_text(title, width - 0.4, 14.0, weight="-Bold")
    figure.text(left, 1 - 0.15 / height, line, fontsize=points, weight="bold", va="top", **text_options(line))
    figure.text(left, 1 - 0.42 / height, note, fontsize=9, color="#555555", va="top")


def _draw_plate(figure: Figure, corner: tuple[float, float], plate: _Plate, cell: float) -> None:
    """Draw a plate into a figure; ``corner`` is the panel's lower left corner in inches."""
    width, height = figure.get_size_inches()
    values = plate.wells.values
    box = (corner[0] + 0.45, corner[1] + 0.2, values.shape[1] * cell, values.shape[0] * cell)
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    norm = Normalize(0, float(np.nanmax(values)) or 1.0)
    picture = axes.imshow(np.ma.masked_invalid(values), cmap=plate.colors, norm=norm, aspect="equal")
    _draw_grid(axes, values)
    line, points = fit_text(plate.title, box[2] + 0.6, 10.0)
    axes.set_title(line, fontsize=points, loc="left", pad=20, **text_options(line))
    _draw_values(axes, values, picture.get_cmap(), norm, cell)
    side = figure.add_axes(((box[0] + box[2] + 0.1) / width, box[1] / height, 0.13 / width, box[3] / height))
    bar = figure.colorbar(picture, cax=side)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)


def _draw_grid(axes: Axes, values: Float64Array) -> None:
    """Draw row letters and column numbers, white lines between wells, and hatching of wells without a value."""
    rows, columns = values.shape
    axes.set_xticks(range(columns), [str(c + 1) for c in range(columns)])
    axes.set_yticks(range(rows), [well_name(r, 0)[:-1] for r in range(rows)])
    axes.tick_params(length=0, labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="minor", length=0, top=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, column in np.argwhere(~np.isfinite(values)):
        corner = (column - 0.44, row - 0.44)
        axes.add_patch(Rectangle(corner, 0.88, 0.88, facecolor="white", edgecolor="#b8b8b8", hatch="////", linewidth=0))


def _draw_values(axes: Axes, values: Float64Array, colors: Colormap, norm: Normalize, cell: float) -> None:
    """Write the values into their wells, all in the same size; none if they were too small to read."""
    to_text = _number_format(values)
    texts = {(r, c): to_text(values[r, c]) for r, c in np.argwhere(np.isfinite(values)).tolist()}
    longest = max(map(len, texts.values()))
    points = min(11.0, 0.5 * 72 * cell, 0.84 * 72 * cell / (0.64 * longest))
    if points < MIN_TEXT_SIZE:
        return
    for (row, column), text in texts.items():
        light = float(np.dot(colors(norm(values[row, column]))[:3], (0.2126, 0.7152, 0.0722)))
        ink = "black" if light > 0.45 else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=points, color=ink)


def _number_format(values: Float64Array) -> Callable[[float], str]:
    """Choose a number format of about four characters that suits all values.

    >>> [_number_format(np.array(v))(v[0]) for v in ([5.0, 99.0], [5.0, 2.5], [5.25, 120.5], [12345.6], [2_345_678.0])]
    ['5', '5.0', '5', '12k', '2.3M']
    """
    finite = values[np.isfinite(values)]
    largest = float(finite.max())
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if largest >= 10 * size or (sign == "M" and largest >= size):
            digits = 0 if largest >= 10 * size else 1
            return lambda value: f"{value / size:.{digits}f}{sign}"
    digits = 0 if largest >= 99.95 or bool((finite == np.rint(finite)).all()) else 1
    return lambda value: f"{value:.{digits}f}"

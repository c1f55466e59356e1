"""Draws docs/layers.svg from the layers that pyproject.toml declares and a test enforces: python docs/layers.py."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "layers.svg"

WIDTH, LEFT, RIGHT, TOP = 940, 118, 150, 44
HEIGHT, GAP = 42, 8
NAME_EM, DESCRIPTION_EM = 9.6, 6.2  # pixels of a letter on average, in a wide typeface
FILLS = {"door": "#dbe9fb", "order": "#e4f4ef", "edge": "#fdebd8", "science": "#e6f4de", "ground": "#ededf0"}

# room: (colour, description)
DESCRIPTIONS = {
    "cli": ("door", "the command line"),
    "omero_script": ("door", "the script in OMERO.web"),
    "demo": ("door", "simulated images, and a run over them"),
    "api": ("door", "the Python API"),
    "app": ("order", "plan, execute, merge and undo runs"),
    "embedded": ("edge", "an OMERO server in Python"),
    "folder": ("edge", "results in folders"),
    "report": ("order", "report and pictures"),
    "watch": ("order", "the watcher"),
    "direct": ("edge", "pixels from mounted storage of the server"),
    "connector": ("edge", "OMERO: pixels, ROIs, tables, ledger"),
    "headless": ("edge", "ilastik's command line on files"),
    "runs": ("order", "planning, execution and state of a run"),
    "files": ("edge", "TIFF, HDF5, OME-Zarr, PNG, NumPy"),
    "objects": ("science", "threshold, label, outline, measure"),
    "pixels": ("science", "features and random forest, in exact tiles"),
    "ilastik": ("science", "ilastik projects as frozen data, nothing executed"),
    "table": ("ground", "tables with typed columns"),
    "image": ("ground", "images: axes, shape, regions"),
    "pixel_location": ("ground", "paths of pixels on a server"),
    "config": ("ground", "recipes"),
    "checksums": ("ground", "checksums of files"),
    "provenance": ("ground", "records of runs"),
    "text": ("ground", "text for people"),
    "errors": ("ground", "all exceptions"),
}
# Inputs and outputs, beside the row of a module.
INPUTS, OUTPUTS = {"connector": "images", "ilastik": ".ilp"}, {"connector": ("ROIs, tables,", "pictures, ledger")}


def layers() -> list[list[str]]:
    """The declared layers from the top, each with its modules."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = [c for c in declared["contracts"] if c["type"] == "layers"]
    return [[name.strip().removeprefix("omero_pixclf.") for name in row.split("|")] for row in contract["layers"]]


def render_picture(rows: list[list[str]]) -> str:
    """The picture, as SVG."""
    height = TOP + len(rows) * (HEIGHT + GAP) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        "<title>The layers of omero_pixclf: each imports only from those below</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fff"/>',
        _text(LEFT, 27, "each layer imports only from layers below it (checked by a test)", size=13, fill="#555"),
    ]
    for n, row in enumerate(rows):
        parts += _row(row, TOP + n * (HEIGHT + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _row(row: list[str], y: int) -> list[str]:
    middle = y + HEIGHT / 2
    parts = []
    x: float = LEFT
    for name, width in zip(row, _widths(row), strict=True):
        colour, description = DESCRIPTIONS[name]
        parts.append(
            f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{HEIGHT}" rx="6" fill="{FILLS[colour]}" '
            'stroke="#0002"/>'
        )
        parts.append(_text(x + width / 2, y + 17, name, size=14, weight="600", anchor="middle"))
        parts.append(_text(x + width / 2, y + 33, description, size=11, fill="#444", anchor="middle"))
        if name in INPUTS:
            parts.append(_text(14, middle + 5, INPUTS[name], size=14))
            parts.append(_arrow(70, LEFT - 6, middle))
        for line, text in enumerate(OUTPUTS.get(name, ())):
            parts.append(_text(WIDTH - RIGHT + 44, middle - 3 + 17 * line, text, size=13))
        if name in OUTPUTS:
            parts.append(_arrow(WIDTH - RIGHT + 4, WIDTH - RIGHT + 38, middle))
        x += width + GAP
    return parts


def _widths(row: list[str]) -> list[float]:
    """Equal widths of a row's boxes, or if a text would not fit, widths with the same margin around each text."""
    room = WIDTH - LEFT - RIGHT - GAP * (len(row) - 1)
    needs = [max(NAME_EM * len(name), DESCRIPTION_EM * len(DESCRIPTIONS[name][1])) for name in row]
    if max(needs) + GAP <= room / len(row):
        return [room / len(row)] * len(row)
    return [need + (room - sum(needs)) / len(row) for need in needs]


def _text(x: float, y: float, text: str, *, size: int, fill: str = "#111", weight: str = "", anchor: str = "") -> str:
    more = (f' font-weight="{weight}"' if weight else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{more}>{escape(text)}</text>'


def _arrow(start: float, end: float, y: float) -> str:
    return f'<path d="M{start:g} {y:g}H{end:g}" stroke="#555" stroke-width="1.5" fill="none" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    PICTURE.write_text(render_picture(layers()), encoding="utf-8")

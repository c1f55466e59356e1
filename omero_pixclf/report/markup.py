"""The few pieces of HTML that reports are made of. All text is escaped here, and nowhere else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

__all__ = ["Cell", "data_uri", "definitions", "figure", "number", "swatch", "table", "thumbnail"]

LONG = 40  # characters: a cell that gets a column of some width
MIME = {b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, by what it is sorted if not by that, and whether it is a number."""

    text: str
    key: float | str | None = None
    numeric: bool = False


def number(value: float, form: str = ",.0f") -> Cell:
    """A number's cell; NaN is a dash and comes last."""
    if not np.isfinite(value):
        return Cell("–", "", numeric=True)
    return Cell(format(value, form), value, numeric=True)


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, sortable: bool = False) -> str:
    """A table with headed columns and rows, in a box that scrolls by itself on narrow screens.

    The first cell of a row names it. Sortable tables are sorted by the page's script; without it they are plain.
    """
    cells = [list(row) for row in rows]
    body = [f"<tr>{''.join(_cell(c, n == 0) for n, c in enumerate(row))}</tr>" for row in cells]
    marks = [
        ' class="n"' if cells and cell.numeric else "" for cell in (cells[0] if cells else [Cell("")] * len(heads))
    ]
    head = "".join(f'<th scope="col"{mark}>{escape(h)}</th>' for h, mark in zip(heads, marks, strict=True))
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table{kind}>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(body)
        + "\n</tbody></table></div>"
    )


def _cell(cell: Cell, leads: bool) -> str:
    tag = "th" if leads else "td"
    marks = ' scope="row"' if leads else ""
    if cell.numeric:
        marks += ' class="n"'
    elif len(cell.text) > LONG:
        marks += ' class="long"'
    if cell.key is not None:
        marks += f' data-key="{escape(str(cell.key))}"'
    return f"<{tag}{marks}>{escape(cell.text)}</{tag}>"


def definitions(pairs: Mapping[str, str]) -> str:
    """Names and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def figure(picture: bytes, text: str, *, title: str = "", caption: str = "") -> str:
    """A picture within the page; ``text`` says in words what it shows."""
    width, height = Image.open(io.BytesIO(picture)).size
    kind = ' class="wide"' if width > 2 * height else ""
    lines = f"<b>{escape(title)}</b><br>{escape(caption)}"
    below = f"<figcaption>{lines}</figcaption>" if title or caption else ""
    return (
        f'<figure{kind}><div class="frame"><img src="{data_uri(picture)}" width="{width}" height="{height}" '
        f'alt="{escape(text)}"></div>{below}</figure>'
    )


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG as an address that holds it."""
    return f"data:{MIME[picture[:3]]};base64,{base64.b64encode(picture).decode('ascii')}"


def thumbnail(picture: bytes, *, side: int, quality: int = 80) -> bytes:
    """A picture as a JPEG of at most that height, for pages; fine lines keep their colour."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    shrink = min(1.0, side / image.height)
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def swatch(name: str, color: tuple[int, int, int], *, filled: bool) -> str:
    """A colour and what it stands for; filled for a channel, a ring for an outline."""
    style = f"background:rgb{color}" if filled else f"border-color:rgb{color}"
    kind = "fill" if filled else "ring"
    return f'<span class="swatch"><i class="{kind}"><i style="{style}"></i></i>{escape(name)}</span>'

"""The references in docs/ say what the program does: they are made from its models, and this compares them.

``python -m tests.unit.test_docs`` writes them anew.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from omero_pixclf.config import Classifier, Objects, Output, Recipe
from omero_pixclf.image import ImageInfo, Place
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.summary import summarise
from omero_pixclf.runs.containers import locate, summary_row
from omero_pixclf.table import Column, Table

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- made by tests/unit/test_docs.py: begin -->", "<!-- end -->"


def recipe_reference() -> str:
    lines = []
    for section, model in (("", Recipe), ("classifier", Classifier), ("objects", Objects), ("output", Output)):
        rows = [
            f"| `{name}` | {_values(field.annotation)} | {_default(field)} | {field.description or ''} |"
            for name, field in model.model_fields.items()
            if name not in ("classifier", "objects", "output")
        ]
        lines += [f"### `[{section}]`" if section else "### At the top", ""]
        lines += ["| key | values | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _values(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " · ".join(f"`{a}`" for a in arguments)
    if origin is tuple:
        return "three numbers" if len(arguments) == 3 and arguments[0] is float else "one or a list"
    if arguments:
        return _values(next(a for a in arguments if a is not type(None)))
    return {int: "whole number", float: "number", bool: "`true` · `false`", str: "text"}[annotation]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    return "" if value in (None, (), "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def tables_reference() -> str:
    place = Place("Plate:1", "plate", "B3", 7, 1)
    image = ImageInfo("Image:1", "i", (1, 1, 4, 4, 1), "uint8", ("DAPI",), (None, 1.0, 1.0), place)
    labels = np.zeros((1, 1, 4, 4), np.int32)
    pixels, maps = np.ones((1, 1, 4, 4, 1), np.uint8), np.full((1, 1, 4, 4, 2), 0.5, np.float32)
    objects = measure(labels, pixels, maps, class_name="Nucleus", dims=2, channels=("DAPI",))
    row = summary_row(image, summarise(pixels, maps, {"Nucleus": labels}), {"Nucleus": objects})
    located = locate(objects, image).with_column(Column("Roi", "roi", np.zeros(0), "", "the object's ROI"))
    parts = []
    for title, table in (("Summary table, a row per image", row), ("Object table, a row per object", located)):
        parts += [f"### {title}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *_columns(table), ""]
    return "\n".join(parts)


def _columns(table: Table) -> list[str]:
    return [f"| `{c.name}` | {c.kind} | {c.unit} | {c.description} |" for c in table.columns]


REFERENCES = {"recipe.md": recipe_reference, "results.md": tables_reference}


def _with(name: str, made: str) -> str:
    text = (DOCS / name).read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}"


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_says_what_the_program_does(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == _with(name, REFERENCES[name]()), (
        f"docs/{name} is out of date: write it anew with python -m tests.unit.test_docs"
    )


if __name__ == "__main__":
    for name, make in REFERENCES.items():
        (DOCS / name).write_text(_with(name, make()), encoding="utf-8")

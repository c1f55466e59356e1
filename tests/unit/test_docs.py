"""The references in docs/ say what the program does: they are made from its models, and this compares them.

``python -m tests.unit.test_docs`` writes them anew.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from docs import modules
from docs.layers import DESCRIPTIONS, PICTURE, layers, render_picture
from omero_pixclf.config import ClassifierSettings, ObjectSettings, OutputSettings, Recipe
from omero_pixclf.connector.files import FILES_NS
from omero_pixclf.connector.results.container_tables import OBJECT_TABLE
from omero_pixclf.connector.results.ledger import RUN_NS, TABLES_NS, WORKER_KEY, format_record
from omero_pixclf.connector.results.tables import BULK_NS, OBJECTS_NS
from omero_pixclf.connector.watching import ANSWER_NS, REQUEST_NS, WATCH_NS
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.summary import summarize_image
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.containers import add_image_columns, make_summary_row
from omero_pixclf.table import Column, Table
from omero_pixclf.watch.settings import ServerSettings, ServiceSettings, StatusPageSettings, WatchSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- made by tests/unit/test_docs.py: begin -->", "<!-- end -->"


def recipe_reference() -> str:
    lines = []
    for section, model in (
        ("", Recipe),
        ("classifier", ClassifierSettings),
        ("objects", ObjectSettings),
        ("output", OutputSettings),
    ):
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
    return {int: "whole number", float: "number", bool: "`true` · `false`", str: "text", Path: "path"}[annotation]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, tuple) and value:
        return f"`[{', '.join(f'{one:g}' for one in value)}]`"
    return "" if value in (None, (), "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def tables_reference() -> str:
    place = ImageLocation("Plate:1", "plate", "B3", 7, 1)
    image = ImageInfo("Image:1", "i", (1, 1, 4, 4, 1), "uint8", ("DAPI",), (None, 1.0, 1.0), place)
    labels = np.zeros((1, 1, 4, 4), np.int32)
    pixels, maps = np.ones((1, 1, 4, 4, 1), np.uint8), np.full((1, 1, 4, 4, 2), 0.5, np.float32)
    objects = measure(labels, pixels, maps, class_name="Nucleus", dims=2, channels=("DAPI",))
    row = make_summary_row(image, summarize_image(pixels, maps, {"Nucleus": labels}), {"Nucleus": objects})
    located = add_image_columns(objects, image).with_column(Column("Roi", "roi", np.zeros(0), "", "the object's ROI"))
    parts = []
    for title, table in (("Summary table, a row per image", row), ("Object table, a row per object", located)):
        parts += [f"### {title}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *_columns(table), ""]
    return "\n".join(parts)


def _columns(table: Table) -> list[str]:
    return [f"| `{c.name}` | {c.kind} | {c.unit} | {c.description} |" for c in table.columns]


# What each key of a ledger entry says, by what the key is made of; a key without a line here fails the test.
KEYS = {
    "Run ID": "shared by all images of a run; sortable by time",
    "State": "`running`, then `complete`",
    "Image": "the object of the entry: on images",
    "Container": "the object of the entry: on datasets and plates",
    "Recipe": "the recipe's name: results of the same name replace each other",
    "Recipe hash": "SHA-256 of all settings that affect results",
    "Pixels": "id and SHA-1 of the pixels",
    "Project file": "the `.ilp`'s name",
    "Project SHA-256": "of the `.ilp`'s bytes",
    "Version": "of omero_pixclf",
    "Started": "UTC",
    "Finished": "UTC; once complete",
    "Objects: Nucleus": "number of objects, a key per class",
    "Uncertainty": "mean of 1 - (highest - second highest probability)",
    "Workflow_ID": "the run, under BIOMERO's name",
    "Name": "the recipe, under BIOMERO's name",
    "Created_On": "the start, under BIOMERO's name",
    "Param_objects.threshold": "a key per setting of the recipe, named as BIOMERO names parameters",
    OBJECT_TABLE: "on datasets and plates: address of the object table in OMERO.web",
    WORKER_KEY: "while `running`: host, process and session of the run",
}


def ledger_reference() -> str:
    moment = datetime(2026, 11, 21, 5, 30, 12, tzinfo=timezone.utc)
    record = RunRecord(
        "20261121T053012-ab12cd", "Image:51", "nuclei", "5f0c…", "Pixels:51 sha1:9a1b…", "nuclei.ilp", "77d0…", "0.1.0",
        moment, moment, "complete", {"Nucleus": 119}, 0.0821, {"objects.threshold": "0.6"},
    )  # fmt: skip
    pairs = format_record(record)
    pairs[3:3] = [("Container", "Plate:3")]
    assert ("Container", "Plate:3") in format_record(replace(record, image="Plate:3"))
    pairs.append((OBJECT_TABLE, "https://omero.example/webclient/omero_table/4712/"))
    pairs.append((WORKER_KEY, "node7 process 4711 session 812"))
    lines = [f"| `{key}` | {value} | {KEYS[key]} |" for key, value in pairs]
    return "\n".join(["| key | such as | meaning |", "|---|---|---|", *lines, ""])


def namespaces_reference() -> str:
    kinds = (
        (RUN_NS, "map annotation on an image", "the ledger"),
        (TABLES_NS, "map annotation on a dataset or plate", "the ledger of tables and pictures"),
        (BULK_NS, "file annotation on a dataset or plate", "the summary table, where OMERO.parade and OMERO.web look"),
        (OBJECTS_NS, "file annotation on the images of a dataset or plate", "the object table, one for all of them"),
        (FILES_NS, "file annotation", "maps (images); pictures, report and `failures.csv` (datasets, plates)"),
        (WATCH_NS, "map annotation on a container, by users", "opts the container in for the [watcher](watch.md)"),
        (REQUEST_NS, "map annotation, by users or the script", "a request to the watcher"),
        (ANSWER_NS, "map annotation, by the watcher", "its answer, if it may not edit the request"),
    )
    lines = [f"| `{namespace}` | {where} | {what} |" for namespace, where, what in kinds]
    return "\n".join(["| namespace | on | what |", "|---|---|---|", *lines, ""])


def settings_reference() -> str:
    parts = []
    for section, model in (
        ("server", ServerSettings),
        ("service", ServiceSettings),
        ("status", StatusPageSettings),
        ("[watches]", WatchSettings),
    ):
        says = " ".join((model.__doc__ or "").split()).replace("``", "`")
        rows = [
            f"| `{name}` | {_values(field.annotation)} | {_default(field)} | {field.description or ''} |"
            for name, field in model.model_fields.items()
        ]
        parts += [f"`[{section}]`: {says}", "", "| key | values | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


REFERENCES: dict[str, tuple[Callable[[], str], ...]] = {
    "recipe.md": (recipe_reference,),
    "results.md": (namespaces_reference, ledger_reference, tables_reference),
    "watch.md": (settings_reference,),
}


def _with(name: str) -> str:
    """A page with its made parts made anew, in their order."""
    head, *rest = (DOCS / name).read_text(encoding="utf-8").split(BEGIN)
    tails = [part.partition(END)[2] for part in rest]
    made = [f"{BEGIN}\n\n{make()}\n{END}{tail}" for make, tail in zip(REFERENCES[name], tails, strict=True)]
    return "".join([head, *made])


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_says_what_the_program_does(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == _with(name), (
        f"docs/{name} is out of date: write it anew with python -m tests.unit.test_docs"
    )


def test_the_picture_of_the_layers_shows_what_is_declared() -> None:
    names = {name for row in layers() for name in row}
    assert names == set(DESCRIPTIONS), "docs/layers.py: DESCRIPTIONS needs a line for each module"
    assert PICTURE.read_text(encoding="utf-8") == render_picture(layers()), "draw it again: python docs/layers.py"


DOCUMENTS = [*(DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *DOCS.rglob("*.md")]
# Paths in the repository: with an extension, or folders that end with a slash. (`omero_pixclf/run` is a namespace.)
NAMED_FILE = re.compile(r"`((?:omero_pixclf|tests|docs|deploy|scripts)/[\w./-]*(?:\.\w+|/))`")
NAMED_MODULE = re.compile(r"\b((?:omero_pixclf|tests)(?:\.[a-z_]\w*)+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_files_and_modules_named_in_the_documents_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [name for name in NAMED_FILE.findall(text) if not (DOCS.parent / name).exists()] == []
    assert [name for name in NAMED_MODULE.findall(text) if not _is_module_or_member(name)] == []


def _is_module_or_member(name: str) -> bool:
    """Whether a dotted name is a module of the repository, or a name within one. Nothing is imported."""
    path = DOCS.parent / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    sources = (path.parent.with_suffix(".py"), path.parent / "__init__.py", path.parent / "__init__.pyi")
    return any(re.search(rf"\b{path.name}\b", s.read_text(encoding="utf-8")) for s in sources if s.is_file())


def test_the_list_of_modules_has_their_first_lines() -> None:
    assert modules.PAGE.read_text(encoding="utf-8") == modules.render_page(), "write it again: python docs/modules.py"


def test_every_namespace_of_the_program_is_in_the_reference() -> None:
    named = re.compile(r'^\w+_NS = "([^"]+)"', re.MULTILINE)
    sources = (DOCS.parent / "omero_pixclf" / "connector").rglob("*.py")
    found = {ns for source in sources for ns in named.findall(source.read_text(encoding="utf-8"))}
    assert len(found) == 8
    assert [ns for ns in found if f"`{ns}`" not in (DOCS / "results.md").read_text(encoding="utf-8")] == []


if __name__ == "__main__":
    for name in REFERENCES:
        (DOCS / name).write_text(_with(name), encoding="utf-8")

"""The names of the Python API: which they are, that they can be imported, and that each example shows a number."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import pytest

import omero_pixclf

NAMES = [
    "connect",
    "measure",
    "open_image",
    "outlines",
    "predict",
    "read_project",
    "run",
    "segment",
    "simple_segmentation",
    "undo",
]


def test_the_public_names_are_these() -> None:
    assert sorted(omero_pixclf.__all__) == sorted(["__version__", "errors", *NAMES])
    assert set(omero_pixclf.__all__) <= set(dir(omero_pixclf))


def test_the_stub_for_type_checkers_has_the_same_names() -> None:
    stub = ast.parse(Path(omero_pixclf.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert imported == omero_pixclf._MODULES | {"errors": "omero_pixclf"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        omero_pixclf.predictions  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_every_example_shows_a_number(name: str) -> None:
    examples = doctest.DocTestParser().get_examples(getattr(omero_pixclf, name).__doc__)
    assert any(re.search(r"\d", example.want) for example in examples)

"""Names and ids in queries: only what is meant is a wildcard."""

from __future__ import annotations

import ast
import fnmatch
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import omero_pixclf
from omero_pixclf.connector import query_patterns

PACKAGE = Path(omero_pixclf.__file__).parent
ODD = st.text("ab_%\\*?[]!-.1", max_size=8)


def like(text: str, pattern: str) -> bool:
    """What PostgreSQL answers; a backslash escapes there without being told."""
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA case_sensitive_like = ON")
        return bool(database.execute("SELECT ? LIKE ? ESCAPE '\\'", (text, pattern)).fetchone()[0])


@given(ODD, ODD)
def test_a_prefix_fits_what_starts_with_it_and_nothing_else(text: str, prefix: str) -> None:
    assert like(text, query_patterns.prefix_pattern(prefix)) == text.startswith(prefix)
    assert like(prefix + text, query_patterns.prefix_pattern(prefix))


@given(ODD, ODD, ODD)
def test_a_part_fits_what_contains_it_and_nothing_else(before: str, part: str, after: str) -> None:
    assert like(before + part + after, query_patterns.substring_pattern(part))
    assert like(before + after, query_patterns.substring_pattern(part)) == (part in before + after)


@given(ODD, ODD)
def test_a_shell_pattern_loses_no_name(name: str, pattern: str) -> None:
    if fnmatch.fnmatchcase(name, pattern):
        assert like(name, query_patterns.glob_pattern(pattern))


@pytest.mark.parametrize(("name", "fits"), [("plate_1", True), ("plate_12", False), ("plateX1", False)])
def test_an_underscore_in_a_shell_pattern_is_an_underscore(name: str, fits: bool) -> None:
    assert like(name, query_patterns.glob_pattern("plate_?")) is fits


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "embedded" not in path.relative_to(PACKAGE).parts:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def _texts(tree: ast.AST) -> str:
    """All string constants outside docstrings, f-strings with their holes as ``{}``."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    )


def test_every_like_in_a_query_takes_a_pattern_made_of_plain_text() -> None:
    """``like :name`` is bound to a call of `omero_pixclf.connector.query_patterns`; a constant pattern has no ``_``."""
    makers, seen = set(query_patterns.__all__), 0
    for path, tree in _trees():
        texts = _texts(tree)
        for constant in re.findall(r"\blike '([^']*)'", texts):
            assert "_" not in constant, f"{path}: like {constant!r}: _ is a wildcard"
        for name in re.findall(r"\blike :(\w+)", texts):
            keywords = [k for call in ast.walk(tree) if isinstance(call, ast.Call) for k in call.keywords]
            bound = [k.value for k in keywords if k.arg == name]
            made = [isinstance(v, ast.Call) and isinstance(v.func, ast.Name) and v.func.id in makers for v in bound]
            assert made and all(made), f"{path}: like :{name} needs one of {sorted(makers)}"
            seen += 1
        # A pattern that is put into the text of a query cannot be checked, so none is.
        assert not re.search(r"\blike\s*(\|\||\{|\Z|\n)", texts), f"{path}: like without a named parameter"
    assert seen >= 4

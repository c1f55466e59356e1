"""Dependencies are honest: what is declared is imported, and what is imported is declared, with the extra it is in."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omero_pixclf.config import parse_toml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "omero_pixclf"

DISTRIBUTIONS = {
    "Glacier2": "zeroc-ice",
    "Ice": "zeroc-ice",
    "PIL": "pillow",
    "dask_jobqueue": "dask-jobqueue",
    "omero": "omero-py",
    "omero_ext": "omero-py",
    "prometheus_client": "prometheus-client",
    "skimage": "scikit-image",
}
"""Top-level modules whose distribution has another name."""

NEEDED_BY_OTHERS = {
    "imagecodecs": "tifffile decodes and encodes compressed TIFF with it",
    "psycopg": "SQLAlchemy loads it for postgresql+psycopg://",
}
"""Declared although the package need not import them, with the reason."""

PLACES = {
    "embedded": ("embedded/",),
    "pandas": ("table.py",),
    "dask": ("runs/execution/",),
    "jobqueue": ("runs/execution/jobqueue.py",),
    "dev": ("embedded/pytest_plugin.py",),
}
"""Where in the package the distributions of an extra may be imported; the main ones may be everywhere."""


def canonical(requirement: str) -> str:
    """A requirement's distribution, as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()  # type: ignore[index]


@pytest.fixture(scope="module")
def declared() -> dict[str, set[str]]:
    """The distributions of the main install, under "", and of each extra without those of the main install."""
    project = parse_toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "pyproject.toml")["project"]
    main = {canonical(text) for text in project["dependencies"]}
    extras = {name: set(map(canonical, texts)) for name, texts in project["optional-dependencies"].items()}
    return {"": main, **{name: found - main - {"omero-pixclf"} for name, found in extras.items()}}


def imports() -> Iterator[tuple[str, str]]:
    """Distribution and file, from the package's top, of every import of something that is not Python's or ours."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names}:
                if top not in sys.stdlib_module_names and top != "omero_pixclf":
                    yield canonical(DISTRIBUTIONS.get(top, top)), path.relative_to(PACKAGE).as_posix()


def test_every_import_is_declared_where_it_may_be_used(declared: dict[str, set[str]]) -> None:
    wrong = []
    for distribution, file in imports():
        allowed = [p for extra, places in PLACES.items() if distribution in declared[extra] for p in places]
        if distribution not in declared[""] and not file.startswith(tuple(allowed)):
            wrong.append(f"{file} imports {distribution}, declared for {allowed or 'nothing'}")
    assert not wrong, "\n".join(wrong)


def test_every_declared_dependency_is_imported(declared: dict[str, set[str]]) -> None:
    used = {distribution for distribution, _ in imports()} | set(NEEDED_BY_OTHERS)
    wanted = {name: found for name, found in declared.items() if name != "dev"}
    unused = {name: sorted(found - used) for name, found in wanted.items() if found - used}
    assert not unused, f"declared, but imported nowhere: {unused}"


def test_what_only_the_embedded_omero_imports_is_in_its_extra(declared: dict[str, set[str]]) -> None:
    elsewhere = {distribution for distribution, file in imports() if not file.startswith("embedded/")}
    assert declared[""] - elsewhere - set(NEEDED_BY_OTHERS) == set()
    assert declared["embedded"] & elsewhere == set()


def test_the_developers_extra_holds_all_others(declared: dict[str, set[str]]) -> None:
    project = parse_toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "pyproject.toml")["project"]
    (own,) = [text for text in project["optional-dependencies"]["dev"] if canonical(text) == "omero-pixclf"]
    assert set(re.findall(r"[a-z]+", own.partition("[")[2])) == set(declared) - {"", "dev"}

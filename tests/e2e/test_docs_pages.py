"""The pages of documentation: their links lead somewhere, and the commands they show exist with those options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from omero_pixclf.cli import COMMANDS
from tests.e2e.test_cli_help import FOLDERS, parse

ROOT = Path(__file__).resolve().parents[2]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
each = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def shown(page: Path) -> list[list[str]]:
    """The commands of ``omero-pixclf`` on a page, as a shell would split them: in console blocks, after ``$``."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[0] == "omero-pixclf"]


@each
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if not re.match(r"https?:", link)]
    assert [link for link in local if link and not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each
def test_links_lead_to_headings_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*\.md|)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    missing = [(file, name) for file, name in links if name not in anchors(page.parent / file if file else page)]
    assert missing == []


def test_the_site_shows_every_page() -> None:
    shown_pages = re.findall(r'" = "([^"]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(shown_pages) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES if page not in TOP)


@each
def test_commands_on_the_page_are_accepted(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in FOLDERS:
        Path(folder).mkdir()
    for words in shown(page):
        parse([word.replace("*", "a") for word in words])


def test_files_named_for_contributors_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:omero_pixclf|tests|docs|\.ci)/[^`… ]*)`", text)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_names_given_to_contributors_are_in_the_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sources = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "omero_pixclf").rglob("*.py")))
    names = set(re.findall(r"`@?(_?[A-Z][A-Z_]+|[A-Z][a-z]+[A-Za-z]*)`", text))
    assert {"_FEATURE_NAMES", "RESULT_VERSION", "StoredArray"} <= names
    assert [name for name in names if not re.search(rf"\b{name}\b", sources)] == []


def test_pages_with_commands_are_found() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 20


def test_commands_named_in_the_index_exist() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`omero-pixclf ([a-z]+)", index))
    assert named
    assert named <= set(COMMANDS)

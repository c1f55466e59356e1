"""Writes docs/development/modules.md, the list of all modules with their first docstring lines."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "omero_pixclf"
PAGE = ROOT / "docs" / "development" / "modules.md"

TITLE = """# Modules

All modules of the package with the first line of their docstrings, folder by folder. This page is written by
`python docs/modules.py`.
"""


def first_line(module: Path) -> str:
    """The first line of a module's docstring; "" without a docstring."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def folders() -> list[Path]:
    """The folders of the package that have Python modules, each before its subfolders."""
    return sorted({path.parent for path in PACKAGE.rglob("*.py")})


def render_page() -> str:
    """The page in Markdown: for each folder its own docstring and a table of its modules."""
    parts = [TITLE]
    for folder in folders():
        parts += [
            f"## {folder.relative_to(ROOT).as_posix()}/",
            "",
            _to_markdown(first_line(folder / "__init__.py")),
            "",
        ]
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        if modules:
            parts += ["| module | content |", "|---|---|"]
            parts += [f"| `{path.name}` | {_to_markdown(first_line(path))} |" for path in modules]
            parts += [""]
    return "\n".join(parts)


def _to_markdown(text: str) -> str:
    """Convert a docstring's line to Markdown, also within a table."""
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")

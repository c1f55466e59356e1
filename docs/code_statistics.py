"""Compares two commits by numbers about their code and writes docs/development/statistics.md.

``python docs/code_statistics.py BEFORE AFTER`` checks both commits out into temporary worktrees. Times are processor
times of the interpreter that runs this.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "development" / "statistics.md"
REPEATS = 9  # of each timed command; the shortest counts
NAME = re.compile(r"[A-Za-z0-9._-]+")  # of a package, at the beginning of a requirement


@dataclass(frozen=True)
class Statistics:
    """Numbers about one commit."""

    commit: str
    rooms: dict[str, tuple[int, int]]  # files and lines by folder
    functions: list[tuple[int, str]]  # lines and place of each function
    bodies: list[int]  # the same lines without docstrings
    longest_file: tuple[int, str]
    duplicate_classes: list[str]
    duplicate_files: list[str]
    dependencies: list[str]
    installed: tuple[int, float]  # packages of the main install with their own dependencies, MB on disk
    seconds: dict[str, float]


def main(before: str, after: str) -> None:
    """Measure both commits and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (measure(commit, Path(folder) / name) for commit, name in ((before, "before"), (after, "after")))
    PAGE.write_text(render_page(one, other), encoding="utf-8")


def measure(commit: str, tree: Path) -> Statistics:
    """Check a commit out into a worktree and measure it."""
    git("worktree", "add", "--detach", str(tree), commit)
    try:
        return read_statistics(git("rev-parse", "--short", commit).strip(), tree)
    finally:
        git("worktree", "remove", "--force", str(tree))


def git(*words: str) -> str:
    """The output of a git command in this repository."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def read_statistics(commit: str, tree: Path) -> Statistics:
    """Read the numbers about the package in a worktree."""
    package = tree / "omero_pixclf"
    files = {path.relative_to(package): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    lines = {path: len(text.splitlines()) for path, text in files.items()}
    rooms: dict[str, tuple[int, int]] = {}
    for path, count in lines.items():
        room = f"{path.parts[0]}/" if len(path.parts) > 1 else "(top)"
        known = rooms.get(room, (0, 0))
        rooms[room] = (known[0] + 1, known[1] + count)
    trees = {path: ast.parse(text) for path, text in files.items()}
    functions = [
        (size, body, f"{path}: {name}") for path in trees for size, body, name in function_lengths(trees[path])
    ]
    dependencies = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return Statistics(
        commit,
        rooms,
        sorted(((size, place) for size, _, place in functions), reverse=True),
        [body for _, body, _ in functions],
        max((count, str(path)) for path, count in lines.items()),
        duplicates(n.name for t in trees.values() for n in t.body if isinstance(n, ast.ClassDef)),
        duplicates(f"{p.parts[0]}/…/{p.name}" for p in files if len(p.parts) > 1 and p.name != "__init__.py"),
        sorted(package_name(d) for d in dependencies),
        installed_size(dependencies),
        {command: shortest(words, tree) for command, words in COMMANDS.items()},
    )


COMMANDS = {
    "python -c pass": ["-c", "pass"],
    'python -c "import omero_pixclf"': ["-c", "import omero_pixclf"],
    "omero-pixclf --help": ["-m", "omero_pixclf", "--help"],
}


def function_lengths(tree: ast.Module) -> Iterator[tuple[int, int, str]]:
    """For each function its lines, its lines without the docstring, and its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            docstring = ast.get_docstring(node) is not None
            yield size, size - ((first.end_lineno or 0) - first.lineno + 1 if docstring else 0), node.name


def duplicates(names: Iterator[str]) -> list[str]:
    """The names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def package_name(requirement: str) -> str:
    """The name at the beginning of a requirement such as ``"numpy>=2"``."""
    found = NAME.match(requirement)
    assert found is not None, requirement
    return found[0]


def installed_size(requirements: list[str]) -> tuple[int, float]:
    """Number and size in MB of these packages with all that they need, as installed in this environment.

    Requirements with a marker (extras, other Pythons or systems) are followed where their package is installed without
    an extra.
    """
    waiting, seen, size = [package_name(r) for r in requirements], set[str](), 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another Python or system
        seen.add(name)
        paths = [Path(str(file.locate())) for file in distribution.files or ()]
        size += sum(path.stat().st_size for path in paths if path.is_file())
        waiting += [package_name(r) for r in distribution.requires or () if "extra ==" not in r]
    return len(seen), size / 1e6


def shortest(words: list[str], tree: Path) -> float:
    """The shortest processor time of a Python command among several, in seconds, with the package of a worktree."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    times = []
    for _ in range(REPEATS):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime)
    return min(times)


def render_page(before: Statistics, after: Statistics) -> str:
    """The page in Markdown."""
    parts = [
        "# Statistics",
        "",
        f"Commit {before.commit} against {after.commit}, written by `docs/code_statistics.py`.",
        "",
    ]
    parts += ["| | before | after |", "|---|---|---|"]
    rows = zip(overview(before), overview(after), strict=True)
    parts += [f"| {name} | {one} | {other} |" for (name, one), (_, other) in rows]
    parts += ["", "Function lengths are in lines and include signature and docstring unless stated otherwise.", ""]
    parts += ["## Dependencies of the main install", "", f"Before: {', '.join(before.dependencies)}.", ""]
    parts += [f"After: {', '.join(after.dependencies)}.", "", "## Files and lines", ""]
    parts += ["| folder | files before | after | lines before | after |", "|---|---|---|---|---|"]
    for room in sorted({*before.rooms, *after.rooms}):
        one, other = before.rooms.get(room, ("", "")), after.rooms.get(room, ("", ""))
        parts += [f"| {room} | {one[0]} | {other[0]} | {one[1]} | {other[1]} |"]
    return "\n".join([*parts, ""])


def overview(found: Statistics) -> list[tuple[str, str]]:
    """The rows of the first table."""
    lengths = [size for size, _ in found.functions]
    packages, megabytes = found.installed
    return [
        ("files", f"{sum(files for files, _ in found.rooms.values())}"),
        ("lines", f"{sum(lines for _, lines in found.rooms.values()):,}"),
        ("longest file", f"`{found.longest_file[1]}`, {found.longest_file[0]}"),
        ("functions", f"{len(lengths):,}"),
        ("function length, median", f"{median(lengths):g}"),
        ("function length, 90th percentile", f"{quantiles(lengths, n=10)[-1]:g}"),
        ("the same without docstrings, median", f"{median(found.bodies):g}"),
        ("the same without docstrings, 90th percentile", f"{quantiles(found.bodies, n=10)[-1]:g}"),
        ("longest function", f"`{found.functions[0][1]}`, {found.functions[0][0]}"),
        ("longest function without its docstring", f"{max(found.bodies)}"),
        ("functions above 40 lines without their docstrings", f"{sum(size > 40 for size in found.bodies)}"),
        ("class names used twice", ", ".join(f"`{n}`" for n in found.duplicate_classes) or "none"),
        ("file names used twice in a folder's tree", ", ".join(f"`{n}`" for n in found.duplicate_files) or "none"),
        ("dependencies of the main install", f"{len(found.dependencies)}"),
        ("packages installed with them, size", f"{packages}, {megabytes:,.0f} MB"),
        *((f"processor time of `{name}`", f"{seconds * 1000:.0f} ms") for name, seconds in found.seconds.items()),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The architecture as tests: imports, public names, file and class names, sizes. Each lint reports all its failures."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "omero_pixclf"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [p for p in FILES if p.name not in ("__init__.py", "__main__.py")]
SOURCES = [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.ipynb")), ROOT / "README.md"]

LONGEST_FILE, LONGEST_FUNCTION = 400, 60
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_imports_flow_one_way() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(program), "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_the_science_imports_and_runs_without_ice() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(('Ice', 'IcePy', 'omero', 'ezomero', 'Glacier2')))\n"
    rooms = ("ilastik.project", "pixels.predict", "objects.segment", "objects.measure", "runs.image", "files.opening")
    done = python(blocked + "".join(f"import omero_pixclf.{room}\n" for room in rooms))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("heavy", ["numpy", "h5py", "omero", "pydantic", "scipy", "matplotlib"])
def test_the_overview_of_commands_loads_nothing_heavy(heavy: str) -> None:
    code = (
        "import sys\nfrom omero_pixclf.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "undo" in done.stdout


def listed_names(tree: ast.Module) -> set[str] | None:
    """The names in ``__all__``; None without it."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def defined_names(tree: ast.Module) -> set[str]:
    """The names of a module's own functions, classes, constants and type aliases, also those in if and try blocks."""
    names: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.If | ast.Try):
            pending += [*node.body, *node.orelse, *getattr(node, "finalbody", ())]
            pending += [statement for handler in getattr(node, "handlers", ()) for statement in handler.body]
    return names


def imported_names(tree: ast.Module) -> set[str]:
    return {
        (a.asname or a.name).split(".")[0]
        for node in tree.body
        if isinstance(node, ast.ImportFrom | ast.Import)
        for a in node.names
    }


def public_name_problems(tree: ast.Module) -> list[str]:
    """What is wrong with a module's list of public names."""
    listed, own = listed_names(tree), defined_names(tree)
    public = {name for name in own if not name.startswith("_")}
    problems = [f"{name} is public and not in __all__" for name in sorted(public - (listed or set()))]
    unknown = (listed or set()) - own - imported_names(tree)
    return problems + [f"{name} is in __all__ and not defined" for name in sorted(unknown)]


def test_public_names_are_listed() -> None:
    """A name without a leading underscore that no ``__all__`` lists is public by accident."""
    problems = [f"{name_of(p)}: {problem}" for p in MODULES for problem in public_name_problems(parsed(p))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "code",
    [
        "__all__ = []\ndef found(): ...",
        "__all__ = ['a']\na = 1\nLIMIT = 2",
        "__all__ = ['a']\nclass a: ...\nif a:\n    Alias: type = int",
        "class Unlisted: ...",
        "__all__ = ['gone']",
    ],
)
def test_an_unlisted_public_name_is_a_problem(code: str) -> None:
    assert len(public_name_problems(ast.parse(code))) == 1


def names_used_elsewhere() -> dict[str, set[str]]:
    """By module, the names that other files import from it or look up in it."""
    used: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        tree, objects = parsed(path), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("omero_pixclf"):
                used[node.module or ""] |= {a.name for a in node.names}
                objects |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                objects |= {a.asname: a.name for a in node.names if a.asname}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in objects:
                used[objects[node.value.id]].add(node.attr)
    for path in [*SOURCES, *DOCUMENTS, ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        for module, names in re.findall(r"from (omero_pixclf[\w.]*) import ([\w, ]+)", text):
            used[module] |= {name.strip().split(" ")[0] for name in names.split(",")}
        for module, name in re.findall(r"(omero_pixclf[\w.]*)[.:](\w+)", text):
            used[module].add(name)
        for stem, name in re.findall(r'"(\w+)[.:](\w+)"', text):  # a registry of modules and names
            used[stem].add(name)
        for name, module in re.findall(r'"(\w+)": "(omero_pixclf[\w.]*)"', text):
            used[module].add(name)
    used["omero_pixclf.pixels.kernels_numpy"] |= used["omero_pixclf.pixels.kernels.kernels"]  # which it may be
    used["omero_pixclf.objects.kernels_python"] |= used["omero_pixclf.objects.kernels.kernels"]
    return used


def test_public_names_are_used() -> None:
    """A name in ``__all__`` is imported elsewhere, used by its own module, or registered by a decorator."""
    used, problems = names_used_elsewhere(), []
    for path in MODULES:
        tree = parsed(path)
        registered = {n.name for n in ast.walk(tree) if isinstance(n, DEFINITIONS) and n.decorator_list}
        looked_up = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        unused = (
            (listed_names(tree) or set())
            - used[dotted(path)]
            - used[path.stem]
            - registered
            - looked_up
            - imported_names(tree)
        )
        problems += [f"{name_of(path)}: {n} is used nowhere" for n in sorted(unused) if not n.startswith("pytest_")]
    assert not problems, "\n".join(problems)


def test_nothing_is_unpickled() -> None:
    """No module can execute what a file holds."""
    problems = []
    for path in FILES:
        tree = parsed(path)
        imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        unsafe = imported & {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                unsafe |= set() if isinstance(node.value, ast.Constant) and node.value.value is False else {node.arg}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                unsafe |= {node.func.id} & {"eval", "exec"}
        problems += [f"{name_of(path)}: {name}" for name in sorted(unsafe)]
    assert not problems, "\n".join(problems)


def test_no_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    problems = [f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]
    assert not problems, "\n".join(problems)


def test_no_file_name_stands_twice_in_a_room() -> None:
    places = defaultdict(list)
    for path in MODULES:
        room, *folders = path.relative_to(PACKAGE).parts
        if folders:
            places[room, path.name].append(name_of(path))
    problems = [", ".join(found) for found in places.values() if len(found) > 1]
    assert not problems, "\n".join(problems)


def test_every_module_says_what_it_holds() -> None:
    """The first line of each module's docstring is a whole sentence or noun phrase that ends with a full stop."""
    problems = []
    for path in FILES:
        first = (ast.get_docstring(parsed(path)) or "").split("\n")[0]
        if len(first.split()) < 2 or not first.endswith("."):
            problems.append(f"{name_of(path)}: {first!r}")
    assert not problems, "\n".join(problems)


# Longer ones, with what makes them long.
LONG_FILES = {"connector/sessions/session.py": "a session with retries, groups and queries, and many names"}
LONG_FUNCTIONS: dict[str, str] = {}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The functions and methods of a module and their lines without the docstring's."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines -= (first.end_lineno or 0) - first.lineno + 1
            yield prefix + node.name, lines
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


def test_files_and_functions_are_short() -> None:
    long = {name_of(p): n for p in FILES if (n := len(p.read_text("utf-8").splitlines())) > LONGEST_FILE}
    found = {f"{name_of(p)}:{name}": lines for p in FILES for name, lines in functions(parsed(p))}
    long |= {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION}
    known = LONG_FILES.keys() | LONG_FUNCTIONS.keys()
    problems = [f"{name}: {lines} lines" for name, lines in long.items() if name not in known]
    problems += [f"{name}: no longer too long; take it out of the list" for name in known - long.keys()]
    assert not problems, "\n".join(problems)

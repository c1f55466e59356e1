"""The architecture as a test: imports flow one way, science needs no Ice, starting is cheap, public names are meant."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "omero_pixclf"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


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


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_names_are_listed(module: Path) -> None:
    """Whatever a module defines without a leading underscore and lists nowhere is public by accident."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    listed: set[str] = set()
    defined: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            listed = set(ast.literal_eval(node.value))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            defined.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            defined |= {(a.asname or a.name).split(".")[0] for a in node.names}
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"}
    assert listed or not functions, "no __all__"
    assert listed <= defined, f"listed but not there: {sorted(listed - defined)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_unpickled(module: Path) -> None:
    """No module can execute what a file holds."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec")

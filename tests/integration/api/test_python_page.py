"""The page "From Python" and its notebook: every code block runs, and gives what is shown.

``python -m tests.integration.api.test_python_page`` writes the outputs of the notebook anew.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import doctest
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.demo.images import plate_field
from omero_pixclf.demo.seed import scene_reader
from tests.integration.conftest import Person

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE, NOTEBOOK = DOCS / "python.md", DOCS / "notebooks" / "from_python.ipynb"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMERO_PIXCLF_STATE", str(tmp_path / "state"))


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_every_code_block_of_the_page_gives_what_it_shows(
    session: Session, dataset: int, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = upload_image(session, scene_reader(plate_field("B2", 1)), dataset=dataset)
    for name, value in (("HOST", user.endpoint.host), ("PORT", user.endpoint.port), ("USER", user.name)):
        monkeypatch.setenv(f"OMERO_{name}", str(value))
    monkeypatch.setenv("OMERO_PASSWORD", user.password)
    found = blocks(PAGE.read_text(encoding="utf-8"))
    code = "\n".join(found).replace("Image:51", f"Image:{number}")
    test = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, str(PAGE), 0)
    told = io.StringIO()
    done = doctest.DocTestRunner(verbose=False).run(test, out=told.write)
    assert done.failed == 0, told.getvalue()
    assert done.attempted > 30
    assert all(block.lstrip().startswith(">>>") for block in found)


def run_cells(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The outputs of a notebook's code cells, run one after the other without a kernel."""
    names: dict[str, Any] = {}
    return [run_cell("".join(cell["source"]), names) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints, and the value of its last expression."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(last, "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        data: dict[str, Any] = {"text/plain": [repr(value)]}
        if hasattr(value, "_repr_png_"):
            data = {"image/png": base64.b64encode(value._repr_png_()).decode(), "text/plain": ["a picture"]}
        outputs.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return outputs


def test_the_notebook_runs_and_gives_what_it_shows() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    shown = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    pictures = [output["data"] for outputs in shown for output in outputs if "image/png" in output.get("data", ())]
    assert len(pictures) == 1
    found = run_cells(notebook)
    for data in (*pictures, *(o["data"] for outputs in found for o in outputs if "data" in o)):
        data.pop("image/png", None)  # another version of Pillow may compress it differently
    assert found == shown, "write them anew: python -m tests.integration.api.test_python_page"


def test_the_notebook_is_one_for_jupyter() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    keys = {"markdown": {"id", "cell_type", "metadata", "source"}}
    keys["code"] = keys["markdown"] | {"outputs", "execution_count"}
    assert all(set(cell) == keys[cell["cell_type"]] for cell in notebook["cells"])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


if __name__ == "__main__":
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = iter(run_cells(found))
    for cell in found["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = next(made)
    NOTEBOOK.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

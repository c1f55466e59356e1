"""Importing the Python API: cheap, and without Ice and omero-py for everything but OMERO."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('Ice', 'IcePy', 'omero', 'ezomero', 'Glacier2')))\n"
SCIENCE = """
import numpy as np, omero_pixclf, tempfile
from importlib.resources import files
path = files("omero_pixclf.demo") / "lapse.ilp"
image = np.random.default_rng(0).integers(0, 4000, (64, 64), dtype="uint16")
probabilities = omero_pixclf.predict(omero_pixclf.read_project(path), image)
omero_pixclf.simple_segmentation(probabilities)
labels = omero_pixclf.segment(probabilities, min_size=1)
assert len(omero_pixclf.measure(labels, image)) == len(list(omero_pixclf.outlines(labels)))
with tempfile.TemporaryDirectory() as folder:
    np.save(folder + "/a.npy", image)
    recipe = {"classifier.project": str(path)}
    *_, finished = omero_pixclf.run(recipe, folder + "/a.npy", out=folder + "/out", axes="yx")
    assert omero_pixclf.undo(finished.run_id, out=folder + "/out").removed["images"] == 1
try:
    with omero_pixclf.connect("localhost", user="a", password="b"):
        pass
except omero_pixclf.errors.UsageError as error:
    assert "pip install omero-py" in str(error)
else:
    raise AssertionError("connected without Ice")
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_science_and_runs_over_files_work_without_ice() -> None:
    done = python(BLOCKED + SCIENCE)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_else() -> None:
    done = python("import sys; before = set(sys.modules); import omero_pixclf; print(*set(sys.modules) - before)")
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] in ("omero_pixclf", "numpy", "omero")}
    assert loaded == {"omero_pixclf"}

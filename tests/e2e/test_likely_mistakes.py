"""What somebody does wrong on the command line is told on one line that says how to go on; no server is needed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.benchmarks.stand import PROJECT
from tests.e2e.conftest import PROGRAM

USAGE, SERVER = 2, 3
NOWHERE = ("-s", "ada@127.0.0.1:1")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rum"], USAGE, "did you mean 'run'?"),
        (["run", "Plate:1"], USAGE, "give the .ilp with --project"),
        (["run", "Plate:1", "--project", "{ilp}"], SERVER, "no server given"),
        (["run", "Plate:1", "--project", "{ilp}", *NOWHERE], SERVER, "use `omero login ada@127.0.0.1:1`"),
        (["run", "one.tif", "--project", "{ilp}"], USAGE, "give a folder for its results with --out"),
        (["check", "one.tif", "--project", "{ilp}"], USAGE, "give a folder for its results with --out"),
        (["run", "no.tif", "--project", "{ilp}", "--out", "o"], USAGE, "no.tif: no such file"),
        (["run", "one.tif", "--project", "no.ilp", "--out", "o"], USAGE, "no.ilp"),
        (["run", "one.tif", "--project", "one.tif", "--out", "o"], USAGE, "expected an ilastik project (.ilp)"),
        (["run", "one.tif", "--project", "cut.ilp", "--out", "o"], USAGE, "was it copied whole?"),
        (["run", "one.tif", "--project", "{ilp}", "--out", "o", "--label", "Nucleos"], USAGE, "it has: Nucleus,"),
        (["run", "one.tif", "--project", "{ilp}", "--out", "o", "--threshold", "60"], USAGE, "equal to 1, found 60"),
        (["run", "--resume", "nonsense"], USAGE, "omero-pixclf runs list"),
        (["undo", "nonsense", *NOWHERE], USAGE, "use --yes"),
        (["predict", "--project", "{ilp}", "one.tif", "--output_format", "jpg"], USAGE, "choose one of: hdf5,"),
        (["predict", "--project", "{ilp}", "one.tif", "--export_source", "Masks"], USAGE, "choose one of: Probabil"),
        (["watch", "wrong.toml"], USAGE, "did you mean 'service'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_likely_mistake_is_told_with_what_to_do(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((40, 50), "uint16"))
    (tmp_path / "cut.ilp").write_bytes(PROJECT.read_bytes()[:300_000])
    (tmp_path / "wrong.toml").write_text("[servise]\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OMERO")}
    done = subprocess.run(
        [str(PROGRAM), *(word.replace("{ilp}", str(PROJECT)) for word in words)],
        cwd=tmp_path,
        env={**kept, "OMERO_USERDIR": str(tmp_path), "OMERO_PIXCLF_STATE": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr, done.stderr

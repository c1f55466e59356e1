"""The shell scripts in deploy/, run as BIOMERO and Slurm run them; the unit as systemd reads it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.e2e.conftest import PROGRAM, Omero

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "omero-pixclf-watch.service"
PROJECT = Path(str(files("omero_pixclf.demo") / "plate.ilp"))


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    command = [str(DEPLOY / script), *arguments]
    settings = {**os.environ, **environment, "PATH": path}
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=300, check=False)


def image() -> np.ndarray[Any, Any]:
    """Two channels with a few bright discs in the first, as the demo's plate has them."""
    y, x = np.mgrid[:96, :96]
    discs = sum(np.hypot(y - cy, x - cx) < 9 for cy, cx in ((24, 24), (60, 30), (48, 72)))
    noise = np.random.default_rng(3).normal(0, 30, (2, 96, 96))
    return (200 + 1500 * np.stack([discs, 0 * discs]) + noise).clip(0).astype(np.uint16)


def channels() -> int:
    from omero_pixclf.ilastik.project import read_project

    return read_project(PROJECT).channels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    incoming, outgoing = tmp_path / "data in", tmp_path / "data out"
    incoming.mkdir()
    outgoing.mkdir()
    for name in ("a", "b"):
        pixels = image()[: channels()]
        tifffile.imwrite(incoming / f"{name}.ome.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    return incoming, outgoing


def test_biomeros_call_segments_every_image_of_its_folder(folders: tuple[Path, Path]) -> None:
    incoming, outgoing = folders
    own = ("--local", "-nmc")
    places = ("--infolder", str(incoming), "--outfolder", str(outgoing), "--gtfolder", "/nowhere")
    given = (f"--project={PROJECT}", "--export_source", "Simple Segmentation", "--channels", "", "--memory", "2G")
    done = run("biomero/run.sh", *places, *given, *own)
    assert done.returncode == 0, done.stderr
    written = sorted(outgoing.iterdir())
    assert len(written) == 2
    for file in written:
        assert "Simple Segmentation" in file.name
        assert len(np.unique(tifffile.imread(file))) > 1


@pytest.mark.parametrize("words", [("--surprise", "1"), ("surprise",), ("--infolder", "/nowhere"), ("--project",)])
def test_biomeros_call_refuses_what_it_does_not_know_or_lacks(words: tuple[str, ...]) -> None:
    done = run("biomero/run.sh", *words)
    assert done.returncode == 2
    assert done.stderr


def test_an_array_does_every_image_once_and_the_merge_makes_one_table(
    omero: Omero, folders: tuple[Path, Path], tmp_path: Path, second_client: Any
) -> None:
    incoming, _ = folders
    imported = [str(file) for file in sorted(incoming.iterdir())]
    lines = omero.command("embedded", "import", *imported, "--dataset", "slurm").stdout.splitlines()
    ids = [int(line.partition("\t")[0].partition(":")[2]) for line in lines]
    dataset = second_client.getObject("Image", ids[0]).getParent().getId()
    recipe = tmp_path / "nuclei.toml"
    recipe.write_text(f'name = "slurm"\n[classifier]\nproject = "{PROJECT}"\n')
    slurm = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
    given = {**omero.environment, "TARGET": f"Dataset:{dataset}", "RECIPE": str(recipe), "RUNS": str(tmp_path / "runs")}

    for task in ("1", "2"):
        done = run("slurm-array.sh", **{**given, **slurm, "SLURM_ARRAY_TASK_ID": task})
        assert done.returncode == 0, done.stderr
    events = [json.loads(x) for f in (tmp_path / "runs" / "77").iterdir() for x in f.read_text().splitlines()]
    assert sorted(e["image"] for e in events if e["event"] == "outcome" and e["state"] == "done") == [
        f"Image:{n}" for n in sorted(ids)
    ]

    merged = run("slurm-merge.sh", **given)
    assert merged.returncode == 0, merged.stderr
    annotations = [a for a in second_client.getObject("Dataset", dataset).listAnnotations() if a.getNs()]
    tables = [a for a in annotations if a.getNs() == "openmicroscopy.org/omero/bulk_annotations"]
    assert len(tables) == 1


def test_a_merge_without_shares_says_so(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    done = run("slurm-merge.sh", RUNS=str(tmp_path), JOB="5")
    assert done.returncode == 1
    assert "no shard" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda p: p.name)
def test_shell_scripts_are_executable_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)

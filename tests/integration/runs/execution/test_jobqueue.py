"""Workers as jobs of Slurm, by dask-jobqueue's own code; ``sbatch`` is a stand-in that runs the job on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (extra: jobqueue)")

from omero_pixclf.demo import images
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.runs.execution.jobqueue import load_jobqueue_settings, start_jobqueue_cluster

PROGRAM = Path(sys.executable).with_name("omero-pixclf")

SBATCH = """#!/bin/sh
# Slurm keeps a copy of the script, and a job ends with all that it has started.
echo "$SBATCH_SAYS" >&2
[ -z "$SBATCH_SAYS" ] || exit 1
cp "$1" "{home}/job-$$.sh"
setsid sh "{home}/job-$$.sh" > "{home}/job-$$.log" 2>&1 &
echo "$!" >> "{home}/jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job in "$@"; do kill -TERM -- "-$job"; done
echo "$@" >> "{home}/cancelled"
"""

SETTINGS = """
[dask]
cluster = "slurm"
jobs = 2
cores = 1
memory = "2G"
walltime = "00:20:00"
queue = "short"
account = "lab"
host = "127.0.0.1"
directives = ["--constraint=avx2"]
prologue = ["export OMP_NUM_THREADS=1"]
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands of Slurm, which are on the path, and what they have done."""
    home = tmp_path / "slurm"
    home.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (home / name).write_text(text.format(home=home))
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    return home


def settings(folder: Path, text: str = SETTINGS) -> Path:
    path = folder / "slurm.toml"
    path.write_text(text)
    return path


def alive(slurm: Path, *, within_s: float = 20) -> list[str]:
    """Jobs that do not end by themselves."""
    jobs = (slurm / "jobs").read_text().split() if (slurm / "jobs").exists() else []
    deadline = time.monotonic() + within_s
    while (left := [job for job in jobs if _runs(job)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _runs(job: str) -> bool:
    try:
        return Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_jobs_do_a_run_and_are_gone_with_it(slurm: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for n in range(3):
        np.save(data / f"field{n}.npy", images.plate_field(f"A{n + 1}", n).pixels[:, :, :100, : 90 + 8 * n])
    base = [str(PROGRAM), "run", str(data), "--project", str(Path(images.__file__).parent / "plate.ilp"), "--json"]
    there = [*base, "--axes", "tzyxc", "--out", str(tmp_path / "out"), "--dask", str(settings(tmp_path))]
    done = subprocess.run(there, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr + "".join(p.read_text() for p in slurm.glob("*.log"))
    assert json.loads(done.stdout.splitlines()[-1])["done"] == 3
    scripts = [p.read_text() for p in slurm.glob("job-*.sh")]
    assert len(scripts) == 2
    for line in (
        "#SBATCH -p short",
        "#SBATCH -A lab",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=2G",
        "#SBATCH -t 00:20:00",
        "#SBATCH --constraint=avx2",
        "export OMP_NUM_THREADS=1",
        "tls://127.0.0.1:",
    ):
        assert line in scripts[0]  # fmt: skip
    assert alive(slurm) == []
    assert not list((tmp_path / "out").rglob("keys-*")), "certificates are removed"


def test_a_job_that_ends_early_is_submitted_again(slurm: Path, tmp_path: Path) -> None:
    from dask import config
    from distributed import Client

    with (
        start_jobqueue_cluster(load_jobqueue_settings(settings(tmp_path)), tmp_path) as (address, security),
        Client(address, security=security, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        profiled = client.run(config.get, "distributed.worker.profile.enabled")
        assert list(profiled.values()) == [False, False]
        os.killpg(int((slurm / "jobs").read_text().split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len((slurm / "jobs").read_text().split()) < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        client.wait_for_workers(2, timeout=60)
    assert len((slurm / "jobs").read_text().split()) >= 3
    assert alive(slurm) == []


def test_a_job_that_is_refused_is_said_as_slurm_says_it(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_SAYS", "sbatch: error: invalid partition specified: short")
    with (
        pytest.raises(OutputError, match="invalid partition"),
        start_jobqueue_cluster(load_jobqueue_settings(settings(tmp_path)), tmp_path),
    ):
        pass
    assert alive(slurm) == []


def test_where_there_is_no_slurm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(UsageError, match="sbatch"),
        start_jobqueue_cluster(load_jobqueue_settings(settings(tmp_path)), tmp_path),
    ):
        pass


def test_jobs_of_pbs_have_its_own_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omero_pixclf.runs.execution import jobqueue

    there = load_jobqueue_settings(
        settings(tmp_path, SETTINGS.replace("slurm", "pbs").replace("cores = 1", "cores = 4"))
    )
    with jobqueue._create_cluster(there, None, tmp_path) as made:
        script = made.job_script()
    for line in ("#PBS -q short", "#PBS -A lab", "#PBS -l select=1:ncpus=4:mem=2048MB", "#PBS -l walltime=00:20:00"):
        assert line in script


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[dask]", "[slurm]"), "no section"),
        (('"slurm"', '"condor"'), r"\[dask\]: cluster: expected 'slurm' or 'pbs', found 'condor'"),
        (("jobs = 2", "jobs = 0"), r"\[dask\]: jobs: expected .* 1, found 0"),
        (("jobs = 2", "job = 2"), r"\[dask\]: job: no such key; did you mean 'jobs'\?"),
        (('"2G"', '"much"'), r"\[dask\]: memory"),
        (("jobs = 2", "jobs = 2\nprocesses = 3"), "3 workers of a job with 1 core"),
        (("jobs = 2", "jobs 2"), "not TOML"),
    ],
)
def test_settings_that_are_wrong_are_refused_with_their_place(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_jobqueue_settings(settings(tmp_path, SETTINGS.replace(*change)))

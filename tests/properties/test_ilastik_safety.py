"""Project files from people with bad intent, and from failing disks."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.project import read_project
from tests.properties.fuzz_batches import BYTES, SECONDS, run_batches
from tests.properties.ilp_fuzz import HOSTILE, edited, mutated, outcome, seeds, try_batch

SEEDS = seeds()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("base", [0, -1], ids=["ilastik's format", "HDF5's newer format"])
def test_hostile_projects_are_refused_in_time_and_memory(base: int, name: str) -> None:
    content = edited(SEEDS[base], HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ProjectError, match=r"^hostile\.ilp: "):
            read_project(content, name="hostile.ilp")
        assert tracemalloc.get_traced_memory()[1] < BYTES / 2
    finally:
        tracemalloc.stop()


@given(st.integers(0, 2**32), st.integers(0, len(SEEDS) - 1))
@settings(max_examples=150, deadline=None)
def test_damaged_projects_are_read_or_refused(seed: int, base: int) -> None:
    result, seconds = outcome(mutated(SEEDS[base], random.Random(seed)))
    assert result in ("read", "refused", "read, then refused")
    assert seconds < SECONDS


def test_the_fuzzer_reports_a_clean_run() -> None:
    report = run_batches(try_batch, 200, seed=3)
    assert report["inputs"] == 200 + 2 * len(HOSTILE)
    assert not report["crashed batches (seeds)"]
    assert not report["modules imported on the way"]
    assert report["peak memory of a process (MB)"] < BYTES // 2**20

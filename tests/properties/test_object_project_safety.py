"""Object classification projects from people with bad intent, and from failing disks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.object_project import read_object_project
from tests.properties.fuzz_batches import SECONDS, run_batches
from tests.properties.ilp_fuzz import edited, mutated
from tests.properties.object_project_fuzz import HOSTILE, object_outcome, object_seeds, try_object_batch

SEEDS = object_seeds()


def test_the_seeds_are_sound() -> None:
    assert [object_outcome(content)[0] for content in SEEDS] == ["read"] * len(SEEDS)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("base", [0, 2], ids=["ilastik's format", "HDF5's newer format"])
def test_hostile_projects_are_refused(base: int, name: str) -> None:
    with pytest.raises(ProjectError, match=r"^hostile\.ilp: "):
        read_object_project(edited(SEEDS[base], HOSTILE[name]), name="hostile.ilp")


@given(st.integers(0, 2**32), st.integers(0, len(SEEDS) - 1))
@settings(max_examples=100, deadline=None)
def test_damaged_projects_are_read_or_refused(seed: int, base: int) -> None:
    result, seconds = object_outcome(mutated(SEEDS[base], random.Random(seed)))
    assert result in ("read", "refused", "read, then refused")
    assert seconds < SECONDS


def test_the_fuzzer_reports_a_clean_run() -> None:
    report = run_batches(try_object_batch, 50, seed=3)
    assert report["inputs"] == 50 + 2 * len(HOSTILE)
    assert not report["crashed batches (seeds)"]
    assert not report["modules imported on the way"]

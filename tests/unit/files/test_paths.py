"""Globs over files and arrays whose names hold the signs of patterns."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.files.paths import expand_paths


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "2024 [plate 1]?"
    folder.mkdir()
    for name in ("a_[1].tif", "a_[2].tif", "a_1.tif", "b?.tif", "bc.tif"):
        (folder / name).write_bytes(b"")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a_[*].tif", ["a_[1].tif", "a_[2].tif"]),
        ("a_[1].tif", ["a_[1].tif"]),
        ("b?.tif", ["b?.tif"]),
        ("*?.tif", ["b?.tif"]),
        ("a_[12].tif", ["a_1.tif"]),  # no file is called like that, so it is a choice, as for ilastik
        ("?c.tif", ["bc.tif"]),
    ],
)
def test_brackets_and_question_marks_are_taken_as_they_are_first(here: Path, pattern: str, names: list[str]) -> None:
    assert [path.file.name for path in expand_paths(pattern)] == names
    assert [path.file.name for path in expand_paths(here / pattern)] == names
    absolute = os.pathsep.join([str(here / pattern), str(here / pattern)])
    assert {path.file.name for path in expand_paths(absolute)} == set(names)


def test_arrays_are_found_by_names_with_brackets(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("t[0]/raw", "t[1]/raw", "t0/raw"):
            file[name] = np.zeros((2, 2), np.uint8)
    assert [p.inside for p in expand_paths(tmp_path / "a.h5" / "t[*]" / "raw")] == ["t[0]/raw", "t[1]/raw"]
    assert [p.inside for p in expand_paths(tmp_path / "a.h5" / "t?" / "*")] == ["t0/raw"]

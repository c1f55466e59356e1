"""The state of runs on disk is for its user alone, and messages about it name what helps."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from omero_pixclf.app.request import results_state_folder
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.runs.planning.resources import check_disk_space
from omero_pixclf.runs.state.manifest import Manifest, RunHeader, is_run_folder
from omero_pixclf.runs.state.state_folders import create_private_folder, state_folder, suggest_other_folder
from omero_pixclf.text import format_size

RUN = "20261121T053012-ab12cd"
HEADER = RunHeader(RUN, {}, "h", (), "s", "ada", "now")


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode) & 0o777


@pytest.fixture(autouse=True)
def ordinary_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As most machines have it, and the user's state folder in a place of its own."""
    monkeypatch.delenv("OMERO_PIXCLF_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_nobody_else_can_look_into_a_run(tmp_path: Path) -> None:
    for folder in (state_folder(), results_state_folder(tmp_path / "out"), tmp_path / "watcher"):
        with Manifest.create(folder / RUN, HEADER) as manifest:
            assert mode(manifest.folder) == 0o700
        assert mode(folder) == 0o700


def test_a_run_that_earlier_versions_left_open_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    for folder in (state_folder(), results_state_folder(tmp_path / "out")):
        with Manifest.create(folder / RUN, HEADER):
            pass
        for place in (folder, folder / RUN):
            place.chmod(0o755)
        with Manifest.open(folder / RUN):
            assert mode(folder / RUN) == 0o700
        create_private_folder(folder)
        assert mode(folder) == 0o700


def test_a_results_folder_that_a_group_writes_to_stays_open_to_the_group(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o2775)
    with Manifest.create(results_state_folder(tmp_path / "out") / RUN, HEADER) as manifest:
        assert mode(manifest.folder) == 0o700
    assert mode(results_state_folder(tmp_path / "out")) & 0o070 == 0o070


def test_a_folder_that_somebody_named_and_uses_for_more_is_not_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project").chmod(0o755)
    monkeypatch.setenv("OMERO_PIXCLF_STATE", str(tmp_path / "project"))
    with Manifest.create(state_folder() / RUN, HEADER) as manifest:
        assert mode(manifest.folder) == 0o700
    assert mode(tmp_path / "project") == 0o755


def test_a_state_folder_that_cannot_be_made_is_told_with_the_setting_that_counts_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OMERO_PIXCLF_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(OutputError, match="OMERO_PIXCLF_STATE"), Manifest.create(state_folder() / RUN, HEADER):
        pass
    with pytest.raises(OutputError) as caught, Manifest.create(results_state_folder(tmp_path / "file") / RUN, HEADER):
        pass
    assert "--out" in str(caught.value) and "OMERO_PIXCLF_STATE" not in str(caught.value)


def test_a_full_disk_is_told_with_the_setting_that_counts_there(tmp_path: Path) -> None:
    for folder, advice in ((state_folder(), "OMERO_PIXCLF_STATE"), (results_state_folder(tmp_path), "--out")):
        with pytest.raises(OutputError) as caught:
            check_disk_space(2**60, folder)
        assert "1048576 TiB" in str(caught.value) and advice in str(caught.value)
        assert suggest_other_folder(folder) in str(caught.value)


def test_small_sizes_are_no_zeros() -> None:
    assert format_size(12 * 2**20) == "12 MiB"
    assert format_size(300) == "300 bytes"


def test_a_run_that_is_not_there_is_told_with_the_command_that_lists_those_of_that_place(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=f"runs list --out {tmp_path}$"),
        Manifest.open(results_state_folder(tmp_path) / RUN),
    ):
        pass
    with pytest.raises(UsageError, match=r"runs list$"), Manifest.open(state_folder() / RUN):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_run_of_somebody_else_is_none(tmp_path: Path) -> None:
    folder = tmp_path / RUN
    folder.mkdir()
    folder.chmod(0)
    assert not is_run_folder(folder)

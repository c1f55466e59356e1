"""Slots for scripts: further scripts wait, and a slot is free again when its script has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.errors import OutputError
from omero_pixclf.omero_script.slots import hold_slot


def test_a_script_more_than_there_are_places_waits_until_one_has_ended(tmp_path: Path) -> None:
    waited: list[float] = []
    first, second = hold_slot(2, folder=tmp_path / "s"), hold_slot(2, folder=tmp_path / "s")
    assert {first.__enter__(), second.__enter__()} == {0, 1}

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            first.__exit__(None, None, None)

    with hold_slot(2, folder=tmp_path / "s", pause=pause) as number:
        assert number == 0 and len(waited) == 3
    second.__exit__(None, None, None)


def test_a_folder_that_is_not_ones_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "s").symlink_to("real")
    with pytest.raises(OutputError, match="belongs to another user"), hold_slot(folder=tmp_path / "s"):
        pass
    assert list((tmp_path / "real").iterdir()) == []

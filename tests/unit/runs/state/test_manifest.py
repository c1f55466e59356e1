"""The manifest of a run: what it keeps, and what it says when it is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.errors import InputError, OutputError, UsageError
from omero_pixclf.runs.state.manifest import EntryState, Manifest
from omero_pixclf.table import Column, Table
from tests.unit.runs.memory_backend import DAMAGES, OLD, cut_off, image, planned, start


@pytest.mark.parametrize("state", ["skipped", "refused"])
def test_an_image_that_a_run_has_done_stays_done_when_it_is_met_again(tmp_path: Path, state: EntryState) -> None:
    with start(tmp_path) as manifest:
        planned(manifest, [image(1)])
        manifest.set_state("Image:1", "done")
        manifest.set_state("Image:1", state, reason="may not annotate")
        assert [(e.state, e.reason) for e in manifest.entries()] == [("done", "")]
        assert manifest.is_container_pending(image(1).place.container)


def test_a_manifest_opened_again_knows_everything(tmp_path: Path) -> None:
    with start(tmp_path) as manifest:
        planned(manifest, [image(1)])
        manifest.set_state("Image:1", "done", seconds=2.0)
        manifest.save_table(
            "Image:1", "objects", Table((Column("Name", "string", np.array(["äß"], object), unit="x"),))
        )
        manifest.save_table("Image:2", "objects", Table((Column("Name", "string", np.array([], object)),)))
    with Manifest.open(tmp_path / "run") as again:
        assert again.header.targets == ("Dataset:1",)
        assert again.entries()[0].state == "done"
        again.set_state("Image:1", "skipped")
        assert again.entries()[0].state == "done"
        assert again.is_container_pending("Dataset:1")
        table = again.load_table("Image:1", "objects")
        assert table is not None and table["Name"].tolist() == ["äß"] and table.columns[0].unit == "x"
        empty = again.load_table("Image:2", "objects")
        assert empty is not None and len(empty) == 0 and empty.columns[0].kind == "string"
        assert again.load_table("Image:3", "objects") is None


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run"), Manifest.open(tmp_path / "nothing"):
        pass


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_refused_with_its_place(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cut_off(tmp_path, image(1))
    damage(tmp_path / OLD)
    with pytest.raises((InputError, OutputError), match=OLD), Manifest.open(tmp_path / OLD) as manifest:
        manifest.entries()

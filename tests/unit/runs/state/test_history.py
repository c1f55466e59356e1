"""Runs over files are listed, shown and compared by their results folder, as those in OMERO are by its ledger."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from omero_pixclf.cli import cli
from omero_pixclf.demo import images
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.state.history import summarize_runs
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

PROJECT = Path(images.__file__).parent / "plate.ilp"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one image and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("runs")
    save_image(folder / "in" / "a.tif", images.plate_field("B3", 4).pixels[:, :, :80, :80])
    (folder / "in" / "bad.tif").write_text("no image")
    for name, threshold in (("one", "0.5"), ("two", "0.7")):
        words = ["--out", folder / "out", "--project", PROJECT, "--name", name, "--threshold", threshold]
        ended = CliRunner().invoke(cli, ["run", str(folder / "in"), *map(str, words), "--no-contact-sheet"])
        assert ended.exception is None, ended.output
    return folder / "out"


def told(*words: str) -> list[str]:
    ended = CliRunner().invoke(cli, ["runs", *words])
    assert ended.exception is None, ended.exception
    return ended.output.splitlines()


def test_runs_over_files_are_listed_with_the_images_that_they_were_to_do(out: Path) -> None:
    lines = told("list", "--out", str(out))
    assert [line.split()[1] for line in lines] == ["two", "one"]
    assert all("1 of 2 images complete, tables of 1 container" in line for line in lines)
    facts = [json.loads(line) for line in told("list", "--out", str(out), "--json")]
    assert [(f["images"], f["complete"], f["tables"]) for f in facts] == [(2, 1, 1)] * 2


def test_a_run_over_files_is_shown_with_its_reasons(out: Path) -> None:
    run_id = told("list", "--out", str(out))[0].split()[0]
    shown = told("show", run_id, "--out", str(out))
    assert len(shown) == 2
    assert "complete" in shown[0] and "refused" in shown[1] and "not a readable TIFF" in shown[1]


def test_runs_over_files_are_compared(out: Path) -> None:
    two, one = (line.split()[0] for line in told("list", "--out", str(out)))
    assert any(line.startswith("objects.threshold") for line in told("diff", one, two, "--out", str(out)))


def test_a_run_that_took_over_images_and_wrote_tables_only_has_no_images_of_its_own(tmp_path: Path) -> None:
    run = "20261121T053001-000001"
    begun = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
    header = RunHeader(run, {}, "h", ("Dataset:1",), "server", "alice", begun.isoformat())
    with Manifest.create(tmp_path / run, header) as manifest:
        manifest.add([ManifestEntry(f"Image:{n}", "Dataset:1", "a", "done") for n in range(6)])
    tables = RunRecord(run, "Dataset:1", "n", "h", "", "n.ilp", "s", "1", begun, begun, "complete", planned=0)
    (found,) = summarize_runs((), [tables], tmp_path)
    assert (found.images, found.complete, found.tables) == (0, 0, 1)


def test_of_two_runs_in_one_second_the_later_is_first() -> None:
    begun = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
    early, late = (
        RunRecord(
            f"20261121T053000-{salt}", "Image:1", "n", "h", "", "n.ilp", "s", "1", begun + timedelta(seconds=part)
        )
        for salt, part in (("ffffff", 0.1), ("000000", 0.7))
    )
    assert [found.run_id for found in summarize_runs([early, late])] == [late.run_id, early.run_id]

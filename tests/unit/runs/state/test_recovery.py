"""Results of a run that was interrupted, taken into the tables of a later run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.plan import plan_images
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.runs.state.recovery import recover_results
from tests.unit.runs.memory_backend import (
    DAMAGES,
    OLD,
    RECIPE,
    Folder,
    _damaged_table,
    cut_off,
    image,
    planned,
    record,
    row,
    run,
    start,
)


def started_anew(place: Path, folder: Folder) -> None:
    """The same run once more, over all images of the folder."""
    plan = list(plan_images(folder.all, folder, RECIPE, "new", lambda _: None))
    with start(place) as manifest:
        planned(manifest, folder.all)
        recover_results(plan, manifest, folder, "nuclei")
        run(folder, plan, manifest)


def test_a_run_started_anew_shows_what_one_that_was_cut_off_has_done(tmp_path: Path) -> None:
    images = [image(1), image(2)]
    cut_off(tmp_path, images[0])
    folder = Folder(images, [record(images[0], "new")])
    started_anew(tmp_path, folder)
    (picture,) = (p for p in tmp_path.rglob("*.png") if OLD not in p.parts)
    assert picture.read_bytes() == b"picture"
    ((_, tables),) = folder.finished
    assert (tables["summary"]["Image"].tolist(), tables["summary"]["Count"].tolist()) == ([1, 2], [3, 7])


@pytest.mark.parametrize("shown", ["by its own container", "by another run"])
def test_what_is_shown_already_is_not_taken_over(tmp_path: Path, shown: str) -> None:
    one = image(1)
    cut_off(tmp_path, one)
    folder = Folder([one], [record(one, "new")])
    if shown == "by another run":
        folder.standing = {"summary": row(one, 3)}
    else:
        with Manifest.open(tmp_path / OLD) as earlier:
            earlier.mark_container_finished(one.place.container)
    started_anew(tmp_path, folder)
    assert folder.finished == []


@pytest.mark.parametrize("damage", [*DAMAGES, _damaged_table])
def test_what_an_earlier_run_kept_is_left_out_where_it_is_damaged_and_the_run_goes_on(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    images = [image(1), image(2)]
    cut_off(tmp_path, images[0])
    damage(tmp_path / OLD)
    folder = Folder(images, [record(images[0], "new")])
    started_anew(tmp_path, folder)
    ((_, tables),) = folder.finished
    assert tables["summary"]["Image"].tolist() == [2]
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "Image:1" in said and "--force" in said and str(tmp_path / OLD) in said


def test_what_another_machine_has_done_is_left_as_it_is(tmp_path: Path) -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")])
    plan = list(plan_images(folder.all, folder, RECIPE, "new", lambda _: None))
    with start(tmp_path) as manifest:
        planned(manifest, [one])
        recover_results(plan, manifest, folder, "nuclei")
        assert [o.state for o in run(folder, plan, manifest) if isinstance(o, ImageOutcome)] == ["skipped"]

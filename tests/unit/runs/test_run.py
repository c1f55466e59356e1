"""A whole run over a backend in memory: outcomes of images and of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.errors import ConflictError, NotAllowedError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.execution.serial import ImageOutcome, execute_in_process
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunOutput, execute_run
from omero_pixclf.table import Column, Table
from tests.unit.runs.memory_backend import Folder, image, planned, record, row, run, start


def test_a_failed_image_is_recorded_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    images = [image(n) for n in range(3)]
    folder = Folder(images)
    with start(tmp_path) as manifest:
        events = run(folder, planned(manifest, images), manifest, broken="Image:1")
        states = {e.key: (e.state, e.reason) for e in manifest.entries()}
        trace = manifest.entries()[1].traceback
        failures = next(e for e in events if isinstance(e, ContainerOutcome)).pictures[-1].read_text()
    assert failures.splitlines() == ["image,name,state,reason", "Image:1,i1,failed,ValueError: bad plane"]
    assert states == {"Image:0": ("done", ""), "Image:1": ("failed", "ValueError: bad plane"), "Image:2": ("done", "")}
    assert "bad plane" in trace and "in work" in trace
    end = events[-1]
    assert isinstance(end, RunFinished) and end.failed
    assert [o.state for o in events if isinstance(o, ImageOutcome)] == ["done", "failed", "done"]


def test_a_lost_server_ends_the_run_and_leaves_the_image_due(tmp_path: Path) -> None:
    images = [image(1), image(2)]
    folder = Folder(images)

    def work(one: ImageInfo) -> dict[str, int]:
        raise UnreachableError("gone")

    with start(tmp_path) as manifest:
        plan = planned(manifest, images)
        with pytest.raises(UnreachableError):
            list(
                execute_run(
                    plan,
                    partial(execute_in_process, function=work),
                    RunOutput(manifest, folder, record(images[0], "new")),
                )
            )
        assert [e.state for e in manifest.entries()] == ["due", "due"]


class NoPictures:
    """Draws nothing."""

    def draw_preview(self, analysis: object) -> bytes | None:
        raise AssertionError("no image is analyzed here")

    def draw_report(self, manifest: object, record: object, images: object, tables: object) -> Sequence[Path]:
        raise RuntimeError("no matplotlib")


def test_pictures_that_cannot_be_drawn_cost_no_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder([image(1)])

    def work(one: ImageInfo) -> dict[str, int]:
        manifest.save_table(one.key, "summary", row(one, 7))
        return {"Nucleus": 7}

    with start(tmp_path) as manifest:
        plan, told = planned(manifest, folder.all), record(image(1), "new")
        output = RunOutput(manifest, folder, told, NoPictures())
        *_, container, finished = execute_run(plan, partial(execute_in_process, function=work), output)
    assert isinstance(container, ContainerOutcome) and not container.reason and container.pictures == ()
    assert isinstance(finished, RunFinished) and not finished.failed
    assert [(name, list(tables)) for name, tables in folder.finished] == [("Dataset:1", ["summary"])]
    assert "Dataset:1: pictures and report: left out: RuntimeError: no matplotlib" in caplog.text


def test_containers_finish_one_by_one_and_keep_rows_of_other_images(tmp_path: Path) -> None:
    images = [image(1), image(2), image(3, "Dataset:2")]
    folder = Folder(images)
    folder.standing = {"summary": Table((
        Column("Image", "image", np.array([1, 99])), Column("Count", "long", np.array([1, 5])),
    ))}  # fmt: skip
    with start(tmp_path) as manifest:
        events = run(folder, planned(manifest, images), manifest)
    order = [e.container if isinstance(e, ContainerOutcome) else type(e).__name__ for e in events]
    assert order == [
        "RunPlanned",
        "ImageOutcome",
        "ImageOutcome",
        "Dataset:1",
        "ImageOutcome",
        "Dataset:2",
        "RunFinished",
    ]
    first = folder.finished[0][1]["summary"]
    assert dict(zip(first["Image"].tolist(), first["Count"].tolist(), strict=True)) == {1: 7, 2: 7, 99: 5}


def test_a_container_is_finished_again_when_a_failed_image_is_done_later(tmp_path: Path) -> None:
    images = [image(1), image(2)]
    folder = Folder(images)
    with start(tmp_path) as manifest:
        run(folder, planned(manifest, images), manifest, broken="Image:1")
        run(folder, [PlanItem(images[0], "due"), PlanItem(images[1], "done", "same")], manifest)
        run(folder, [PlanItem(i, "done", "same") for i in images], manifest)
    assert [tables["summary"]["Image"].tolist() for _, tables in folder.finished] == [[2], [1, 2]]


def test_nothing_is_written_on_a_container_where_nothing_was_done(tmp_path: Path) -> None:
    folder = Folder([image(1)])
    with start(tmp_path) as manifest:
        planned(manifest, folder.all)
        run(folder, [PlanItem(image(1), "done", "same")], manifest)
    assert folder.finished == []


def test_a_refused_container_is_said_and_the_run_counts_as_failed(tmp_path: Path) -> None:
    class Refusing(Folder):
        def finish(self, *_: object) -> Mapping[str, str]:  # type: ignore[override]
            raise NotAllowedError("Dataset:1: read-only")

    folder = Refusing([image(1)])
    with start(tmp_path) as manifest:
        end = run(folder, planned(manifest, folder.all), manifest)[-1]
    assert isinstance(end, RunFinished) and end.failed
    assert end.containers[0].reason == "Dataset:1: read-only"


def test_tables_that_another_run_changed_meanwhile_are_merged_again(tmp_path: Path) -> None:
    class Contended(Folder):
        def finish(self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]):
            if not self.standing:
                self.standing = {"summary": row(image(9), 3)}  # what the other run stored
                raise ConflictError("merge again")
            return super().finish(container, record, tables, attachments)

    folder = Contended([image(1)])
    with start(tmp_path) as manifest:
        end = run(folder, planned(manifest, folder.all), manifest)[-1]
    assert isinstance(end, RunFinished) and not end.failed
    assert folder.finished[0][1]["summary"]["Image"].tolist() == [1, 9]

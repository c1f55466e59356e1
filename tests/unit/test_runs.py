"""Plan, execution, manifest and containers, over a source and a sink made by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.config import load_recipe
from omero_pixclf.errors import ConflictError, InputError, NotAllowedError, OutputError, UnreachableError, UsageError
from omero_pixclf.image import ImageInfo, ImageLocation, PixelReader
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.execution.serial import ImageOutcome, execute_in_process
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.protocols import ImageWriter
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunOutput, execute_run
from omero_pixclf.runs.state.manifest import EntryState, Manifest, RunHeader
from omero_pixclf.runs.state.recovery import recover_results
from omero_pixclf.table import Column, Table

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
RECIPE = load_recipe(None, {"classifier.project": "nuclei.ilp"})
OLD = "20261120T000000-0000d0"


def image(number: int, container: str = "Dataset:1") -> ImageInfo:
    return ImageInfo(
        f"Image:{number}",
        f"i{number}",
        (1, 1, 8, 8, 1),
        "uint8",
        ("c",),
        place=ImageLocation(container),
        fingerprint=f"p{number}",
    )


def record(of: ImageInfo, digest: str, run: str = OLD) -> RunRecord:
    return RunRecord(run, of.key, "nuclei", digest, of.fingerprint, "n.ilp", "00", "1", NOW, NOW, "complete")


class Folder:
    """A source and a sink in memory."""

    def __init__(self, images: Sequence[ImageInfo], ledger: Sequence[RunRecord] = (), forbidden: str = "") -> None:
        self.all, self.ledger, self.forbidden = images, ledger, forbidden
        self.finished: list[tuple[str, Mapping[str, Table]]] = []
        self.standing: dict[str, Table] = {}

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        yield from self.all

    def open(self, image: ImageInfo) -> AbstractContextManager[PixelReader]:
        raise AssertionError("the plan reads no pixels")

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        self.looked_up = [*getattr(self, "looked_up", []), len(images)]

    def explain_refusal(self, image: ImageInfo) -> str | None:
        return "may not" if image.key == self.forbidden else None

    def find_records(self, image: ImageInfo, recipe: str) -> list[RunRecord]:
        return [r for r in self.ledger if r.image == image.key and r.recipe == recipe]

    def begin(self, image: ImageInfo, record: RunRecord) -> AbstractContextManager[ImageWriter]:
        raise AssertionError("not asked for here")

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        return self.standing

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        self.finished.append((container, tables))
        return dict.fromkeys(tables, "FileAnnotation:1")


def start(folder: Path) -> AbstractContextManager[Manifest]:
    return Manifest.create(folder / "run", RunHeader("r1", RECIPE.model_dump(), "new", ("Dataset:1",), "", "", "now"))


def row(of: ImageInfo, count: int) -> Table:
    return Table((Column("Image", "image", np.array([int(of.key[6:])])), Column("Count", "long", np.array([count]))))


def test_the_plan_says_for_every_image_what_will_happen_and_why() -> None:
    images = [image(n) for n in range(5)]
    folder = Folder(images, [record(images[1], "new"), record(images[2], "other")], forbidden="Image:3")
    plan = list(plan_images(folder.all, folder, RECIPE, "new", lambda i: "too small" if i.key == "Image:4" else None))
    assert [p.decision for p in plan] == ["due", "done", "replace", "refused", "refused"]
    assert [p.reason for p in plan][3:] == ["may not", "too small"]


def test_what_stands_is_done_also_where_rights_are_gone_since() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")], forbidden="Image:1")
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None)] == ["done"]
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "newer", lambda _: None)] == ["refused"]


@pytest.mark.parametrize("state", ["skipped", "refused"])
def test_an_image_that_a_run_has_done_stays_done_when_it_is_met_again(tmp_path: Path, state: EntryState) -> None:
    with start(tmp_path) as manifest:
        planned(manifest, [image(1)])
        manifest.set_state("Image:1", "done")
        manifest.set_state("Image:1", state, reason="may not annotate")
        assert [(e.state, e.reason) for e in manifest.entries()] == [("done", "")]
        assert manifest.is_container_pending(image(1).place.container)


def test_force_repeats_what_is_done() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")])
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None, force=True)] == [
        "replace"
    ]


def test_an_interrupted_replacement_is_done_again() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new"), record(one, "other", "older")])
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None)] == ["replace"]


def run(folder: Folder, plan: list[PlanItem], manifest: Manifest, broken: str = "") -> list[object]:
    def work(one: ImageInfo) -> dict[str, int]:
        if one.key == broken:
            raise ValueError("bad plane")
        manifest.save_table(one.key, "summary", row(one, 7))
        return {"Nucleus": 7}

    manifest.add([])
    return list(
        execute_run(
            plan, partial(execute_in_process, function=work), RunOutput(manifest, folder, record(image(0), "new"))
        )
    )


def planned(manifest: Manifest, images: Sequence[ImageInfo]) -> list[PlanItem]:
    from omero_pixclf.runs.state.manifest import ManifestEntry

    manifest.add([ManifestEntry(i.key, i.place.container, i.name, "due") for i in images])
    return [PlanItem(i, "due") for i in images]


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


def cut_off(folder: Path, image: ImageInfo) -> None:
    """A run that has done an image and was killed before its container was finished."""
    header = RunHeader(OLD, RECIPE.model_dump(), "new", ("Dataset:1",), "", "", "now")
    with Manifest.create(folder / OLD, header) as manifest:
        planned(manifest, [image])
        manifest.save_table(image.key, "summary", row(image, 3))
        manifest.preview_path(image.key).write_bytes(b"picture")
        manifest.set_state(image.key, "running")


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


def _no_database(folder: Path) -> None:
    (folder / "manifest.sqlite").write_bytes(b"no database" * 1000)


def _empty_database(folder: Path) -> None:
    (folder / "manifest.sqlite").write_bytes(b"")


def _damaged_pages(folder: Path) -> None:
    """The first page, with the list of tables, is whole; every other one is not."""
    path = folder / "manifest.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def _another_header(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "manifest.sqlite")) as db, db:
        db.execute("update header set content = '[1, 2]'")


def _damaged_table(folder: Path) -> None:
    path = folder / "images" / "Image_1.summary.npz"
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = [_no_database, _empty_database, _damaged_pages, _another_header]


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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_refused_with_its_place(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cut_off(tmp_path, image(1))
    damage(tmp_path / OLD)
    with pytest.raises((InputError, OutputError), match=OLD), Manifest.open(tmp_path / OLD) as manifest:
        manifest.entries()


def test_what_another_machine_has_done_is_left_as_it_is(tmp_path: Path) -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")])
    plan = list(plan_images(folder.all, folder, RECIPE, "new", lambda _: None))
    with start(tmp_path) as manifest:
        planned(manifest, [one])
        recover_results(plan, manifest, folder, "nuclei")
        assert [o.state for o in run(folder, plan, manifest) if isinstance(o, ImageOutcome)] == ["skipped"]

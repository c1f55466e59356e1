"""A whole run from a folder of images into a folder of results, over the edges that runs know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.config import load_recipe
from omero_pixclf.demo import images
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.files.opening import open_image
from omero_pixclf.folder.backend import FolderSink, FolderSource, undo_folder
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, Region
from omero_pixclf.pixels.predict import find_incompatibility
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.execution.serial import ImageOutcome, execute_in_process
from omero_pixclf.runs.image import ProcessingContext, process_image
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.protocols import ImageSource, ResultSink
from omero_pixclf.runs.run import ContainerOutcome, RunOutput, execute_run
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

PROJECT = Path(images.__file__).parent / "plate.ilp"
NOW = datetime(2026, 11, 21, 6, tzinfo=timezone.utc)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for well in ("A1", "B3"):
        scene = images.plate_field(well, 4)
        save_image(tmp_path / "data" / f"{well}.tif", scene.pixels[:, :, :200, :220], channels=("nuclei", "cyto"))
    save_image(tmp_path / "data" / "one_channel.tif", scene.pixels[:, :, :60, :60, :1])
    return tmp_path / "data"


def run(
    run_id: str, data: Path, results: Path, **changes: object
) -> tuple[list[PlanItem], list[ImageOutcome], list[str]]:
    given = {
        "classifier.project": str(PROJECT),
        "objects.label": ("Nucleus",),
        "output.labels": "attachment",
        **changes,
    }
    recipe = load_recipe(None, given)
    project = read_project(PROJECT)
    source: ImageSource = FolderSource()
    sink: ResultSink = FolderSink(results)
    digest = recipe.hash(project.sha256)
    refused: Callable[[ImageInfo], str | None] = lambda image: find_incompatibility(project, image)  # noqa: E731
    items = list(plan_images(source.images([str(data)]), sink, recipe, digest, refused))
    header = RunHeader(run_id, {}, digest, (str(data),), "", "", NOW.isoformat())
    record = RunRecord(run_id, "", recipe.title, digest, "", project.name, project.sha256, "0", NOW)
    with Manifest.create(data.parent / run_id, header) as manifest:
        manifest.add(
            [ManifestEntry(i.image.key, i.image.place.container, i.image.name, "due", i.reason) for i in items]
        )
        work = ProcessingContext(source, sink, recipe, project, record, manifest, lambda: NOW)
        executor = partial(execute_in_process, function=lambda i: process_image(i, work))
        events = list(execute_run(items, executor, RunOutput(manifest, sink, record)))
    outcomes = [e for e in events if isinstance(e, ImageOutcome)]
    tables = [path for e in events if isinstance(e, ContainerOutcome) for _, path in e.written]
    return items, outcomes, tables


def test_a_folder_of_images_becomes_a_folder_of_results(data: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    _, outcomes, tables = run("20261121T060000-aaaaaa", data, results)
    assert {o.image.name: o.state for o in outcomes} == {
        "A1.tif": "done",
        "B3.tif": "done",
        "one_channel.tif": "refused",
    }
    counts = {o.image.name: dict(o.objects)["Nucleus"] for o in outcomes if o.state == "done"}
    assert counts["A1.tif"] > counts["B3.tif"] > 3
    summary = next(Path(t) for t in tables if t.endswith("summary.csv")).read_text().splitlines()
    assert len(summary) == 3
    objects = next(Path(t) for t in tables if t.endswith("objects.csv")).read_text().splitlines()
    assert len(objects) - 1 == sum(counts.values())
    labels = sorted(results.rglob("labels.h5"))
    with open_image(labels[0]) as image:
        found = np.unique(image.read(Region.whole(image.info.shape)))
    assert len(found) - 1 == counts["A1.tif"]


def test_the_same_run_again_does_nothing_and_another_replaces_it(data: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    run("20261121T060000-aaaaaa", data, results)
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()}
    items, outcomes, _ = run("20261121T060001-bbbbbb", data, results)
    assert [i.decision for i in items] == ["done", "done", "refused"]
    assert {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()} == before
    items, outcomes, _ = run("20261121T060002-cccccc", data, results, **{"objects.threshold": 0.7})
    assert [i.decision for i in items] == ["replace", "replace", "refused"]
    assert not {p for p in results.rglob("*") if p.is_file()} & set(before)
    assert [o.state for o in outcomes] == ["done", "done", "refused"]
    undo_folder(results, "20261121T060002-cccccc")
    assert not [p for p in results.rglob("*") if p.is_file()]

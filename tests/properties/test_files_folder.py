"""A results folder: new before old goes, debris goes, undo takes exactly what a run wrote."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.errors import ImageError, InputError, OutputError
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.files.opening import open_image
from omero_pixclf.folder.backend import FolderSink, FolderSource, folder_runs, undo_folder
from omero_pixclf.folder.geojson import geojson_features
from omero_pixclf.folder.ledger import LEDGER, read_record, write_record
from omero_pixclf.folder.tables import read_parquet, write_csv, write_parquet
from omero_pixclf.image import ImageInfo, ImageLocation, Region
from omero_pixclf.objects.outline import MaskShape, Outline, trace_outlines
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import Column, Table

IMAGE = ImageInfo(
    "/data/a.tif", "a.tif", (1, 1, 8, 9, 1), "uint8", ("",), (None, 0.5, 0.5), ImageLocation("/data", "data"), "f"
)


def record(run_id: str = "20261121T000001-aaaaaa", recipe_hash: str = "h1") -> RunRecord:
    started = datetime(2026, 11, 21, tzinfo=timezone.utc)
    return RunRecord(run_id, IMAGE.key, "nuclei", recipe_hash, IMAGE.fingerprint, "n.ilp", "sha", "0.1", started)


def complete(sink: FolderSink, made: RunRecord, value: int = 1) -> None:
    with sink.begin(IMAGE, made) as writer:
        pixels = np.full((1, 1, 8, 9, 1), value, np.uint8)
        writer.save_image(ResultImage("segmentation", pixels, channels=["Segmentation"], form="attachment-h5"))
        writer.save_rois(list(trace_outlines(np.ones((1, 1, 2, 2), int))), name="A", color=(1, 2, 3))
        writer.complete(replace(made, state="complete", finished=made.started, objects={"A": 1}))


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_a_run_leaves_its_maps_its_objects_and_a_ledger_that_says_complete(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    complete(sink, record())
    assert {Path(f).name for f in files(tmp_path)} == {"segmentation.h5", "objects.geojson", LEDGER}
    [found] = sink.find_records(IMAGE, "nuclei")
    assert (found.state, found.objects, found.identity) == ("complete", {"A": 1}, ("h1", "f"))
    segmentation = next(tmp_path.rglob("segmentation.h5"))
    with open_image(segmentation) as image:
        assert image.info.pixel_size_um == (None, 0.5, 0.5)


def test_the_second_run_replaces_the_first_only_when_it_is_complete(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    complete(sink, record())
    first = files(tmp_path)
    second = record("20261121T000002-bbbbbb", "h2")
    with sink.begin(IMAGE, second) as writer:
        assert first <= files(tmp_path)
        writer.complete(replace(second, state="complete", finished=second.started))
    assert not first & files(tmp_path)
    assert [r.run_id for r in sink.find_records(IMAGE, "nuclei")] == [second.run_id]


def test_a_failed_run_leaves_nothing_and_the_old_results_stay(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    complete(sink, record())
    before = files(tmp_path)
    with pytest.raises(ZeroDivisionError), sink.begin(IMAGE, record("20261121T000002-bbbbbb")):
        raise ZeroDivisionError
    assert files(tmp_path) == before


def test_debris_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    complete(sink, record())
    home = next(tmp_path.rglob(LEDGER)).parent.parent
    for name, ledger in (("20261120T000001-cccccc", True), ("20261120T000002-dddddd", False)):
        (home / name).mkdir()
        (home / name / ".half.part").write_text("x")
        if ledger:
            write_record(home / name, record(name))
            facts = json.loads((home / name / LEDGER).read_text())
            (home / name / LEDGER).write_text(json.dumps({**facts, "worker": "elsewhere 1"}))
    complete(sink, record("20261121T000003-eeeeee"))
    assert [p.name for p in home.iterdir()] == ["20261121T000003-eeeeee"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    with sink.begin(IMAGE, record()) as _:
        ledger = next(tmp_path.rglob(LEDGER))
        facts = json.loads(ledger.read_text())
        ledger.write_text(json.dumps({**facts, "worker": facts["worker"].replace(str(os.getpid()), str(os.getppid()))}))
        with (
            pytest.raises(OutputError, match="another process"),
            FolderSink(tmp_path).begin(IMAGE, record("20261121T000002-bbbbbb")),
        ):
            pass
        assert ledger.exists()


def test_recipes_and_images_of_the_same_name_do_not_touch_each_other(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    complete(sink, record())
    other = replace(IMAGE, key="/elsewhere/a.tif")
    assert sink.find_records(other, "nuclei") == []
    assert sink.find_records(IMAGE, "cells") == []


def test_undo_takes_exactly_what_a_run_wrote(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    complete(sink, record())
    other = replace(record("20261121T000009-999999"), recipe="cells")
    complete(sink, other)
    done = replace(record(), image="/data", state="complete", finished=record().started)
    sink.finish("/data", done, {"summary": table()}, [])
    assert len({folder for folder, _ in folder_runs(tmp_path)}) == 3
    assert undo_folder(tmp_path, record().run_id) == {"images": 1, "tables": 1}
    assert {r.run_id for _, r in folder_runs(tmp_path)} == {other.run_id}
    assert (tmp_path / "notes.txt").exists()
    with pytest.raises(InputError):
        undo_folder(tmp_path, record().run_id)


def table(rows: int = 3) -> Table:
    return Table(
        (
            Column("Image", "image", np.arange(rows)),
            Column("Name", "string", np.array([f"ä,\n{i}" for i in range(rows)], object)),
            Column("Area_um2", "double", np.array([np.nan, 0.1, 1e300][:rows]), "µm²", "the area"),
            Column("Edge", "bool", np.arange(rows) % 2 == 0),
        )
    )


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_parquet_keeps_kinds_units_and_values_also_of_no_rows(tmp_path: Path, rows: int) -> None:
    write_parquet(tmp_path / "t.parquet", table(rows))
    back = read_parquet(tmp_path / "t.parquet")
    for ours, theirs in zip(table(rows).columns, back.columns, strict=True):
        assert (ours.name, ours.kind, ours.unit, ours.description) == (
            theirs.name,
            theirs.kind,
            theirs.unit,
            theirs.description,
        )
        assert np.array_equal(ours.values, theirs.values, equal_nan=ours.kind == "double")


def test_csv_reads_back_the_same_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_csv(tmp_path / "t.csv", table())
    frame = pandas.read_csv(tmp_path / "t.csv")
    assert frame["Area_um2"][1:].tolist() == [0.1, 1e300]
    assert frame["Name"].tolist() == table()["Name"].tolist()


def test_a_file_that_is_no_table_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(InputError):
        read_parquet(tmp_path / "t.parquet")


def test_tables_stand_until_the_next_runs_are_complete(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    first = replace(record(), image="/data", state="complete", finished=record().started)
    assert sink.load_tables("/data", "nuclei") == {}
    (tmp_path / "sheet.png").write_bytes(b"png")
    written = sink.finish("/data", first, {"summary": table(2), "objects": table(0)}, [tmp_path / "sheet.png"])
    assert {k: Path(v).exists() for k, v in written.items()} == {"summary": True, "objects": True, "sheet.png": True}
    assert {k: len(t) for k, t in sink.load_tables("/data", "nuclei").items()} == {"summary": 2, "objects": 0}
    with pytest.raises(OutputError):
        sink.finish("/data", replace(first, run_id="20261121T000002-bbbbbb"), {}, [tmp_path / "gone.png"])
    assert len(sink.load_tables("/data", "nuclei")["summary"]) == 2
    sink.finish("/data", replace(first, run_id="20261121T000003-cccccc"), {"summary": table(3)}, [])
    assert {k: len(t) for k, t in sink.load_tables("/data", "nuclei").items()} == {"summary": 3}


def test_a_folder_is_searched_for_images_and_results_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.tif", "a.npy", "sub/c.zarr", ".hidden.tif"):
        save_image(tmp_path / name, np.zeros((1, 1, 8, 9, 1), np.uint8))
    (tmp_path / "broken.tif").write_text("no")
    (tmp_path / "notes.txt").write_text("no")
    info = ImageInfo(
        str(tmp_path / "b.tif"), "b.tif", (1, 1, 8, 9, 1), "uint8", ("",), place=ImageLocation(str(tmp_path))
    )
    with FolderSink(tmp_path / "results").begin(info, record()) as writer:
        writer.save_image(
            ResultImage("segmentation", np.zeros((1, 1, 8, 9, 1), np.uint8), channels=[""], form="attachment-h5")
        )
        writer.complete(replace(record(), state="complete", finished=record().started))
    found = list(FolderSource().images([str(tmp_path), str(tmp_path / "b.tif")]))
    assert [(i.name, bool(i.problem)) for i in found] == [
        ("a.npy", False),
        ("b.tif", False),
        ("broken.tif", True),
        ("c.zarr", False),
    ]
    assert found[0].place == ImageLocation(str(tmp_path), tmp_path.name)
    with pytest.raises(ImageError), FolderSource().open(replace(found[0], key=str(tmp_path / "gone.npy"))):
        pass
    with pytest.raises(ImageError):
        list(FolderSource().images([str(tmp_path / "broken.tif")]))


def test_the_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    save_image(path, np.zeros((1, 1, 8, 9, 1), np.uint8))
    first = next(FolderSource().images([str(path)])).fingerprint
    assert next(FolderSource().images([str(path)])).fingerprint == first
    os.utime(path, ns=(1, 1))
    assert next(FolderSource().images([str(path)])).fingerprint != first


def test_a_folder_that_may_not_be_written_is_refused_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "not a folder" in (FolderSink(tmp_path / "file" / "results").explain_refusal(IMAGE) or "")
    assert FolderSink(tmp_path / "new").explain_refusal(IMAGE) is None


@settings(max_examples=60, deadline=None)
@given(
    plane=st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=7),
    kind=st.sampled_from(["polygon", "mask"]),
)
def test_geojson_covers_exactly_the_objects_pixels(plane: list[list[int]], kind: str) -> None:
    labels = np.array(plane)[None, None]
    covered = np.zeros(labels.shape, int)
    for feature in geojson_features(trace_outlines(labels, kind=kind), name="A", color=(0, 0, 0)):  # type: ignore[arg-type]
        shape = feature["geometry"]
        polygons = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
        for y, x in np.ndindex(*labels.shape[2:]):
            inside = sum(_even_odd(polygon, x + 0.5, y + 0.5) for polygon in polygons)
            covered[0, 0, y, x] += inside * feature["properties"]["label"]
    assert np.array_equal(covered, labels)


def test_masks_together_give_the_features_that_each_gives_alone() -> None:
    dice = np.random.default_rng(7)
    sizes = [(3, 4), (1, 1), (700, 900), (5, 2), (900, 1300), *[(40, 30)] * 30]
    full = [1 - min(0.2, 40 / np.prod(size)) for size in sizes]  # some pixels are missing, in large ones, too
    shapes = [MaskShape(0, 0, 11 * n, 7 * n, dice.random(s) < full[n]) for n, s in enumerate(sizes)]
    shapes[1] = replace(shapes[1], bits=np.ones((1, 1), np.bool_))
    given_all = [Outline(n + 1, 0, (shape,)) for n, shape in enumerate(shapes)]
    told = {"name": "A", "color": (0, 0, 0)}
    alone = [feature for one in given_all for feature in geojson_features([one], **told)]  # type: ignore[arg-type]
    assert list(geojson_features(given_all, **told)) == alone  # type: ignore[arg-type]
    assert [f["properties"]["label"] for f in alone] == list(range(1, len(sizes) + 1))


def _even_odd(rings: list[list[list[float]]], x: float, y: float) -> int:
    crossings = 0
    for ring in rings:
        for (x1, y1), (_, y2) in pairwise(ring):
            crossings += (y1 > y) != (y2 > y) and x1 > x
    return crossings % 2


def test_an_unreadable_ledger_counts_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"run_id": "x"}'):
        (tmp_path / LEDGER).write_text(text)
        assert read_record(tmp_path) is None


def test_region_of_a_folder_image_is_read(tmp_path: Path) -> None:
    pixels = np.arange(72, dtype=np.uint8).reshape(1, 1, 8, 9, 1)
    save_image(tmp_path / "a.tif", pixels)
    source = FolderSource(axes="yx")
    [info] = source.images([str(tmp_path)])
    with source.open(info) as reader:
        assert np.array_equal(reader.read(Region.whole(info.shape)), pixels)

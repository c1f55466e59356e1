"""An image worked on in pieces gives what it gives in one, to the byte, whoever does the pieces and how often."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.config import load_recipe
from omero_pixclf.demo import images
from omero_pixclf.demo.images import plate_field, z_stack
from omero_pixclf.errors import OutputError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ArrayReader, ImageInfo, Region
from omero_pixclf.objects.outline import Outline, PolygonShape
from omero_pixclf.pixels.predict import prediction_halo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.blocks import array
from omero_pixclf.runs.blocks.stages import make_block_plan, process_task
from omero_pixclf.runs.image import ProcessingContext, process_image
from omero_pixclf.runs.planning.resources import needs_blocks
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.table import Table

DEMO = Path(images.__file__).parent
NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


class Memory:
    """An image in memory as the source, and a sink that keeps what it is given."""

    def __init__(self, info: ImageInfo, pixels: NDArray[Any]) -> None:
        self.info, self.pixels = info, pixels
        self.read: list[Region] = []
        self.kept: dict[str, Any] = {}

    @contextmanager
    def open(self, image: ImageInfo) -> Iterator[ArrayReader]:
        owner = self

        class Noting(ArrayReader):
            def read(self, region: Region) -> NDArray[Any]:
                owner.read.append(region)
                return super().read(region)

        yield Noting(self.info, self.pixels)

    @contextmanager
    def begin(self, image: ImageInfo, record: RunRecord) -> Iterator[Memory]:
        yield self

    def save_rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[Any]:
        self.kept[f"rois {name}"] = [(o.t, o.label, [_plain(s) for s in o.shapes]) for o in outlines]
        return np.arange(len(self.kept[f"rois {name}"]))

    def save_image(self, result: ResultImage) -> None:
        whole = np.asarray(result.pixels[tuple(slice(None) for _ in result.pixels.shape)])
        self.kept[result.kind] = (whole.shape, whole.dtype.str, whole.tobytes(), tuple(result.channels))

    def complete(self, record: RunRecord) -> None:
        self.kept["ledger"] = (record.state, record.objects, record.uncertainty)


def _plain(shape: Any) -> tuple[Any, ...]:
    if isinstance(shape, PolygonShape):
        return (shape.t, shape.z, *(ring.tobytes() for ring in (shape.points, *shape.holes)))
    return (shape.t, shape.z, shape.x, shape.y, shape.bits.shape, shape.bits.tobytes())


def scene(name: str) -> NDArray[Any]:
    if name == "stack":
        return z_stack(7).pixels[:, 2:22, :64, :72]
    field = plate_field("A1", 7).pixels[:, :, :130, :140]
    return np.concatenate([field, field[:, :, ::-1]])


class FewPixels:
    """Draws some pixels of an image, as they are."""

    def draw_preview(self, analysis: Any) -> bytes:
        return np.asarray(analysis.pixels[:, :, ::3, ::3]).tobytes()

    def draw_report(self, manifest: object, record: object, images: object, tables: object) -> Sequence[Path]:
        raise AssertionError("no container is finished here")


def work_on(folder: Path, name: str, **changes: Any) -> tuple[ProcessingContext, Memory]:
    project = read_project(DEMO / f"{name}.ilp")
    pixels = np.ascontiguousarray(scene(name))
    channels = ("a", "b")[: pixels.shape[4]]
    info = ImageInfo("Image:1", "i", pixels.shape, "uint16", channels, (1.0, 0.5, 0.5), fingerprint="f")
    given = {
        "classifier.project": "x.ilp",
        "objects.label": [c.name for c in project.classes][:2],
        "output.labels": "attachment",
        "output.segmentation": "attachment",
        "output.probabilities": "attachment",
        **changes,
    }
    recipe = load_recipe(None, given)
    (folder / "images").mkdir(parents=True)
    memory = Memory(info, pixels)
    record = RunRecord("r", "", "n", "h", "", project.name, project.sha256, "0", NOW)
    work = ProcessingContext(memory, memory, recipe, project, record, ImageFiles(folder), lambda: NOW, FewPixels(), 1)  # type: ignore[arg-type]
    return work, memory


def left(work: ProcessingContext, memory: Memory) -> dict[str, Any]:
    """All that an image has left: what was stored, and its tables and its picture in the run's folder."""
    tables = {name: _rows(work.files.load_table("Image:1", name)) for name in ("objects", "summary")}
    return {**memory.kept, **tables, "picture": work.files.preview_path("Image:1").read_bytes()}


def _rows(table: Table | None) -> list[tuple[str, list[str]]]:
    assert table is not None
    return [(c.name, [repr(v) for v in c.values.tolist()]) for c in table.columns]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array, "BLOCK_PIXELS", 6 * 40 * 40)
    monkeypatch.setattr(array, "PLANE_BLOCK", (1, 70, 80))
    monkeypatch.setattr(array, "CUBE_BLOCK", (6, 40, 40))


RECIPES: list[dict[str, Any]] = [
    {},
    {"output.rois": "mask", "objects.method": "hysteresis", "objects.smooth": 1.3, "objects.border": "remove"},
    {"objects.split": "distance", "objects.fill_holes": True, "output.simplify": 0.4},
    {"output.roi_budget": 1, "objects.dims": "2d", "objects.connectivity": 8},
]


@pytest.mark.parametrize("name", ["plate", "stack"])
@pytest.mark.parametrize("changes", RECIPES)
@pytest.mark.usefixtures("small_blocks")
def test_pieces_in_any_order_and_done_twice_leave_what_the_whole_leaves(
    name: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omero_pixclf.objects.summary.TILE", 10)
    one, whole = work_on(tmp_path / "one", name, **changes)
    counts = process_image(whole.info, one)
    other, pieces = work_on(tmp_path / "other", name, **changes)
    cutting = make_block_plan(pieces.info, other)
    assert len(cutting.grid) >= 8
    assert sum(counts.values()) > 4 or (name == "stack" and "objects.border" in changes)  # all touch it
    dice = random.Random(1)
    for stage in cutting.stages:
        todo = cutting.pending_tasks(stage)
        assert len(todo) == len(cutting.tasks(stage))
        dice.shuffle(todo)
        for piece in todo + todo[:1]:
            found = process_task(piece, other)
        assert stage == "store" or cutting.pending_tasks(stage) == []
    assert found == counts
    ours, theirs = left(other, pieces), left(one, whole)
    assert {k: ours[k] == v for k, v in theirs.items()} == dict.fromkeys(theirs, True)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.usefixtures("small_blocks")
def test_polygons_show_holes_of_the_size_that_the_recipe_names_and_tables_do_not_depend_on_it(
    whole: bool, tmp_path: Path
) -> None:
    holes, rows = {}, {}
    for least in (0, 100_000):
        changes = {"objects.threshold": 0.3, "objects.label": ["Background"], "output.min_hole": least}
        work, memory = work_on(tmp_path / str(least), "plate", **changes)
        if whole:
            process_image(memory.info, work)
        else:
            for stage in (cutting := make_block_plan(memory.info, work)).stages:
                for piece in cutting.pending_tasks(stage):
                    process_task(piece, work)
        shapes = [shape for _, _, shapes in memory.kept["rois Background"] for shape in shapes]
        holes[least] = sum(len(shape) - 3 for shape in shapes)  # t, z, ring, and the rings of holes
        rows[least] = _rows(work.files.load_table("Image:1", "objects"))
    assert holes[0] > holes[100_000] == 0
    assert rows[0] == rows[100_000]


class Broken(FewPixels):
    """Cannot draw."""

    def draw_preview(self, analysis: Any) -> bytes:
        raise RuntimeError("no picture")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.usefixtures("small_blocks")
def test_a_picture_that_cannot_be_drawn_costs_no_results(
    whole: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work, memory = work_on(tmp_path / "one", "plate")
    work = replace(work, drawer=Broken())
    if whole:
        process_image(memory.info, work)
    else:
        for stage in (cutting := make_block_plan(memory.info, work)).stages:
            for piece in cutting.pending_tasks(stage):
                process_task(piece, work)
    assert memory.kept["ledger"][0] == "complete" and work.files.load_table("Image:1", "summary") is not None
    assert not work.files.preview_path("Image:1").exists()
    assert "Image:1: its picture: left out: RuntimeError: no picture" in caplog.text


def test_a_picture_that_cannot_be_kept_costs_no_results(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work, memory = work_on(tmp_path / "one", "plate")
    work.files.preview_path("Image:1").mkdir(parents=True)
    process_image(memory.info, work)
    assert memory.kept["ledger"][0] == "complete" and "its picture: left out" in caplog.text


@pytest.mark.usefixtures("small_blocks")
def test_an_image_that_does_not_fit_is_worked_on_in_pieces_by_one_worker_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omero_pixclf.objects.summary.TILE", 10)
    one, whole = work_on(tmp_path / "one", "plate")
    process_image(whole.info, one)
    work, memory = work_on(tmp_path / "other", "plate")
    small = replace(work, memory=2**18)
    cutting = make_block_plan(memory.info, small)
    first = cutting.tasks("maps")[:5]
    for piece in first:
        process_task(piece, small)
    memory.read.clear()
    process_task(memory.info, small)
    assert len(memory.read) == len(cutting.grid) - len(first)
    assert left(small, memory) == left(one, whole)


@pytest.mark.usefixtures("small_blocks")
def test_a_piece_reads_no_more_than_its_block_and_what_the_filters_look_at(tmp_path: Path) -> None:
    work, memory = work_on(tmp_path / "run", "plate")
    cutting = make_block_plan(memory.info, work)
    process_task(cutting.tasks("maps")[4], work)
    [region] = memory.read
    own = cutting.grid.slices(4)
    far = (0, *prediction_halo(work.project, 1))
    assert region.start[:4] == tuple(max(0, side.start - n) for side, n in zip(own, far, strict=True))
    extents = memory.info.shape
    assert region.stop[:4] == tuple(min(e, side.stop + n) for side, n, e in zip(own, far, extents, strict=False))


@pytest.mark.usefixtures("small_blocks")
def test_pieces_of_other_pixels_do_not_count(tmp_path: Path) -> None:
    work, memory = work_on(tmp_path / "run", "plate")
    cutting = make_block_plan(memory.info, work)
    process_task(cutting.tasks("maps")[0], work)
    assert len(cutting.pending_tasks("maps")) == len(cutting.grid) - 1
    changed = make_block_plan(replace(memory.info, fingerprint="other"), work)
    assert len(changed.pending_tasks("maps")) == len(cutting.grid)


@pytest.mark.usefixtures("small_blocks")
def test_a_piece_that_is_broken_on_disk_is_said_with_its_file(tmp_path: Path) -> None:
    work, memory = work_on(tmp_path / "run", "plate")
    cutting = make_block_plan(memory.info, work)
    for piece in cutting.tasks("maps"):
        process_task(piece, work)
    cutting.probabilities.path(2).write_bytes(b"no")
    with pytest.raises(OutputError, match="probabilities-2"):
        for piece in cutting.tasks("labels"):
            process_task(piece, work)


def test_only_an_image_that_does_not_fit_is_worked_on_in_blocks() -> None:
    project = read_project(DEMO / "plate.ilp")
    small = ImageInfo("Image:1", "i", (1, 1, 512, 512, 2), "uint16", ("a", "b"))
    assert not needs_blocks(small, project, None)
    assert needs_blocks(small, project, 2**20)
    assert needs_blocks(ImageInfo("Image:2", "i", (1, 1, 40_000, 40_000, 2), "uint16", ("a", "b")), project, None)

"""What is left to do of a run whose images are cut: each stage after the one before, each image with one end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omero_pixclf.config import load_recipe
from omero_pixclf.demo import images
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.blocks.block_plan import BlockPlan, find_images_worth_splitting, split_images
from omero_pixclf.runs.execution.serial import ImageOutcome, TaskResult, make_failed_result
from omero_pixclf.runs.execution.task import BlockTask, Task, get_task_image
from omero_pixclf.runs.execution.task_queue import TaskQueue, split_none
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")
RECIPE = load_recipe(None, {"classifier.project": "x.ilp"})


def image(number: int, side: int) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


LARGE, SMALL = image(1, 4000), [image(n, 64) for n in (2, 3)]


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with Manifest.create(tmp_path / "run", RunHeader("r1", {}, "h", (), "", "", "now")) as made:
        made.add([ManifestEntry(i.key, "Dataset:1", i.name, "due") for i in (LARGE, *SMALL)])
        yield made


def queue(manifest: Manifest) -> TaskQueue:
    def cut(given: list[ImageInfo], workers: int) -> dict[str, BlockPlan]:
        return split_images(given, workers, recipe=RECIPE, project=PROJECT, files=manifest, memory=None)

    return TaskQueue([*SMALL, LARGE], manifest, cut, 2)


def done(task: Task, manifest: Manifest) -> TaskResult:
    """A worker does a task: a piece leaves its file."""
    if isinstance(task, BlockTask) and task.stage != "store":
        path = BlockPlan(LARGE, RECIPE, PROJECT, manifest.blocks_folder(LARGE.key)).result_path(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return TaskResult(ImageOutcome(get_task_image(task), "done", "", 1.0, (("Nucleus", 3),)))


def states(manifest: Manifest) -> dict[str, str]:
    return {e.key: e.state for e in manifest.entries()}


def test_a_large_image_is_shared_stage_by_stage_and_small_ones_fill_the_gaps(manifest: Manifest) -> None:
    todo, order, ends = queue(manifest), [], []
    while todo:
        task = todo.get()
        order.append(task.stage if isinstance(task, BlockTask) else task.key)
        ends += todo.finish(task, done(task, manifest))
    stages = ["maps"] * 4 + ["labels"] * 4 + ["join"] + ["objects"] * 4 + ["store"]
    assert order == [*stages, "Image:2", "Image:3"]
    seconds = {e.outcome.image.key: e.outcome.seconds for e in ends}
    assert list(seconds.items()) == [("Image:1", 14.0), ("Image:2", 1.0), ("Image:3", 1.0)]
    assert states(manifest) == {
        "Image:1": "running",
        "Image:2": "running",
        "Image:3": "running",
    }  # whoever asks marks it


def test_a_stage_waits_for_the_last_piece_of_the_one_before_also_when_it_comes_back(manifest: Manifest) -> None:
    todo = queue(manifest)
    maps = [todo.get() for _ in range(4)]
    assert isinstance(todo.next_task, ImageInfo)
    todo.put_back(maps[2])
    for task in (maps[0], maps[1], maps[3]):
        assert todo.finish(task, done(task, manifest)) == []
    again = todo.get()
    assert again == maps[2]
    todo.finish(again, done(again, manifest))
    assert isinstance(todo.next_task, BlockTask) and todo.next_task.stage == "labels"


def test_what_is_done_on_disk_is_not_due(manifest: Manifest) -> None:
    first = queue(manifest)
    for _ in range(3):
        task = first.get()
        first.finish(task, done(task, manifest))
    first.close()
    assert states(manifest)["Image:1"] == "due"
    later = queue(manifest)
    assert [later.get().key, later.get().key] == ["Image:1 maps 3", "Image:2"]


def test_a_failed_piece_fails_its_image_once_and_takes_no_other_with_it(manifest: Manifest) -> None:
    todo = queue(manifest)
    one, two = todo.get(), todo.get()
    [end] = todo.finish(one, make_failed_result(LARGE, "bad block"))
    assert (end.outcome.image, end.outcome.state, end.outcome.reason) == (LARGE, "failed", "bad block")
    assert todo.finish(two, make_failed_result(LARGE, "bad block")) == []
    todo.put_back(two)
    assert [todo.get().key for _ in range(len(todo))] == ["Image:2", "Image:3"]


def test_images_are_cut_only_where_one_of_them_would_keep_the_others_waiting(manifest: Manifest) -> None:
    many = [image(n, 3000) for n in range(16)]
    assert find_images_worth_splitting(many, 2) == set()
    assert find_images_worth_splitting(many, 16) == set()
    assert len(find_images_worth_splitting(many, 15)) == 1  # who has a second one would keep fourteen waiting
    assert find_images_worth_splitting(many, 32) == {i.key for i in many}
    assert find_images_worth_splitting([], 2) == set()
    assert find_images_worth_splitting([*many, image(99, 30_000)], 2) == {"Image:99"}
    assert find_images_worth_splitting(many[:1], 1) == set()
    options = {"recipe": RECIPE, "project": PROJECT, "files": manifest}
    assert split_images([SMALL[0]], 8, memory=None, **options) == {}  # it has but one block
    assert set(split_images(many, 2, memory=2**20, **options)) == {i.key for i in many}
    assert split_none(many, 16) == {}


def test_a_recipe_that_splits_finds_its_objects_in_one_piece(manifest: Manifest) -> None:
    split = load_recipe(None, {"classifier.project": "x.ilp", "objects.split": "distance"})
    cutting = BlockPlan(LARGE, split, PROJECT, manifest.blocks_folder(LARGE.key))
    assert cutting.stages == ("maps", "find", "objects", "store")
    assert [len(cutting.tasks(stage)) for stage in cutting.stages] == [4, 1, 4, 1]
    assert replace(cutting, image=replace(LARGE, fingerprint="x")).folder != cutting.folder

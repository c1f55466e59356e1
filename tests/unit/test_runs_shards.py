"""Shares of a run's images, what puts them together, and how a machine is shared among workers."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omero_pixclf.demo import images
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.estimate import SampleResult, estimate_run
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.planning.resources import array_bytes, check_disk_space, find_disk_shortage
from omero_pixclf.runs.planning.shards import parse_shard, select_shard
from omero_pixclf.runs.planning.workers import allocate_workers
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader
from omero_pixclf.runs.state.merge import create_merged_manifest, load_shard_runs, make_merged_header
from omero_pixclf.table import Column, Table

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")
GIB = 2**30


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 9))
def test_shares_are_disjoint_complete_and_even(sides: list[int], count: int) -> None:
    all_of_them = [image(n, side) for n, side in enumerate(sides)]
    shares = [select_shard(all_of_them, number, count) for number in range(1, count + 1)]
    assert sorted(i.key for s in shares for i in s) == sorted(i.key for i in all_of_them)
    loads = [sum(prod(i.shape) for i in s) for s in shares]
    assert max(loads) - min(loads) <= max(prod(i.shape) for i in all_of_them)


def test_a_share_does_not_depend_on_the_order_in_which_images_are_listed() -> None:
    listed = [image(n, 10 + n % 3) for n in range(9)]
    for number in (1, 2, 3):
        assert {i.key for i in select_shard(listed, number, 3)} == {
            i.key for i in select_shard(listed[::-1], number, 3)
        }


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/", "-1/3"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="i/N"):
        parse_shard(text)


def run(number: int) -> str:
    return f"20261121T000000-00000{number}"


def part(folder: Path, number: int, shard: str, state: str = "done", digest: str = "h") -> str:
    header = RunHeader(run(number), {}, digest, ("Dataset:1",), "s", "ada", "now", shard)
    with Manifest.create(folder / header.run_id, header) as manifest:
        manifest.add([ManifestEntry(f"Image:{number}", "Dataset:1", f"i{number}", "due")])
        manifest.set_state(f"Image:{number}", state)  # type: ignore[arg-type]
        manifest.save_table(f"Image:{number}", "summary", Table((Column("Image", "image", np.array([number])),)))
    return header.run_id


def test_shares_become_one_run_that_knows_all_they_knew(tmp_path: Path) -> None:
    runs = [part(tmp_path, 1, "2/3"), part(tmp_path, 2, "1/3", "running"), part(tmp_path, 3, "3/3")]
    parts = load_shard_runs(tmp_path, runs)
    header = make_merged_header(run(9), "now", parts)
    assert header.merged == (run(2), run(1), run(3)) and header.shard == ""
    with create_merged_manifest(tmp_path, header, parts) as manifest:
        states = {e.key: e.state for e in manifest.entries()}
        assert states == {"Image:1": "done", "Image:2": "failed", "Image:3": "done"}
        assert f"--resume {run(2)}" in manifest.entries()[0].reason
        kept = manifest.load_table("Image:3", "summary")
        assert kept is not None and kept["Image"].tolist() == [3]
    with Manifest.open(tmp_path / run(9)) as again:
        assert again.header.merged == (run(2), run(1), run(3))


def test_what_is_not_a_whole_set_of_shares_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    one, two, other = part(tmp_path, 1, "1/3"), part(tmp_path, 2, "2/3"), part(tmp_path, 3, "3/3", digest="x")
    whole = part(tmp_path, 4, "")
    with pytest.raises(UsageError, match="missing 3/3"):
        load_shard_runs(tmp_path, [one, two])
    with pytest.raises(UsageError, match="not the same recipe hash"):
        load_shard_runs(tmp_path, [one, two, other])
    with pytest.raises(UsageError, match="is no share"):
        load_shard_runs(tmp_path, [whole])
    with pytest.raises(UsageError, match="no such run"):
        load_shard_runs(tmp_path, [run(8)])


def test_workers_times_threads_are_the_cores() -> None:
    many = [image(n) for n in range(384)]
    workers = allocate_workers(many, PROJECT, cores=8, free=64 * GIB)
    assert (workers.workers, workers.threads, workers.concurrency) == (8, 1, 3)
    assert allocate_workers(many, PROJECT, workers=2, cores=8, free=64 * GIB).threads == 4
    assert allocate_workers(many, PROJECT, threads=4, cores=8, free=64 * GIB).workers == 2
    assert allocate_workers(many[:3], PROJECT, cores=8, free=64 * GIB).workers == 1


def test_workers_share_the_memory_and_those_that_do_not_fit_are_refused() -> None:
    many = [image(n) for n in range(384)]
    assert allocate_workers(many, PROJECT, memory=2 * GIB, cores=16, free=64 * GIB).workers == 4
    assert allocate_workers(many, PROJECT, workers=2, memory=2 * GIB, cores=16, free=64 * GIB).memory == GIB
    with pytest.raises(UsageError, match="use --workers 4"):
        allocate_workers(many, PROJECT, workers=8, memory=2 * GIB, cores=16, free=64 * GIB)


def test_images_that_fill_the_memory_go_one_by_one() -> None:
    large = [image(n, 8000) for n in range(20)]
    workers = allocate_workers(large, PROJECT, workers=2, memory=6 * GIB, cores=2, free=64 * GIB)
    assert workers.concurrency == 1
    assert workers.expected <= 3 * GIB


def test_an_image_whose_maps_have_no_room_is_refused_before_work(tmp_path: Path) -> None:
    huge = image(1, 10_000_000)
    reason = find_disk_shortage(huge, PROJECT, GIB, tmp_path / "not" / "there")
    assert reason is not None and "TiB needed for its maps" in reason
    assert find_disk_shortage(image(1), PROJECT, GIB, tmp_path) is None


def test_a_run_that_has_no_room_on_disk_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    few, many = ([image(n) for n in range(count)] for count in (3, 30))
    alone = {"workers": 1, "cores": 2, "free": 64 * GIB}
    assert allocate_workers(many, PROJECT, **alone).disk == 10 * allocate_workers(few, PROJECT, **alone).disk > 0
    slide = image(1, 20_000)
    shared = allocate_workers([slide], PROJECT, workers=2, cores=2, free=64 * GIB)
    assert shared.disk > array_bytes(slide, PROJECT)  # its pieces lie there until it is done
    check_disk_space(few[0].shape[2], tmp_path / "not" / "there")
    with pytest.raises(OutputError, match=r"1024 TiB here"):
        check_disk_space(2**50, tmp_path / "not" / "there")


def test_the_estimate_is_shared_by_the_workers() -> None:
    items = [PlanItem(image(n), "due") for n in range(10)]
    for workers, seconds in ((1, 10.0), (2, 5.0), (50, 1.0)):
        clock = iter([0.0, 2.0])
        look = lambda image: SampleResult(prod(image.shape), {"Nucleus": 3})  # noqa: E731
        expected = estimate_run(items, look, workers=workers, clock=lambda c=clock: next(c))
        assert expected is not None and expected.seconds == seconds and expected.objects == {"Nucleus": 30}

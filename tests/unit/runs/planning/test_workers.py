"""How many workers a machine gets, with how many threads and how much memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.demo import images
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.workers import allocate_workers

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")


GIB = 2**30


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


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

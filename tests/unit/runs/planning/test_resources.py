"""Space on disk that an image and a run need."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.demo import images
from omero_pixclf.errors import OutputError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.resources import array_bytes, check_disk_space, find_disk_shortage
from omero_pixclf.runs.planning.workers import allocate_workers

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")


GIB = 2**30


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


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

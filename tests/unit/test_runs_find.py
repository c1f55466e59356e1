"""An image worked on block by block over files gives what it gives in memory, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.config import load_recipe
from omero_pixclf.demo.images import plate_field, z_stack
from omero_pixclf.errors import OutputError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ArrayReader, ImageInfo
from omero_pixclf.runs import find
from omero_pixclf.runs.find import find_in, needs_blocks
from omero_pixclf.runs.scratch import scratch

DEMO = Path(find.__file__).parents[1] / "demo"


@pytest.mark.parametrize("name", ["plate", "stack"])
@pytest.mark.parametrize("split", ["none", "distance"])
def test_blocks_over_files_give_what_memory_gives(
    name: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = plate_field("A1", 7).pixels[:, :, :200, :210] if name == "plate" else z_stack(7).pixels
    info = ImageInfo("Image:1", "i", pixels.shape, "uint16", ("a", "b")[: pixels.shape[4]], (1.0, 0.5, 0.5))
    project = read_project(DEMO / f"{name}.ilp")
    label = [c.name for c in project.classes][:2]
    recipe = load_recipe(
        None,
        {"classifier.project": "x.ilp", "objects.label": label, "objects.split": split, "objects.fill_holes": True},
    )
    reader = ArrayReader(info, np.ascontiguousarray(pixels))
    with scratch(None) as make:
        whole = find_in(reader, recipe, project, make)
    monkeypatch.setattr(find, "BLOCK", (9, 64, 70))
    monkeypatch.setattr(find, "BAND", 50_000)
    with scratch(tmp_path) as make:
        parts = find_in(reader, recipe, project, make, large=True)
        assert isinstance(parts.probabilities, np.memmap)
        assert parts.summary == whole.summary
        for n in label:
            np.testing.assert_array_equal(parts.labels[n], whole.labels[n])
            assert parts.objects[n].names == whole.objects[n].names
            for column in whole.objects[n].columns:
                if column.kind == "string":
                    assert parts.objects[n][column.name].tolist() == column.values.tolist()
                else:
                    np.testing.assert_allclose(parts.objects[n][column.name], column.values, rtol=1e-9, atol=1e-9)
            ours = [o.shapes for o in parts.outlines(n, kind="mask", simplify=0.0)]
            theirs = [o.shapes for o in whole.outlines(n, kind="mask", simplify=0.0)]
            assert [[(s.t, s.z, s.x, s.y, s.bits.tobytes()) for s in o] for o in ours] == [
                [(s.t, s.z, s.x, s.y, s.bits.tobytes()) for s in o] for o in theirs
            ]
    assert list(tmp_path.iterdir()) == []


def test_only_an_image_that_does_not_fit_is_worked_on_in_blocks() -> None:
    project = read_project(DEMO / "plate.ilp")
    small = ImageInfo("Image:1", "i", (1, 1, 512, 512, 2), "uint16", ("a", "b"))
    assert not needs_blocks(small, project, None)
    assert needs_blocks(small, project, 2**20)
    assert needs_blocks(ImageInfo("Image:2", "i", (1, 1, 40_000, 40_000, 2), "uint16", ("a", "b")), project, None)


def test_no_room_on_disk_is_said_before_the_work(tmp_path: Path) -> None:
    with scratch(tmp_path) as make, pytest.raises(OutputError, match="GiB are needed"):
        make((2**20, 2**20, 2**10), np.float32)

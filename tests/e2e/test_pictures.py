"""Pictures of whole runs over files: of any names, and no more of them than are shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from omero_pixclf.app.execute import run_in_folder
from omero_pixclf.app.request import RunRequest
from omero_pixclf.config import load_recipe
from omero_pixclf.demo.images import plate_field
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.runs.planning import sampling
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished
from tests.e2e.test_main_job import DEMO

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)


def run(folder: Path, out: Path, **changes: Any) -> list[Event]:
    recipe = load_recipe(None, {"classifier.project": str(DEMO / "plate.ilp"), **changes})
    return list(run_in_folder(out, RunRequest((str(folder),), recipe), now=lambda: NOW))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray[Any, Any]:
    return plate_field("A2", 6).pixels[:, :, :64, :64]


def files(out: Path, pattern: str) -> Iterator[Path]:
    return (path for path in out.rglob(pattern) if ".runs" not in path.parts)


@pytest.mark.parametrize(
    "folder", ["grp_$1_$2", "lines\nand\ttabs", "$\\frac{$", "=SUM(A1)", "细胞 🧫 שלום", "x" * 200]
)
def test_names_of_any_kind_are_on_the_pictures_and_in_the_tables(
    folder: str, pixels: np.ndarray[Any, Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    place = tmp_path / folder
    place.mkdir()
    name = f"{folder[:100]}.ome.tif"
    save_image(place / name, pixels)
    *_, container, finished = run(place, tmp_path / "out")
    assert isinstance(container, ContainerOutcome) and isinstance(finished, RunFinished)
    assert not container.reason and not finished.failed
    made = {"contact_sheet.png", "histograms.png", "report.html"}
    assert {path.name for path in files(tmp_path / "out", "*.png")} | {"report.html"} == made
    (table,) = files(tmp_path / "out", "summary.parquet")
    assert pyarrow.parquet.read_table(table).column("Image_Name").to_pylist() == [name]
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_only_the_images_that_are_shown_get_a_picture(
    pixels: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_TILES", 3)
    (tmp_path / "in").mkdir()
    for n in range(8):
        save_image(tmp_path / "in" / f"{n}.tif", pixels)
    run(tmp_path / "in", tmp_path / "out")
    previews = sorted(path.name for path in (tmp_path / "out" / ".runs").rglob("images/*.png"))
    assert [name.partition(".tif")[0][-1] for name in previews] == ["0", "4", "7"]
    (page,) = files(tmp_path / "out", "report.html")
    assert "3 of 8 images" in page.read_text(encoding="utf-8")

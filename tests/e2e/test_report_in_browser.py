"""The report as a browser shows it: on a phone's width, with its table sorted by clicks, with nothing loaded."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omero_pixclf.demo.images import plate_field
from omero_pixclf.objects.measure import measure
from omero_pixclf.provenance import RunRecord
from omero_pixclf.report.contact_sheet import Thumbnail
from omero_pixclf.report.data import ReportData
from omero_pixclf.report.overlay import draw_overlay
from omero_pixclf.report.report_files import draw_report_files
from omero_pixclf.runs.state.manifest import ManifestEntry
from omero_pixclf.table import Column, Table, concatenate

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium, which is not installed here")

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
COLORS = {"Nucleus": (255, 0, 0)}
WELLS = ("A1", "A2", "A3", "B1")
LONG = "a_very_long_name_without_any_place_to_break_it_" * 4
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--virtual-time-budget=8000", "--dump-dom",
)  # fmt: skip

PROBE = """
<script>
addEventListener("load", () => {
  const table = [...document.querySelectorAll("table.sortable")].at(-1);
  const heads = [...table.tHead.rows[0].cells];
  const click = name => {
    const n = heads.findIndex(h => h.textContent === name);
    heads[n].querySelector("button").click();
    return [heads[n].getAttribute("aria-sort"), ...[...table.tBodies[0].rows].map(row => row.cells[n].textContent)];
  };
  parent.postMessage(JSON.stringify({
    inner: innerWidth, scroll: document.documentElement.scrollWidth,
    overflowing: [...document.querySelectorAll("h1, h2, p, li, dd, figure, .scroll, code")]
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName),
    images: [...document.images].map(i => i.naturalWidth),
    loaded: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
    counts: [click("Nucleus count"), click("Nucleus count")], names: click("Well"),
    small: [...document.querySelectorAll("p, dd, td, figcaption")]
      .filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).length,
  }), "*");
});
</script>
"""
FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe src="report.html" style="width:{}px;height:900px;border:0"></iframe>
<script>addEventListener("message", e => {{
  const out = document.createElement("pre"); out.id = "seen"; out.textContent = e.data; document.body.append(out);
}});</script>"""


def page() -> str:
    """The report of four fields and one failure, with true nuclei as objects."""
    tiles, rows, objects, entries = [], [], [], []
    for n, well in enumerate(WELLS):
        scene = plate_field(well, 9)
        labels = scene.nuclei.astype(np.int32)
        picture = draw_overlay(scene.pixels, {"Nucleus": labels}, COLORS, pixel_um=scene.voxel_um[2])
        tiles.append(Thumbnail(picture, f"{well} · field 9", f"{labels.max()} Nucleus", well))
        objects.append(measure(labels, scene.pixels, None, class_name="Nucleus", dims=2, channels=scene.channels))
        rows.append(Table((
            Column("Image", "image", np.array([n])),
            Column("Image_Name", "string", np.array([LONG if n == 0 else scene.name], object)),
            Column("Well_Name", "string", np.array([well], object)),
            Column("Count_Nucleus", "long", np.array([len(objects[-1])])),
            Column("Area_fraction_Nucleus", "double", np.array([float((labels > 0).mean())])),
        )))  # fmt: skip
        entries.append(ManifestEntry(f"Image:{n}", "Plate:3", scene.name, "done", seconds=1.0))
    entries.append(ManifestEntry("Image:8", "Plate:3", "bad", "failed", f"<b>{LONG}</b>"))
    record = RunRecord("r-1", "", "nuclei", "9f" * 32, "", "n.ilp", "ab" * 32, "1", NOW, NOW, "complete")
    tables = {"summary": concatenate(rows), "objects": concatenate(objects)}
    data = ReportData(record, "Plate:3", LONG, "server", "demo", entries, tables, COLORS, ("Nuclei", ""))
    return draw_report_files(data, tiles)["report.html"].decode()


def seen(folder: Path, width: int) -> dict[str, Any]:
    """What a script within the report sees in a frame of that width."""
    (folder / "frame.html").write_text(FRAME.format(width), encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", (folder / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    (place / "report.html").write_text(page().replace("</body>", PROBE + "</body>"), encoding="utf-8")
    return place


@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_its_screen_shows_all_pictures_and_loads_nothing(folder: Path, width: int) -> None:
    view = seen(folder, width)
    assert view["inner"] == width and view["scroll"] <= width and view["overflowing"] == []
    assert len(view["images"]) == 2 + 3 + len(WELLS) and min(view["images"]) > 200  # plates, histograms, tiles
    assert view["loaded"] == [] and view["small"] == 0


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(folder: Path) -> None:
    view = seen(folder, 800)
    (up, *rising), (down, *falling) = view["counts"]
    numbers = [int(n) for n in rising if n != "–"]
    assert (up, down) == ("ascending", "descending")
    assert len(numbers) == len(WELLS) and numbers == sorted(numbers)
    assert [int(n) for n in falling if n != "–"] == numbers[::-1]
    assert rising[-1] == falling[-1] == "–"  # what has no number stays last
    assert view["names"][1:] == [*WELLS, "–"]

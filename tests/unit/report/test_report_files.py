"""A container's report and the files that go with it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omero_pixclf.errors import OutputError
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.provenance import RunRecord
from omero_pixclf.report import report_files
from omero_pixclf.report.contact_sheet import Thumbnail
from omero_pixclf.report.data import ReportData
from omero_pixclf.report.inline_images import shrink_to_jpeg
from omero_pixclf.report.report_files import draw_report_files, write_report_files
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader
from omero_pixclf.table import Column, Table

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
RECORD = RunRecord(
    "20261121T053012-ab12cd", "", "nuclei", "9f" * 32, "", "n.ilp", "ab" * 32, "0.1.0", NOW, NOW, "complete",
    settings={"objects.threshold": "0.5"},
)  # fmt: skip
NASTY = "</title><script>alert('x')</script> & \"q\""
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, rows of text, and unclosed elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def preview(color: tuple[int, int, int] = (90, 90, 90), size: tuple[int, int] = (480, 480)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


def summary(counts: Mapping[str, int], *, wells: bool = True) -> Table:
    """``{"Image:1": 7}``; wells A1, A2, …"""
    n = len(counts)
    columns = [
        Column("Image", "image", np.array([int(k[6:]) for k in counts])),
        Column("Image_Name", "string", np.array([f"i{k[6:]}" for k in counts], object)),
        Column("Count_Cell_body", "long", np.array(list(counts.values())), description="objects: Cell body"),
        Column("Area_fraction_Cell_body", "double", np.full(n, 0.125)),
        Column("Uncertainty", "double", np.full(n, 0.25)),
    ]
    if wells:
        names = np.array([f"A{i + 1}" for i in range(n)], object)
        columns += [Column("Well_Name", "string", names), Column("Field", "long", np.ones(n, np.int64))]
    return Table(tuple(columns))


def report_data(entries: Sequence[ManifestEntry], tables: Mapping[str, Table], name: str = "Plate one") -> ReportData:
    return ReportData(RECORD, "Plate:3", name, "omero.example.org", "demo", entries, tables, {"Cell body": (255, 0, 0)})


def entry(number: int, state: str = "done", reason: str = "", name: str = "") -> ManifestEntry:
    return ManifestEntry(f"Image:{number}", "Plate:3", name or f"i{number}", state, reason, seconds=1.5)  # type: ignore[arg-type]


def report(report_data: ReportData, tiles: Sequence[Thumbnail]) -> str:
    return draw_report_files(report_data, tiles)["report.html"].decode()


def row_of(page: Page, first: str) -> list[str]:
    (found,) = [r for r in page.rows if r[0] == first]
    return found


def test_the_page_is_whole_and_loads_nothing_from_elsewhere() -> None:
    tables = {"summary": summary({"Image:1": 7, "Image:2": 9})}
    text = report(
        report_data([entry(1), entry(2)], tables), [Thumbnail(preview(), "A1", "7"), Thumbnail(preview(), "A2", "9")]
    )
    page = Page(text)
    assert page.open == []
    assert page.all("link") == [] and all("src" not in s for s in page.all("script"))
    assert all(i["src"].startswith("data:image/") for i in page.all("img"))
    assert "http" not in re.sub(r"data:[^\"]*", "", text) and "url(" not in text and "@import" not in text


def test_the_page_can_be_read_aloud() -> None:
    page = Page(
        report(report_data([entry(1)], {"summary": summary({"Image:1": 7})}), [Thumbnail(preview(), "A1", "7 Cells")])
    )
    assert page.all("html") == [{"lang": "en"}]
    assert all(i["alt"] for i in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) >= 2
    assert all(h["scope"] in ("row", "col") for h in page.all("th"))
    assert all(r["aria-label"] and r["tabindex"] == "0" for r in page.all("div") if r.get("role") == "region")


def test_names_and_reasons_cannot_break_out_of_the_page() -> None:
    entries = [entry(1, name=NASTY), entry(2, "failed", NASTY, NASTY)]
    text = report(report_data(entries, {}, NASTY), [Thumbnail(preview(), NASTY, NASTY)])
    page = Page(text)
    assert page.open == [] and len(page.all("script")) == 1
    assert page.text.count(NASTY) >= 5


@pytest.mark.parametrize("name", ['"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "{{ 7 * 7 }}{% raw %}"])
def test_hostile_names_stay_text_wherever_they_are_shown(name: str) -> None:
    table = summary({"Image:1": 7})
    columns = {c.name: c for c in table.columns}
    table = table.with_column(replace(columns["Count_Cell_body"], description=f"objects: {name}"))
    table = table.with_column(replace(columns["Image_Name"], values=np.array([name], object)))
    hostile = replace(
        report_data([entry(1), entry(2, "failed", name, name)], {"summary": table}, name),
        record=replace(RECORD, recipe=name, project=name, settings={name: name}), container=name, server=name,
        colors={name: (255, 0, 0)}, channels=(name, ""),
    )  # fmt: skip
    page = Page(report(hostile, [Thumbnail(preview(), name, name)]))
    assert page.open == [] and len(page.all("script")) == 1
    assert not any(a.startswith("on") for _, attributes in page.elements for a in attributes)
    assert all(i["src"].startswith("data:image/") for i in page.all("img"))
    assert page.text.count(name) >= 12
    assert any(name in i["alt"] for i in page.all("img"))


def test_it_tells_what_was_run_and_how_to_take_it_back() -> None:
    text = Page(report(report_data([entry(1)], {}), [])).text
    for fact in (
        "nuclei", "n.ilp", "ab" * 32, "9f" * 32, "0.1.0", RECORD.run_id, "omero.example.org", "demo",
        "21 November 2026, 05:30 UTC", "objects.threshold", f"omero-pixclf undo {RECORD.run_id}",
    ):  # fmt: skip
        assert fact in text


def test_off_omero_nothing_is_said_about_undoing() -> None:
    text = Page(report(replace(report_data([entry(1)], {}), server="/results", user=""), [])).text
    assert "undo" not in text and "/results" in text


def test_images_without_results_come_first_with_their_reasons() -> None:
    entries = [entry(1), entry(2, "failed", "bad plane"), entry(3, "refused", "may not annotate"), entry(4, "skipped")]
    page = Page(report(report_data(entries, {"summary": summary({"Image:1": 7})}), []))
    assert page.rows[1:3] == [
        ["i2", "failed", "bad plane", "Image:2"],
        ["i3", "refused", "may not annotate", "Image:3"],
    ]
    assert "2without results" in page.text and "1already had results" in page.text


def test_every_image_has_a_row_also_those_without_results_and_those_of_earlier_runs() -> None:
    entries = [entry(2), entry(1, "failed", "bad plane")]
    page = Page(report(report_data(entries, {"summary": summary({"Image:2": 1234, "Image:9": 5})}), []))
    heads, *images = [r for r in page.rows if len(r) > 4]  # the other tables are narrower
    rows = [dict(zip(heads, row, strict=True)) for row in images]
    assert [(r["Image"], r["Cell body count"], r["State"]) for r in rows] == [
        ("i2", "1,234", "done"), ("i1", "–", "failed"), ("i9", "5", "earlier run"),
    ]  # fmt: skip
    assert rows[0]["Cell body area %"] == "12.5" and rows[0]["Well"] == "A1"


def test_a_plate_has_its_wells_and_a_dataset_has_none() -> None:
    plate = Page(report(report_data([entry(1)], {"summary": summary({"Image:1": 7})}), []))
    assert row_of(plate, "A1") == ["A1", "1", "7.0", "12.5"]
    dataset = Page(report(report_data([entry(1)], {"summary": summary({"Image:1": 7}, wells=False)}), []))
    assert not any(r[0] == "A1" for r in dataset.rows) and "Plate heat map" not in str(dataset.elements)


@pytest.mark.parametrize("tables", [{}, {"summary": Table(()), "objects": Table(())}])
def test_a_container_without_any_results_still_has_its_report(tables: dict[str, Table]) -> None:
    made = draw_report_files(report_data([entry(1, "failed", "bad plane")], tables), [])
    assert set(made) == {"histograms.png", "report.html"}
    assert "bad plane" in made["report.html"].decode()


def test_plates_have_a_heat_map_and_datasets_have_none() -> None:
    tiles = [Thumbnail(preview(), "A1", "7", "A1")]
    always = {"contact_sheet.png", "histograms.png", "report.html"}
    for wells, more in ((True, {"heat_map.png"}), (False, set())):
        made = draw_report_files(report_data([entry(1)], {"summary": summary({"Image:1": 7}, wells=wells)}), tiles)
        assert set(made) == always | more
        assert all(content.startswith(b"\x89PNG") for name, content in made.items() if name.endswith(".png"))


def test_the_page_stays_small_however_many_images_there_are() -> None:
    noisy = np.random.default_rng(1).integers(0, 255, (480, 480, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noisy).save(out, "PNG")
    tiles = [Thumbnail(out.getvalue(), f"t{n}", "") for n in range(96)]
    entries = [entry(n) for n in range(1000)]
    page = report(
        report_data(entries, {"summary": summary({f"Image:{n}": n for n in range(1000)}, wells=False)}), tiles
    )
    assert len(Page(page).all("img")) == 48
    assert "48 of 1000 images" in page
    assert len(page) < 48 * 200_000 + 500_000  # noise: nothing compresses less


def test_a_thumbnail_is_smaller_and_keeps_fine_coloured_lines() -> None:
    picture = Image.new("RGB", (480, 480), (60, 60, 60))
    picture.paste((255, 0, 0), (200, 0, 202, 480))
    out = io.BytesIO()
    picture.save(out, "PNG")
    small = Image.open(io.BytesIO(shrink_to_jpeg(out.getvalue(), height=480)))
    red = small.convert("RGB").getpixel((200, 240))
    assert isinstance(red, tuple) and red[0] > 220 and red[1] < 50
    assert Image.open(io.BytesIO(shrink_to_jpeg(preview(size=(1448, 480)), height=340))).size == (1026, 340)


def image(number: int, well: str | None = None) -> ImageInfo:
    place = ImageLocation("Plate:3", "Plate one", well, 1, 1) if well else ImageLocation("Dataset:3", "Set")
    return ImageInfo(f"Image:{number}", f"i{number}", (1, 1, 8, 8, 2), "uint8", ("DAPI", ""), place=place)


def started(folder: Path) -> RunHeader:
    return RunHeader(RECORD.run_id, {}, "9f", ("Dataset:3",), "omero.example.org", "demo", "now")


def test_of_many_images_only_the_previews_that_are_shown_are_read(tmp_path: Path) -> None:
    images = [image(n) for n in range(1, 201)]
    table = summary({i.key: 7 for i in images}, wells=False)
    with Manifest.create(tmp_path / "run", started(tmp_path)) as manifest:
        manifest.add([ManifestEntry(i.key, "Dataset:3", i.name, "done") for i in images])
        for i in images:
            manifest.preview_path(i.key).write_bytes(preview(size=(60, 60)))
        shown = {round(n * 199 / 95) for n in range(96)}
        for n, i in enumerate(images):
            if n not in shown:
                manifest.preview_path(i.key).write_bytes(b"not to be opened")
        written = write_report_files(manifest, RECORD, images, {"summary": table}, {"Cell body": (255, 0, 0)})
    assert [p.name for p in written] == ["contact_sheet.png", "histograms.png", "report.html"]
    assert all(p.is_file() and tmp_path / "run" in p.parents for p in written)


def test_failed_images_are_not_on_the_sheet_though_a_preview_of_them_lies_there(tmp_path: Path) -> None:
    images = [image(1, "A1"), image(2, "A2")]
    with Manifest.create(tmp_path / "run", started(tmp_path)) as manifest:
        manifest.add([entry(1), entry(2, "failed", "disk full")])
        for i in images:
            manifest.preview_path(i.key).write_bytes(preview())
        tables = {"summary": summary({"Image:1": 7})}
        written = {p.name: p for p in write_report_files(manifest, RECORD, images, tables, {"Cell body": (255, 0, 0)})}
    text = written["report.html"].read_text(encoding="utf-8")
    assert set(written) == {"contact_sheet.png", "heat_map.png", "histograms.png", "report.html"}
    assert "A1 · field 1" in text and "A2 · field 1" not in text and "disk full" in text
    assert "7 Cell body" in text and "DAPI" in text and "channel 2" in text


def broken(*args: Any, **options: Any) -> Any:
    raise RuntimeError("the font is broken")


@pytest.mark.parametrize(
    ("function", "picture"),
    [
        ("draw_contact_sheet", "contact_sheet.png"),
        ("draw_heat_map", "heat_map.png"),
        ("draw_histograms", "histograms.png"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_left_out_and_the_report_says_so(
    function: str, picture: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report_files, function, broken)
    made = draw_report_files(
        report_data([entry(1)], {"summary": summary({"Image:1": 7})}), [Thumbnail(preview(), "A1", "7")]
    )
    everything = {"contact_sheet.png", "heat_map.png", "histograms.png", "report.html"}
    assert set(made) == everything - {picture}
    assert f"{picture}: left out: RuntimeError: the font is broken" in made["report.html"].decode()
    assert picture in caplog.text and "results and tables are not affected" in caplog.text


def test_a_damaged_preview_costs_its_tile_only(tmp_path: Path) -> None:
    images = [image(1, "A1"), image(2, "A2")]
    with Manifest.create(tmp_path / "run", started(tmp_path)) as manifest:
        manifest.add([entry(1), entry(2)])
        manifest.preview_path("Image:1").write_bytes(preview()[:-200])
        manifest.preview_path("Image:2").write_bytes(preview())
        tables = {"summary": summary({"Image:1": 7, "Image:2": 8})}
        written = {p.name: p for p in write_report_files(manifest, RECORD, images, tables, {"Cell body": (255, 0, 0)})}
    assert "contact_sheet.png" in written
    text = written["report.html"].read_text(encoding="utf-8")
    assert "A2 · field 1" in text and "its picture: left out" in text


def test_containers_of_similar_names_have_pictures_of_their_own(tmp_path: Path) -> None:
    names = ("/data/细胞", "/data/核心", f"/{'x' * 90}/a", f"/y{'x' * 90}/a")
    with Manifest.create(tmp_path / "run", started(tmp_path)) as manifest:
        manifest.add([ManifestEntry(f"i{n}", name, "i", "failed", "bad") for n, name in enumerate(names)])
        places = [replace(image(n), key=f"i{n}", place=ImageLocation(name, name)) for n, name in enumerate(names)]
        files = [path for i in places for path in write_report_files(manifest, RECORD, [i], {}, {})]
    assert len(set(files)) == 2 * len(names)


def test_images_of_wells_without_a_position_are_in_the_report_and_the_heat_map_counts_them() -> None:
    wells = summary({"Image:1": 7, "Image:2": 5})
    adrift = replace(wells.columns[-2], values=np.array(["A1", ""], object))
    assert adrift.name == "Well_Name"
    made = draw_report_files(report_data([entry(1), entry(2)], {"summary": wells.with_column(adrift)}), [])
    assert "heat_map.png" in made and '<td data-key="">–</td>' in made["report.html"].decode()
    nowhere = wells.with_column(replace(adrift, values=np.array(["", ""], object)))
    assert "heat_map.png" not in draw_report_files(report_data([entry(1), entry(2)], {"summary": nowhere}), [])


def test_pictures_that_cannot_be_written_are_a_reason_not_a_crash(tmp_path: Path) -> None:
    with Manifest.create(tmp_path / "run", started(tmp_path)) as manifest:
        manifest.add([ManifestEntry("Image:1", "Dataset:3", "i1", "failed", "bad plane")])
        (tmp_path / "run" / "pictures").write_text("in the way")
        with pytest.raises(OutputError, match="pictures"):
            write_report_files(manifest, RECORD, [image(1)], {}, {})

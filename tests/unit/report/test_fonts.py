"""Names of any kind on pictures: drawn as they are, on one line, without warnings, and never the end of a run."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from omero_pixclf.report import fonts
from omero_pixclf.report.contact_sheet import Thumbnail, draw_contact_sheet
from omero_pixclf.report.figures import fit_text
from omero_pixclf.report.fonts import BOX, font_families, shorten_text, text_width, to_drawable
from omero_pixclf.report.heatmap import draw_heat_map
from omero_pixclf.report.histograms import draw_histograms
from omero_pixclf.table import Column, Table

NAMES = [
    "grp_$1_$2",
    "$\\frac{$",
    "new\nline\r\n\ttab\x00\x1b[31m",
    "细胞 セル 세포",
    "🧫🔬 dish ❤️ 👩‍🔬",
    "שלום مرحبا\u202eabc",
    "_starts with an underscore",
    "x" * 5000,
    "",
    " ",
    "caf\udce9",
    "\ue000\U0010fffd",
    "e\u0301 n\u0303" + "\u0301" * 50,
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No test knows the fonts that another has found."""
    caches = (fonts._find_font, fonts._system_fonts, fonts._characters, fonts._register_family)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def with_glyphs(path: Path, characters: str) -> Path:
    """A font file that has squares for some characters."""
    pen = TTGlyphPen(None)
    for at, point in enumerate(((0, 0), (0, 700), (700, 700), (700, 0))):
        (pen.lineTo if at else pen.moveTo)(point)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", *(f"g{ord(c)}" for c in characters)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(c): f"g{ord(c)}" for c in characters})
    made.setupGlyf(dict.fromkeys(names, square))
    made.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)
    return path


def tile(title: str) -> Thumbnail:
    out = io.BytesIO()
    Image.new("RGB", (120, 90), (90, 90, 200)).save(out, "PNG")
    return Thumbnail(out.getvalue(), title, title)


def objects(name: str) -> Table:
    numbers = np.arange(20.0)
    return Table((
        Column("Class", "string", np.full(20, name, object)),
        Column("Area_px", "double", numbers, "px"),
    ))  # fmt: skip


def plate(name: str) -> Table:
    return Table((
        Column("Well_Name", "string", np.array(["A1", "B2"], object)),
        Column("Count_A", "long", np.array([1, 2]), description=f"objects: {name}"),
    ))  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn_everywhere_without_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        sheet = draw_contact_sheet(name, [tile(name)], subtitle=name, classes={name: (255, 0, 0)}, channels=(name, ""))
        distributions = draw_histograms(objects(name), title=name, colors={name: (255, 0, 0)})
        wells = draw_heat_map(plate(name), title=name)
    assert wells is not None
    for picture in (sheet, distributions.picture, wells.picture):
        assert max(Image.open(io.BytesIO(picture)).size) < 4000
    assert not caplog.records


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=())), st.floats(0, 300))  # lone surrogates, too
def test_any_text_is_drawable_and_fits_its_room(text: str, room: float) -> None:
    line = to_drawable(text)
    assert to_drawable(line) == line and len(line.splitlines()) <= 1
    line.encode("utf-8")
    shown = shorten_text(line, room, 17)
    assert shown in (line, "…") or text_width(shown, 17) <= room + 0.01


def test_a_dollar_is_no_formula_and_a_line_break_is_a_space() -> None:
    assert to_drawable("a$x_1$\nb") == "a$x_1$ b"


def test_what_no_font_has_is_a_box_and_what_is_invisible_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    assert to_drawable("细 a\ufe0f\u200db") == f"{BOX} ab"
    assert font_families(to_drawable("细 a")) == ["DejaVu Sans"]


def test_what_a_font_of_the_system_has_is_drawn_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    found = (tmp_path / "broken.ttf", with_glyphs(tmp_path / "squares.ttf", "细胞"))
    monkeypatch.setattr(fonts, "_system_fonts", lambda: found)
    assert to_drawable("细胞核 a") == f"细胞{BOX} a"
    assert len(font_families("细 a")) == 2
    one, other = (draw_contact_sheet(name, [tile("x")]) for name in ("细胞", BOX * 2))
    assert one != other
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [draw_histograms(objects(name), title=name, colors={}).picture for name in ("细胞", BOX * 2)]
    assert drawn[0] != drawn[1]


def test_the_width_of_mixed_scripts_is_the_sum_of_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (with_glyphs(tmp_path / "squares.ttf", "细"),))
    assert text_width("细细", 100) == pytest.approx(160, abs=2)
    assert text_width("a细a", 100) == pytest.approx(2 * text_width("a", 100) + 80, abs=2)


@pytest.mark.parametrize("length", [1, 30, 900])
def test_texts_are_shortened_to_their_room_and_no_more(length: int) -> None:
    text, room = "ab" * length, 200.0
    shown = shorten_text(text, room, 17)
    assert text_width(shown, 17) <= room
    assert (shown == text) == (text_width(text, 17) <= room)
    if shown != text:
        assert text_width(f"{shown[:-1]}ab…", 17) > room


def test_long_titles_of_pages_are_smaller_and_in_the_end_shortened() -> None:
    assert fit_text("short", 5.0, 14.0) == ("short", 14.0)
    line, points = fit_text("rather long " * 5, 5.0, 14.0)
    assert line == ("rather long " * 5) and 7.0 <= points < 14.0
    line, points = fit_text("very long " * 100, 5.0, 14.0)
    assert line.endswith("…") and points == 7.0


@pytest.mark.skipif(os.name != "posix", reason="folders of fonts as on Linux")
def test_fonts_of_the_system_are_those_that_matplotlib_finds() -> None:
    assert all(path.is_absolute() for path in fonts._system_fonts())

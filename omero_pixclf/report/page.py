"""A container's report: one HTML page that needs nothing else, and the pictures that go with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from omero_pixclf.errors import OutputError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.report.contact_sheet import Panel, Tile, contact_sheet
from omero_pixclf.report.data import Account, class_names, mean_fraction, summary_rows, total
from omero_pixclf.report.heatmap import heat_map
from omero_pixclf.report.histograms import histograms
from omero_pixclf.report.markup import definitions, figure, swatch, thumbnail
from omero_pixclf.report.overlay import CHANNEL_COLORS, Color, line_color
from omero_pixclf.report.tables import failure_table, image_table, well_table
from omero_pixclf.runs.drawing_errors import attempt
from omero_pixclf.runs.planning.sampling import MOST_TILES, sampled
from omero_pixclf.runs.state.image_files import key_stem
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.table import Table
from omero_pixclf.text import pluralize, printable

__all__ = ["container_pictures", "picture_files"]

REPORTED_TILES = 48  # and on the page, which is to be sent around
TILE_HEIGHT = 340  # pixels, on the page


def picture_files(
    manifest: Manifest,
    record: RunRecord,
    images: Sequence[ImageInfo],
    tables: Mapping[str, Table],
    colors: Mapping[str, Color],
) -> list[Path]:
    """Draw a container's pictures and report from what its images left on disk, into the run's folder.

    What cannot be drawn is left out; the log and the report say so. Only the previews that are shown are read, so that
    a thousand images need no more memory than a hundred.

    Raises
    ------
    OutputError
        Where the folder cannot be written.
    """
    place, header = images[0].place, manifest.header
    entries = [e for e in manifest.entries() if e.container == place.container]
    done = {e.key for e in entries if e.state == "done"}
    drawn = [i for i in images if i.key in done and manifest.picture(i.key).is_file()]
    shown = [drawn[n] for n in sampled([i.place.well or "" for i in drawn], MOST_TILES)]
    rows = summary_rows(tables["summary"]) if "summary" in tables else {}
    failures: list[str] = []
    made = [_preview(i, manifest.picture(i.key), failures) for i in shown]
    tiles = [
        _tile(i, picture, rows.get(printable(i.key), {}), tables)
        for i, picture in zip(shown, made, strict=True)
        if picture is not None
    ]
    alike = {i.channels for i in drawn}
    channels = alike.pop() if len(alike) == 1 else ()
    account = Account(
        record, place.container, place.name, header.server, header.user, entries, tables, colors, channels, place.plate
    )
    folder = manifest.folder / "pictures" / key_stem(place.container)
    return _written(container_pictures(account, tiles, failures), folder)


def _preview(image: ImageInfo, path: Path, failures: list[str]) -> bytes | None:
    """An image's preview as it lies on disk, if it is whole."""

    def whole() -> bytes:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
        return content

    return attempt(f"{image.name}: its picture", whole, failures)


def _written(contents: Mapping[str, bytes], folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{folder}: pictures cannot be written: {error.strerror}; make room there, or run with --no-contact-sheet"
        ) from error
    return [folder / name for name in contents]


def _tile(image: ImageInfo, picture: bytes, row: Mapping[str, Any], tables: Mapping[str, Table]) -> Tile:
    """An image's preview with its name and counts."""
    place = image.place
    adrift = f"{image.name} · well without row and column" if place.well == "" else image.name
    title = f"{place.well} · field {place.field}" if place.well else adrift
    names = class_names(tables["summary"]) if row else {}
    counts = [f"{row[f'Count_{tag}']:,} {name}" for tag, name in names.items() if row[f"Count_{tag}"] >= 0]
    return Tile(picture, title, ", ".join(counts), place.well or "")


def container_pictures(account: Account, tiles: Sequence[Tile], failures: Sequence[str] = ()) -> dict[str, bytes]:
    """All that is attached to a container besides its tables, as ``{file name: content}``.

    ``contact_sheet.png`` where there are tiles, ``heat_map.png`` for plates, ``histograms.png`` and ``report.html``.
    ``tiles`` are those of at most `MOST_TILES` images. A picture that cannot be drawn is left out; the report says so,
    as it does of the ``failures`` before.
    """
    title, made, missing = account.title, dict[str, bytes](), list(failures)
    if tiles:
        sheet = attempt("contact_sheet.png", lambda: _sheet(account, tiles), missing)
        made |= {"contact_sheet.png": sheet} if sheet else {}
    plate = attempt("heat_map.png", lambda: heat_map(account.summary, title=title, plate=account.plate), missing)
    if plate is not None:
        made["heat_map.png"] = plate.picture
    drawn = attempt("histograms.png", lambda: histograms(account.objects, title=title, colors=account.colors), missing)
    if drawn is not None:
        made["histograms.png"] = drawn.picture
    pictures = Drawn(plate.panels if plate else (), drawn.panels if drawn else (), tiles, missing)
    page = attempt("report.html", lambda: _report(account, pictures).encode("utf-8", "backslashreplace"))
    return made | ({"report.html": page} if page else {})


def _sheet(account: Account, tiles: Sequence[Tile]) -> bytes:
    record, done = account.record, account.count("done")
    which = f"{len(tiles)} of {done} images" if len(tiles) < done else pluralize(done, "image")
    return contact_sheet(
        account.title,
        tiles,
        limit=MOST_TILES,
        subtitle=f"{which} · {record.project} · run {record.run_id} · contrast set for each image",
        classes=account.colors,
        channels=account.channels if any(account.channels) else (),
    )


@dataclass(frozen=True)
class Drawn:
    """The pictures on a report's page: plates, histograms, images with what was found in them; and what is missing."""

    plates: Sequence[Panel]
    histograms: Sequence[Panel]
    tiles: Sequence[Tile]
    missing: Sequence[str] = ()


def _report(account: Account, drawn: Drawn) -> str:
    """The HTML page about a container: readable by itself, on any screen, with nothing loaded from elsewhere."""
    sections = (
        _opening(account),
        _section("Without results", failure_table(account)),
        _section("Pictures that could not be drawn", _missing(drawn.missing)),
        _section("Plate", _panels(drawn.plates), _details("By well", well_table(account))),
        _section("Objects", _panels(drawn.histograms, "panels small")),
        _section("Images and what was found in them", _tiles(account, drawn.tiles)),
        _section("Image by image", image_table(account)),
        _section("How it was made", definitions(_facts(account)), _details("All settings", _settings(account))),
        _section("Taking it back", _undo(account)),
    )
    page = Template(files("omero_pixclf.report").joinpath("report.html").read_text(encoding="utf-8"))
    return page.substitute(title=escape(account.title), content="\n".join(s for s in sections if s))


def _section(title: str, *parts: str) -> str:
    """A headed section; nothing where it has no content."""
    content = "\n".join(p for p in parts if p)
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""


def _opening(account: Account) -> str:
    record = account.record
    about = f"{account.container} · recipe {record.recipe} · {_moment(record.finished or record.started)}"
    done = account.count("done")
    numbers = [(f"{done:,}", "image done" if done == 1 else "images done", "")]
    if account.count("skipped"):
        numbers.append((f"{account.count('skipped'):,}", "stood already", ""))
    if missing := account.count("failed", "refused", "due", "running"):
        numbers.append((f"{missing:,}", "without results", "bad"))
    for tag, name in class_names(account.summary).items():
        numbers.append((f"{total(account.summary, tag):,}", f"{name} objects", ""))
        share = mean_fraction(account.summary, tag)
        if share == share:  # not NaN
            numbers.append((f"{100 * share:.1f} %", f"{name} area, mean", ""))
    items = "".join(f'<li class="{kind}"><b>{escape(n)}</b>{escape(what)}</li>' for n, what, kind in numbers)
    name = escape(account.name or account.container)
    return f'<header><h1>{name}</h1><p class="soft">{escape(about)}</p><ul class="numbers">{items}</ul></header>'


def _missing(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in missing)
    return f"<p>Results and tables are complete without them.</p><ul>{items}</ul>"


def _panels(panels: Sequence[Panel], kind: str = "panels") -> str:
    if not panels:
        return ""
    return f'<div class="{kind}">{"".join(figure(p.picture, p.text) for p in panels)}</div>'


def _tiles(account: Account, tiles: Sequence[Tile]) -> str:
    if not tiles:
        return ""
    chosen = [tiles[n] for n in sampled([t.group for t in tiles], REPORTED_TILES)]
    swatches = [swatch(name, line_color(color), filled=False) for name, color in account.colors.items()]
    if any(account.channels):
        named = [name or f"channel {n + 1}" for n, name in enumerate(account.channels)]
        swatches += [swatch(n, c, filled=True) for n, c in zip(named, CHANNEL_COLORS, strict=False)]
    done = account.count("done")
    which = f"{len(chosen)} of {done} images" if len(chosen) < done else "All images of this run"
    note = f"{which}. Contrast is set for each image; stacks are maximum projections."
    pictures = [
        figure(
            thumbnail(t.picture, side=TILE_HEIGHT),
            f"{t.title}, with the outlines of its objects: {t.caption}",
            title=t.title,
            caption=t.caption,
        )
        for t in chosen
    ]
    return (
        f'<p class="soft">{escape(note)}</p><div class="legend">{"".join(swatches)}</div>'
        f'<div class="tiles">{"".join(pictures)}</div>'
    )


def _facts(account: Account) -> dict[str, str]:
    record = account.record
    facts = {
        "Container": f"{account.container} {account.name}".strip(),
        "Recipe": record.recipe,
        "Recipe hash": record.recipe_hash,
        "Project": record.project,
        "Project SHA-256": record.project_sha256,
        "omero_pixclf": record.version,
        "Run": record.run_id,
        ("Server" if account.user else "Folder"): account.server,
        "User": account.user,
        "Started": _moment(record.started),
        "Finished": _moment(record.finished) if record.finished else "",
    }
    return {key: value for key, value in facts.items() if value}


def _settings(account: Account) -> str:
    return definitions(account.record.settings) if account.record.settings else ""


def _moment(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()


def _undo(account: Account) -> str:
    if not account.user:
        return ""
    command = escape(f"omero-pixclf undo {account.record.run_id}")
    return (
        "<p>This removes exactly what the run wrote, on all its images and containers: ROIs, tables, files, and this "
        "report. What others made, and what other recipes made, stays. Results that this run replaced do not come "
        "back; run the earlier recipe again for them.</p>"
        f"<p><code>{command}</code></p>"
    )

"""Draw and write the files of one container's report: contact sheet, heat map, histograms and HTML page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from omero_pixclf.errors import OutputError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.report.contact_sheet import Thumbnail, draw_contact_sheet
from omero_pixclf.report.data import ReportData, class_names, summary_rows
from omero_pixclf.report.heatmap import draw_heat_map
from omero_pixclf.report.histograms import draw_histograms
from omero_pixclf.report.overlay import Color
from omero_pixclf.report.page import ReportPictures, render_page
from omero_pixclf.runs.drawing_errors import try_drawing
from omero_pixclf.runs.planning.sampling import MAX_TILES, sample_groups
from omero_pixclf.runs.state.image_files import key_to_file_name
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.table import Table
from omero_pixclf.text import pluralize, printable

__all__ = ["draw_report_files", "write_report_files"]


def write_report_files(
    manifest: Manifest,
    record: RunRecord,
    images: Sequence[ImageInfo],
    tables: Mapping[str, Table],
    colors: Mapping[str, Color],
) -> list[Path]:
    """Draw a container's pictures and report from its images' files, and write them into the run's folder.

    A picture that cannot be drawn is left out; the log and the report say so. Only the previews that are shown are
    read, so that a thousand images need no more memory than a hundred.

    Parameters
    ----------
    manifest, record
        The run.
    images
        The container's images; at least one.
    tables
        ``"summary"`` and ``"objects"``; may be missing.
    colors
        Red, green, blue, 0 to 255, for each class.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    place, header = images[0].place, manifest.header
    entries = [e for e in manifest.entries() if e.container == place.container]
    done = {e.key for e in entries if e.state == "done"}
    with_preview = [i for i in images if i.key in done and manifest.preview_path(i.key).is_file()]
    failures: list[str] = []
    thumbnails = _thumbnails(manifest, with_preview, tables, failures)
    channel_names = {i.channels for i in with_preview}
    channels = channel_names.pop() if len(channel_names) == 1 else ()
    data = ReportData(
        record, place.container, place.name, header.server, header.user, entries, tables, colors, channels, place.plate
    )
    folder = manifest.folder / "pictures" / key_to_file_name(place.container)
    return _write_files(draw_report_files(data, thumbnails, failures), folder)


def _thumbnails(
    manifest: Manifest, images: Sequence[ImageInfo], tables: Mapping[str, Table], failures: list[str]
) -> list[Thumbnail]:
    """Read the previews of at most `MAX_TILES` images; damaged ones are left out and reported in ``failures``."""
    shown = [images[n] for n in sample_groups([i.place.well or "" for i in images], MAX_TILES)]
    rows = summary_rows(tables["summary"]) if "summary" in tables else {}
    thumbnails = []
    for image in shown:
        read = partial(_read_preview, manifest.preview_path(image.key))
        picture = try_drawing(f"{image.name}: its picture", read, failures)
        if picture is not None:
            thumbnails.append(_thumbnail(image, picture, rows.get(printable(image.key), {}), tables))
    return thumbnails


def _read_preview(path: Path) -> bytes:
    """Read a picture and decode it once, which raises an exception if it is damaged."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
    return content


def _write_files(contents: Mapping[str, bytes], folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write pictures: {error.strerror}; free some space there, or use --no-contact-sheet"
        ) from error
    return [folder / name for name in contents]


def _thumbnail(image: ImageInfo, picture: bytes, row: Mapping[str, Any], tables: Mapping[str, Table]) -> Thumbnail:
    """An image's preview with its name and counts."""
    place = image.place
    name = f"{image.name} · well without row and column" if place.well == "" else image.name
    title = f"{place.well} · field {place.field}" if place.well else name
    names = class_names(tables["summary"]) if row else {}
    counts = [f"{row[f'Count_{tag}']:,} {name}" for tag, name in names.items() if row[f"Count_{tag}"] >= 0]
    return Thumbnail(picture, title, ", ".join(counts), place.well or "")


def draw_report_files(
    data: ReportData, thumbnails: Sequence[Thumbnail], failures: Sequence[str] = ()
) -> dict[str, bytes]:
    """Draw everything that is attached to a container besides its tables.

    A picture that cannot be drawn is left out; the report says so.

    Parameters
    ----------
    data
        The container.
    thumbnails
        At most `MAX_TILES` of its images.
    failures
        Lines about pictures that were left out before; the report shows them.

    Returns
    -------
    dict
        ``{file name: content}``: ``contact_sheet.png`` if there are thumbnails, ``heat_map.png`` for plates,
        ``histograms.png`` and ``report.html``.
    """
    title, missing = data.title, list(failures)
    contents: dict[str, bytes] = {}
    if thumbnails:
        sheet = try_drawing("contact_sheet.png", lambda: _contact_sheet(data, thumbnails), missing)
        contents |= {"contact_sheet.png": sheet} if sheet else {}
    plate = try_drawing("heat_map.png", lambda: draw_heat_map(data.summary, title=title, plate=data.plate), missing)
    if plate is not None:
        contents["heat_map.png"] = plate.picture
    objects = try_drawing(
        "histograms.png", lambda: draw_histograms(data.objects, title=title, colors=data.colors), missing
    )
    if objects is not None:
        contents["histograms.png"] = objects.picture
    pictures = ReportPictures(plate.panels if plate else (), objects.panels if objects else (), thumbnails, missing)
    page = try_drawing("report.html", lambda: render_page(data, pictures).encode("utf-8", "backslashreplace"))
    return contents | ({"report.html": page} if page else {})


def _contact_sheet(data: ReportData, thumbnails: Sequence[Thumbnail]) -> bytes:
    record, done = data.record, data.count("done")
    which = f"{len(thumbnails)} of {done} images" if len(thumbnails) < done else pluralize(done, "image")
    return draw_contact_sheet(
        data.title,
        thumbnails,
        limit=MAX_TILES,
        subtitle=f"{which} · {record.project} · run {record.run_id} · contrast set for each image",
        classes=data.colors,
        channels=data.channels if any(data.channels) else (),
    )

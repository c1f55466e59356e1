"""The report of one container as one HTML page that loads nothing else, rendered by Jinja2 with autoescape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from omero_pixclf.report.contact_sheet import Thumbnail
from omero_pixclf.report.data import ReportData, class_names, mean_area_fraction, total_count
from omero_pixclf.report.figures import Panel
from omero_pixclf.report.inline_images import InlineImage, inline_image, shrink_to_jpeg
from omero_pixclf.report.overlay import CHANNEL_COLORS, lighten_for_dark_background
from omero_pixclf.report.tables import failure_table, image_table, well_table
from omero_pixclf.runs.planning.sampling import sample_groups

__all__ = ["MOST_THUMBNAILS", "THUMBNAIL_HEIGHT", "ReportPictures", "render_page"]

MOST_THUMBNAILS = 48  # fewer than on a contact sheet: people send the page by mail
THUMBNAIL_HEIGHT = 340  # pixels

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class ReportPictures:
    """The pictures on a report's page.

    Attributes
    ----------
    plates, histograms
        Heat maps and histograms.
    thumbnails
        Images with outlines of their objects.
    missing
        A line for each picture that could not be drawn, with the reason.
    """

    plates: Sequence[Panel]
    histograms: Sequence[Panel]
    thumbnails: Sequence[Thumbnail]
    missing: Sequence[str] = ()


def render_page(data: ReportData, pictures: ReportPictures) -> str:
    """Render the report of a container as HTML; pictures are in the page as data URIs."""
    record = data.record
    return _templates.get_template("report.html").render(
        title=data.title,
        heading=data.name or data.container,
        subtitle=f"{data.container} · recipe {record.recipe} · {_format_time(record.finished or record.started)}",
        numbers=_headline_numbers(data),
        failures=failure_table(data),
        missing=pictures.missing,
        plates=[inline_image(p.picture, p.text) for p in pictures.plates],
        wells=well_table(data),
        histograms=[inline_image(p.picture, p.text) for p in pictures.histograms],
        **_thumbnail_values(data, pictures.thumbnails),
        images=image_table(data),
        provenance=_provenance(data),
        settings=record.settings,
        undo_command=f"omero-pixclf undo {record.run_id}" if data.user else "",
    )


def _headline_numbers(data: ReportData) -> list[tuple[str, str, str]]:
    """The numbers at the top of the page: value, label and CSS class."""
    done = data.count("done")
    numbers = [(f"{done:,}", "image done" if done == 1 else "images done", "")]
    if data.count("skipped"):
        numbers.append((f"{data.count('skipped'):,}", "already had results", ""))
    if missing := data.count("failed", "refused", "due", "running"):
        numbers.append((f"{missing:,}", "without results", "bad"))
    for tag, name in class_names(data.summary).items():
        numbers.append((f"{total_count(data.summary, tag):,}", f"{name} objects", ""))
        fraction = mean_area_fraction(data.summary, tag)
        if fraction == fraction:  # not NaN
            numbers.append((f"{100 * fraction:.1f} %", f"{name} area, mean", ""))
    return numbers


def _thumbnail_values(data: ReportData, thumbnails: Sequence[Thumbnail]) -> dict[str, Any]:
    """The template's values for thumbnails: pictures with titles, a note about their choice, and colour legends."""
    shown = [thumbnails[n] for n in sample_groups([t.group for t in thumbnails], MOST_THUMBNAILS)]
    done = data.count("done")
    which = f"{len(shown)} of {done} images" if len(shown) < done else "All images of this run"
    channels = [name or f"channel {n + 1}" for n, name in enumerate(data.channels)] if any(data.channels) else []
    return {
        "thumbnails": [(_embed_thumbnail(t), t.title, t.caption) for t in shown],
        "thumbnails_note": f"{which}. Contrast is set for each image; stacks are maximum projections.",
        "outlines": [(name, lighten_for_dark_background(color)) for name, color in data.colors.items()],
        "channels": list(zip(channels, CHANNEL_COLORS, strict=False)),
    }


def _embed_thumbnail(thumbnail: Thumbnail) -> InlineImage:
    alt = f"{thumbnail.title}, with the outlines of its objects: {thumbnail.caption}"
    return inline_image(shrink_to_jpeg(thumbnail.picture, height=THUMBNAIL_HEIGHT), alt)


def _provenance(data: ReportData) -> Mapping[str, str]:
    record = data.record
    facts = {
        "Container": f"{data.container} {data.name}".strip(),
        "Recipe": record.recipe,
        "Recipe hash": record.recipe_hash,
        "Project": record.project,
        "Project SHA-256": record.project_sha256,
        "omero_pixclf": record.version,
        "Run": record.run_id,
        ("Server" if data.user else "Folder"): data.server,
        "User": data.user,
        "Started": _format_time(record.started),
        "Finished": _format_time(record.finished) if record.finished else "",
    }
    return {key: value for key, value in facts.items() if value}


def _format_time(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()

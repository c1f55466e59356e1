"""Read export settings from a project file, which ilastik uses unless the command line sets them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from omero_pixclf.errors import ProjectError, UsageError
from omero_pixclf.files.export.image_writer import ExportSettings
from omero_pixclf.files.export.naming import DEFAULT_TEMPLATE
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, read_numbers, read_text
from omero_pixclf.ilastik.safe_hdf5.source import CheckedFile

__all__ = ["export_settings", "log"]

log = logging.getLogger(__name__)

_GROUP = "Prediction Export"


def export_settings(project: Path, given: dict[str, Any]) -> ExportSettings:
    """Return export settings: the given ones, else those stored in the project, else ilastik's defaults.

    A file name template stored in a project is used only if the result stays in the image's folder: a project is
    untrusted and must not choose which files are overwritten.

    Raises
    ------
    ProjectError
        If the stored settings are malformed.
    UsageError
        If settings are invalid.
    """
    stored = _read_stored_settings(project)
    for name, harmless in (("output_filename_format", _stays_in_folder), ("output_internal_path", _is_short)):
        if name in stored and not harmless(stored[name]):
            log.warning(
                "%s: its %s %.80r is ignored: it leaves the image's folder or may become too long",
                project.name,
                name,
                stored[name],
            )
            del stored[name]
    merged = {**stored, **given}
    if "pipeline_result_drange" in given and "export_drange" not in given:
        merged.pop("export_drange", None)
    try:
        return _export(merged)
    except UsageError as error:
        _export(given)  # raises if the user's own settings are invalid
        theirs = ", ".join(sorted(set(stored) - set(given)))
        raise UsageError(f"{error} (from the project's own export settings: {theirs})") from error


def _export(settings: Mapping[str, Any]) -> ExportSettings:
    return replace(ExportSettings(output_format="hdf5"), **settings)


def _stays_in_folder(template: str) -> bool:
    parts = PurePath(template).parts
    return parts[:1] == PurePath(DEFAULT_TEMPLATE).parts[:1] and ".." not in parts and _is_short(template)


def _is_short(template: str) -> bool:
    """Whether a template stays short when filled in: ``{nickname:>999999999}`` does not."""
    return len(template) <= 500 and re.search(r":[^}]*\d{3}", template) is None


def _read_stored_settings(project: Path) -> dict[str, Any]:
    try:
        with project.open("rb") as file:
            root = Hdf5Group.root(project.name, CheckedFile(file.fileno(), project.stat().st_size))
            if not root.has(_GROUP):
                return {}
            group = root.group(_GROUP)
            found = {name: read(group) for name, read in _READERS.items()}
    except OSError as error:
        raise ProjectError(f"{project.name}: cannot be read: {error.strerror}") from error
    return {name: value for name, value in found.items() if value is not None}


def _text(name: str) -> Callable[[Hdf5Group], str | None]:
    return lambda group: (read_text(group, name) or None) if group.has(name) else None


def _pair(low: str, high: str) -> Callable[[Hdf5Group], tuple[float, float] | None]:
    def read(group: Hdf5Group) -> tuple[float, float] | None:
        if not (group.has(low) and group.has(high)):
            return None
        values = [read_numbers(group, n, "iuf").ravel().tolist() for n in (low, high)]
        return (values[0][0], values[1][0]) if all(len(v) == 1 for v in values) else None

    return read


def _cutout_bounds(group: Hdf5Group) -> tuple[tuple[int | None, ...], tuple[int | None, ...]] | None:
    """Read the stored region; -1 stands for an open end."""
    if not (group.has("RegionStart") and group.has("RegionStop")):
        return None
    ends = [read_numbers(group, n, "iuf").ravel().tolist() for n in ("RegionStart", "RegionStop")]
    if not ends[0] or len(ends[0]) != len(ends[1]):
        return None
    start, stop = (tuple(None if v < 0 else int(v) for v in end) for end in ends)
    return start, stop


_READERS: dict[str, Callable[[Hdf5Group], Any]] = {
    "output_format": _text("OutputFormat"),
    "output_filename_format": _text("OutputFilenameFormat"),
    "output_internal_path": _text("OutputInternalPath"),
    "export_dtype": _text("ExportDtype"),
    "output_axis_order": _text("OutputAxisOrder"),
    "pipeline_result_drange": _pair("InputMin", "InputMax"),
    "export_drange": _pair("ExportMin", "ExportMax"),
    "cutout_subregion": _cutout_bounds,
}

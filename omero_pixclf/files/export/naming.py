"""File names of results, made from ilastik's templates."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from omero_pixclf.errors import UsageError

__all__ = ["DEFAULT_TEMPLATE", "SLICE_INDEX", "coordinate_fields", "fill_template", "output_path", "template_fields"]

DEFAULT_TEMPLATE = "{dataset_dir}/{nickname}_{result_type}"
SLICE_INDEX = "slice_index"
"""The field with the number of a file in a sequence; it is filled in when the files are written."""


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Fill in the known fields of a template; other fields stay as they are.

    Raises
    ------
    UsageError
        If braces do not match or a format after a colon does not fit the value.

    Examples
    --------
    >>> fill_template("{nickname}_{x_start:03}_{slice_index}.h5", {"nickname": "a", "x_start": 7})
    'a_007_{slice_index}.h5'
    """
    try:
        return "".join(_fill_field(values, *parsed) for parsed in string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"file name template {template!r}: {error}") from error


def template_fields(template: str) -> set[str]:
    """Return the names of the fields of a template.

    Raises
    ------
    UsageError
        If braces do not match.
    """
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(f"file name template {template!r}: {error}") from error


def _fill_field(values: Mapping[str, Any], text: str, name: str | None, spec: str | None, _: str | None) -> str:
    if name is None:
        return text
    if name in values:
        return text + format(values[name], spec or "")
    return text + "{" + name + (f":{spec}" if spec else "") + "}"


def coordinate_fields(keys: str, start: Sequence[int], stop: Sequence[int]) -> dict[str, Any]:
    """Return the fields for the part of an image that a result covers: ``roi``, ``x_start``, ``x_stop`` and so on.

    Examples
    --------
    >>> coordinate_fields("yx", (0, 2), (5, 9))["roi"]
    [(0, 2), (5, 9)]
    """
    values: dict[str, Any] = {"roi": [tuple(start), tuple(stop)]}
    for key, first, last in zip(keys, start, stop, strict=True):
        values[f"{key}_start"], values[f"{key}_stop"] = first, last
    return values


def output_path(template: str, values: Mapping[str, Any], extension: str, *, folder: Path | None = None) -> Path:
    """Return the path of a result: the filled-in template with the format's extension, relative to ``folder``.

    An extension at the end of the template is replaced by the format's; dots in the image's name stay.
    """
    extended = PurePath(template).suffix
    if extended and "}" not in extended:
        template = template[: -len(extended)]
    written = fill_template(template, values)
    name = Path(os.path.expanduser(written) if template.startswith("~") else written)  # noqa: PTH111 - Path's raises for ~nobody
    path = name if name.is_absolute() else (folder or Path.cwd()) / name
    return path.with_name(f"{path.name}.{extension}")

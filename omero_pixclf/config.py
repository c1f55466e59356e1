"""Recipes: the settings of a run (classifier, objects, output), read from TOML and validated with pydantic.

The keys of a recipe are the same in a TOML file, on the command line and in the OMERO script. A recipe is frozen and
its hash covers everything that changes results, so that two runs with equal hashes on equal pixels are the same run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from omero_pixclf.errors import UsageError
from omero_pixclf.text import expand_home, format_validation_error, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "DEEPEST_TOML",
    "MOST_TOML",
    "MOST_VALUES",
    "RESULT_VERSION",
    "ClassifierSettings",
    "Fraction",
    "ObjectSettings",
    "OutputSettings",
    "Recipe",
    "check_values",
    "default_recipe_name",
    "load_recipe",
    "parse_recipe",
    "parse_size",
    "parse_toml",
    "read_toml",
]

RESULT_VERSION = 1
"""Raised whenever the engine or the objects give other results than before for the same recipe."""

Fraction = Annotated[float, Field(ge=0, le=1)]


MOST_TOML = 100_000
"""Characters of a settings file or annotation that are parsed at all."""

DEEPEST_TOML = 8
"""Levels of tables and arrays; a recipe needs three."""

MOST_VALUES = 500_000
"""Values in one setting, those within lists and tables too."""

_INT64 = 2**63
_LISTS = (list, tuple, set, frozenset)


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassifierSettings(_FrozenModel):
    """Which stored classifier, on which of the image's channels."""

    project: str = Field(
        description="the ilastik project (.ilp): path, FileAnnotation:12, or name of a file attached in OMERO"
    )
    channels: tuple[int | str, ...] | None = Field(
        None, description="image channels in the project's order, by name or 0-based number (default: all)"
    )


class ObjectSettings(_FrozenModel):
    """How probability maps become objects."""

    label: tuple[str, ...] = Field(
        (), description="labels of the project to segment into objects, by name or 1-based number (default: the first)"
    )
    method: Literal["threshold", "hysteresis", "segmentation"] = Field(
        "threshold",
        description="threshold: probability >= threshold; hysteresis: above low, connected to a part above high; "
        "segmentation: the label is the most probable one",
    )
    threshold: Fraction = Field(0.5, description="probability threshold of the method threshold")
    low: Fraction = Field(0.5, description="for hysteresis: the lower threshold, which limits objects")
    high: Fraction = Field(0.8, description="for hysteresis: the upper threshold, which each object must reach")
    smooth: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="sigma in pixels (z, y, x) of a Gaussian filter on the probabilities"
    )
    min_size: int = Field(10, ge=0, description="size of the smallest object, in pixels (voxels in 3D)")
    max_size: int | None = Field(None, ge=1, description="size of the largest object, in pixels (voxels in 3D)")
    connectivity: Literal[4, 6, 8, 26] | None = Field(
        None, description="neighbours of a pixel: 4 or 8 in 2D, 6 or 26 in 3D (default: 4 and 6, as ilastik)"
    )
    dims: Literal["auto", "2d", "3d"] = Field(
        "auto", description="objects in each plane or through z (auto: through z if there are several planes)"
    )
    split: Literal["none", "distance", "probability"] = Field(
        "none", description="split touching objects by a watershed on the distance or the probability map"
    )
    fill_holes: bool = Field(False, description="fill holes in objects")
    border: Literal["keep", "remove"] = Field(
        "keep", description="keep or remove objects at the image's border in y or x"
    )

    @field_validator("label", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        listed = list(value) if isinstance(value, (list, tuple)) else [value]
        return tuple(str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in listed)

    @field_validator("smooth", mode="before")
    @classmethod
    def _same_for_all_axes(cls, value: Any) -> Any:
        return (value,) * 3 if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _consistent(self) -> ObjectSettings:
        if self.method == "hysteresis" and self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")
        if self.max_size is not None and self.max_size < self.min_size:
            raise ValueError(f"max_size ({self.max_size}) is below min_size ({self.min_size})")
        if any(s < 0 for s in self.smooth):
            raise ValueError(f"smooth: sigmas must not be negative, found {self.smooth}")
        return self


class OutputSettings(_FrozenModel):
    """What is written."""

    rois: Literal["auto", "polygon", "mask", "labels", "none"] = Field(
        "auto",
        description="store objects as ROIs or as a label image (labels); auto: polygons for up to roi_budget objects "
        "per image, masks for up to ten times as many, otherwise a label image",
    )
    roi_budget: int = Field(
        2000, ge=1, description="for auto: maximum number of objects per image that are stored as polygons"
    )
    simplify: float = Field(0.0, ge=0, le=0.5, description="largest distance of polygons from the outline, in pixels")
    min_hole: int = Field(
        10, ge=0, description="size of the smallest hole in polygons, in pixels; measurements and masks keep all holes"
    )
    probabilities: Literal["none", "attachment", "ome-tiff", "image", "zarr"] = Field(
        "none",
        description="store the probability map as HDF5 or OME-TIFF attachment, new OMERO image, or OME-Zarr folder",
    )
    segmentation: Literal["none", "attachment", "ome-tiff", "image", "zarr"] = Field(
        "none", description="store the simple segmentation, in the same formats"
    )
    labels: Literal["none", "attachment", "ome-tiff", "image", "zarr"] = Field(
        "none", description="store the objects as a label image, in the same formats"
    )
    table: bool = Field(True, description="write summary and object tables to the container")
    contact_sheet: bool = Field(True, description="attach a contact sheet, figures and a report to the container")


class Recipe(_FrozenModel):
    """What to do with an image: classifier, objects, output; its name says which results replace which."""

    name: str = Field(
        "", description="name of the recipe; results replace earlier ones of that name (default: the .ilp's)"
    )
    classifier: ClassifierSettings
    objects: ObjectSettings = ObjectSettings()
    output: OutputSettings = OutputSettings()

    @field_validator("name", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return printable(value) if isinstance(value, str) else value

    @property
    def title(self) -> str:
        """What the recipe is called; one without a name is called after its project, once `called_after` says how."""
        return self.name or default_recipe_name(self.classifier.project)

    def called_after(self, project_file: str) -> Recipe:
        """The same recipe, its name being its own or else that of the project's file, however that was named.

        Every door asks this before it looks for results: those of one title replace each other.
        """
        return self if self.name else self.model_copy(update={"name": default_recipe_name(project_file)})

    def hash(self, project_sha256: str, axes: str | None = None) -> str:
        """SHA-256 over everything that changes results: project bytes, settings, the engine's result version.

        ``axes`` is how image files are read (``"zyxc"``); None where the files themselves say it.
        """
        settings = self.model_dump(mode="json")
        settings["classifier"].pop("project")  # its bytes count, not where they lie
        settings.pop("name")
        content = {"project": project_sha256, "version": RESULT_VERSION, **settings}
        if axes is not None:  # absent otherwise: results of versions that left it out still count
            content["axes"] = axes
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def flat(self) -> dict[str, str]:
        """Settings as ``{"objects.threshold": "0.5", …}``, for people to read; those left at None are not shown."""
        dump = self.model_dump(mode="json")
        return {
            f"{section}.{key}": printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))
            for section in ("classifier", "objects", "output")
            for key, value in dump[section].items()
            if value is not None
        }


def default_recipe_name(project_file: str) -> str:
    """What a recipe without a name is called: its project's file name without the ending.

    >>> default_recipe_name("projects/nuclei.ilp")
    'nuclei'
    """
    return printable(Path(project_file).stem or project_file)


def load_recipe(path: Path | None, changes: Mapping[str, Any]) -> Recipe:
    """A recipe from a TOML file, with single keys changed (``{"objects.threshold": 0.6}``), or from the keys alone.

    Raises
    ------
    UsageError
        Where the file cannot be read or parsed, or a key is unknown or has a bad value; says which, and where.
    """
    content = _recipe_file(path) if path else {}
    for dotted, value in changes.items():
        section, _, key = dotted.rpartition(".")
        target = content.setdefault(section, {}) if section else content
        target[key] = value
    classifier = content.get("classifier")
    if isinstance(classifier, dict) and isinstance(project := classifier.get("project"), str):
        classifier["project"] = expand_home(project)
    return parse_recipe(content, str(path) if path else "recipe")


def parse_recipe(content: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain data; ``where`` it comes from, for messages.

    Raises
    ------
    UsageError
        Where there is no project, or a key is unknown or has a bad value; says which.
    """
    check_values(content, where)
    classifier = content.get("classifier", {})
    if isinstance(classifier, Mapping) and not classifier.get("project"):
        raise UsageError(f"{where}: no classifier; give the .ilp with --project or as project under [classifier]")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UsageError(format_validation_error(error, Recipe, where)) from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The content of a TOML document, also of a hostile one; ``where`` it comes from, for messages.

    Raises
    ------
    UsageError
        Where it is no TOML, longer than `MOST_TOML` characters, nested deeper than `DEEPEST_TOML` levels, or has a
        number that TOML does not allow (beyond 64 bits, not finite).
    """
    if len(text) > MOST_TOML:
        raise UsageError(f"{where}: {len(text)} characters, expected at most {MOST_TOML}; is this the right text?")
    try:
        content: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise UsageError(f"{where}: not TOML: nested too deeply") from None
    except (ValueError, OverflowError) as error:  # TOMLDecodeError is a ValueError; so are numbers of 5000 digits
        raise UsageError(f"{where}: not TOML: {error}") from error
    check_values(content, where)
    return content


def check_values(value: Any, where: str) -> None:
    """Refuse what no setting can be: deep nesting, very many values, numbers that other code cannot hold.

    Raises
    ------
    UsageError
        Says which of these, and ``where``.
    """
    waiting, seen = [(value, 0)], 0
    while waiting:  # without recursion, and not without end: clients can send lists that hold one another
        one, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST_TOML:
            raise UsageError(f"{where}: nested deeper than {DEEPEST_TOML} levels; a recipe has three")
        if seen > MOST_VALUES:
            raise UsageError(f"{where}: more than {MOST_VALUES} values; name fewer")
        _check_number(one, where)
        inner = one.values() if isinstance(one, Mapping) else one if isinstance(one, _LISTS) else ()
        waiting += [(each, depth + 1) for each in inner]


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise UsageError(f"{where}: a number of {value.bit_length()} bits; numbers have at most 64")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: {value} is no number that a setting can have; write a finite one")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises
    ------
    UsageError
        Where it cannot be read or parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # UnicodeDecodeError, and names with a NUL
        reason = getattr(error, "strerror", None) or f"not UTF-8: {error}; save it as UTF-8"
        raise UsageError(f"{path}: cannot be read: {reason}") from error
    return parse_toml(text, str(path))


def _recipe_file(path: Path) -> dict[str, Any]:
    content = read_toml(path)
    classifier = content.get("classifier", {})
    project = classifier.get("project") if isinstance(classifier, dict) else None
    if isinstance(project, str) and ":" not in project and (path.parent / project).is_file():
        content["classifier"]["project"] = str(path.parent / project)  # relative to the recipe, as people mean it
    return content


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Bytes of ``"2G"``, ``"500M"``, ``"1.5 GiB"``.

    Raises
    ------
    UsageError
        Where the text is not a size.

    >>> parse_size("2G")
    2147483648
    """
    match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{text[:40]!r} is not a size; write 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2].upper()])

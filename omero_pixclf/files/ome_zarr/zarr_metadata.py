"""OME-Zarr metadata as typed objects: images, plates, wells and channels, validated by the models of yaozarrs.

The models of yaozarrs follow versions 0.4 and 0.5 to the letter. Real stores leave fields out, and versions 0.1 to 0.3
do not have some, so fields that reading does not need are optional here. `find_violation` says what the full models
find.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from yaozarrs import v04, v05

from omero_pixclf.errors import ImageError

__all__ = [
    "Acquisition",
    "AxisEntry",
    "ChannelList",
    "Dataset",
    "Multiscale",
    "OtherTransformation",
    "PlateEntry",
    "PlateWell",
    "Transformation",
    "WellEntry",
    "find_violation",
    "parse_metadata",
]

_MOST = 10_000  # rows or columns: more than any plate has
_SPECIFIED: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "multiscales": (v04.Image, v05.Image),
    "plate": (v04.Plate, v05.Plate),
    "well": (v04.Well, v05.Well),
}

# A unit that OME-Zarr does not recommend is a warning of yaozarrs. Reading takes any unit.
warnings.filterwarnings("ignore", message=r"Warning: (Space|Time) axis unit", module="pydantic")

_Model = TypeVar("_Model", bound=BaseModel)


class _Entry(BaseModel):
    """A part of the metadata; fields that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class OtherTransformation(_Entry):
    """A transformation that changes no pixel size: ``identity``, or a scale that is stored in an array."""

    type: str = ""


def _transformation_kind(found: Any) -> str:
    kind = found.get("type") if isinstance(found, Mapping) else None
    return kind if kind in ("scale", "translation") and kind in found else "other"


Transformation = Annotated[
    Annotated[v04.ScaleTransformation, Tag("scale")]
    | Annotated[v04.TranslationTransformation, Tag("translation")]
    | Annotated[OtherTransformation, Tag("other")],
    Discriminator(_transformation_kind),
]


class AxisEntry(_Entry):
    """An axis of an image; versions before 0.4 have only names."""

    name: str
    type: str | None = None
    unit: str | None = None


class _Scaled(_Entry):
    coordinateTransformations: tuple[Transformation, ...] | None = None  # noqa: N815 - OME-Zarr's name

    def scale(self, count: int) -> tuple[float, ...] | None:
        """Return the size of a pixel along each of ``count`` axes; None if no scale is given for these axes."""
        steps = self.coordinateTransformations or ()
        scales = (tuple(step.scale) for step in steps if isinstance(step, v04.ScaleTransformation))
        return next((scale for scale in scales if len(scale) == count), None)


class Dataset(_Scaled):
    """One resolution of an image: the name of its array in the group."""

    path: str


class Multiscale(_Scaled):
    """An image: its axes and its resolutions, the largest first."""

    axes: tuple[AxisEntry | str, ...] = ("t", "c", "z", "y", "x")
    datasets: tuple[Dataset, ...] = Field(min_length=1)

    @property
    def axis_entries(self) -> tuple[AxisEntry, ...]:
        """The axes in order, also if the store has only their names."""
        return tuple(AxisEntry(name=axis) if isinstance(axis, str) else axis for axis in self.axes)


class _Channel(_Entry):
    label: str | None = None


class ChannelList(_Entry):
    """The part ``omero`` of the metadata: settings for viewers, of which only the names are read."""

    channels: tuple[_Channel, ...] = ()


class _Named(_Entry):
    name: str


class Acquisition(_Entry):
    """An acquisition of a plate."""

    id: int
    name: str | None = None


class PlateWell(_Entry):
    """A well of a plate: the name of its group, and its row and column from 0, which version 0.4 introduced."""

    path: str
    rowIndex: Annotated[int, Field(ge=0, lt=_MOST)] | None = None  # noqa: N815 - OME-Zarr's name
    columnIndex: Annotated[int, Field(ge=0, lt=_MOST)] | None = None  # noqa: N815 - OME-Zarr's name


class PlateEntry(_Entry):
    """A plate: names of its rows and columns, and its wells."""

    name: str | None = None
    rows: tuple[_Named, ...] = ()
    columns: tuple[_Named, ...] = ()
    wells: tuple[PlateWell, ...] = ()
    acquisitions: tuple[Acquisition, ...] | None = None


class _FieldOfView(_Entry):
    path: str
    acquisition: int | None = None


class WellEntry(_Entry):
    """A well: its fields of view."""

    images: tuple[_FieldOfView, ...] = ()


def parse_metadata(model: type[_Model], found: object, where: str) -> _Model:
    """Validate a part of the metadata.

    Raises
    ------
    ImageError
        If a field is missing or of another type. The message names ``where`` it was found and the field.
    """
    try:
        return model.model_validate(found)
    except (ValidationError, RecursionError) as error:
        raise ImageError(
            f"{where}: its OME-Zarr metadata cannot be read: {_describe(error)}; export the store again"
        ) from error


def _describe(error: ValidationError | RecursionError) -> str:
    """Return the first problem of a validation: the field and what was expected."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{'.'.join(map(str, problems[0]['loc']))}: {problems[0]['msg'].splitlines()[0]}{more}"


def find_violation(attributes: Mapping[str, Any]) -> str:
    """Return what the attributes of a group have that version 0.4 or 0.5 does not allow; "" if they are valid.

    Attributes of other versions, and of groups that are no image, plate or well, are not looked at.

    Examples
    --------
    >>> image = {"multiscales": [{"version": "0.4", "axes": [{"name": "y", "type": "space"}], "datasets": []}]}
    >>> find_violation(image).startswith("not valid OME-Zarr 0.4: multiscales")
    True
    """
    for key, models in _SPECIFIED.items():
        part = attributes.get(key)
        first = part[0] if isinstance(part, list) and part else part
        version = attributes.get("version") or (first.get("version") if isinstance(first, Mapping) else None)
        if version not in ("0.4", "0.5"):
            continue
        try:
            models[version == "0.5"].model_validate(attributes)
        except (ValidationError, RecursionError) as error:
            return f"not valid OME-Zarr {version}: {_describe(error)}"
    return ""

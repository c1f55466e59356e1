"""Form of the OMERO script: its parameters, generated from the model of a recipe, and the parsing of its values.

OMERO.web shows the name of a parameter with spaces for underscores, sorts by ``grouping`` ("06" with its children
"06.01"), and fills in ``Data_Type`` and ``IDs`` from the selected objects.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from omero import scripts
from omero.rtypes import rdouble, rlong, rstring
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from omero_pixclf.config import (
    ClassifierSettings,
    ObjectSettings,
    OutputSettings,
    Recipe,
    check_values,
    default_recipe_name,
    load_recipe,
)
from omero_pixclf.connector.recipe_annotations import parse_project_name
from omero_pixclf.errors import UsageError
from omero_pixclf.image import parse_id

__all__ = [
    "HERE",
    "KINDS",
    "QUEUE",
    "ScriptRequest",
    "form_parameters",
    "list_choices",
    "parameter_name",
    "parse_form",
    "use_form_names",
]

KINDS = ("Image", "Dataset", "Project", "Well", "Plate", "Screen")
HERE, QUEUE = "Here and now", "Queue for the service"
_DEFAULT_MOST_IMAGES, _MAX_MOST_IMAGES = 50, 10_000
_MAX_CHOICES = 500

_SECTIONS: dict[str, type[BaseModel]] = {
    "classifier": ClassifierSettings,
    "objects": ObjectSettings,
    "output": OutputSettings,
}
# section: grouping, name and description of the tick box above its keys
_GROUPS = {
    "objects": ("06", "Object_Settings", "Segmentation of objects. Not ticked: default settings."),
    "output": ("07", "Result_Settings", "Results to write. Not ticked: default settings."),
}
# Names of parameters for keys whose own name would be unclear in a form
_NAMES = {"objects.dims": "Dimensions", "output.rois": "ROIs", "output.roi_budget": "ROI_Budget",
         "output.labels": "Label_Images", "output.table": "Tables"}  # fmt: skip
_CHOOSE = "choose one"
_T = TypeVar("_T")
_UNSET = "default"
_FOLDERS_ONLY = {"zarr"}


@dataclass(frozen=True)
class ScriptRequest:
    """The values of a form.

    Attributes
    ----------
    targets
        ``("Plate:3",)`` or ``("Image:5", "Image:6")``.
    queue
        Queue a request for the watcher instead of processing the images in the script.
    most_images
        Largest number of images to process in the script.
    repeat
        Reprocess images that already have results.
    """

    targets: tuple[str, ...]
    recipe: Recipe
    queue: bool
    most_images: int
    repeat: bool


def list_choices(attached: Iterable[tuple[int, str, str]]) -> list[str]:
    """Return the choices of the parameter Classifier, from (FileAnnotation id, file name, container).

    >>> list_choices([(12, "nuclei.ilp", "Plate:3"), (12, "nuclei.ilp", "Plate:4"), (7, "cells.ilp", "Dataset:1")])
    ['nuclei.ilp (FileAnnotation:12, on Plate:3 …)', 'cells.ilp (FileAnnotation:7, on Dataset:1)']
    """
    holders: dict[tuple[int, str], list[str]] = {}
    for ident, name, container in attached:
        holders.setdefault((ident, name), []).append(container)
    return [
        f"{name} (FileAnnotation:{ident}, on {on[0]}{' …' if len(on) > 1 else ''})"
        for (ident, name), on in list(holders.items())[:_MAX_CHOICES]
    ]


def _parse_choice(text: str) -> dict[str, str]:
    """Return the recipe's project and name for a choice, for ``FileAnnotation:12`` or for the name of an attached file.

    Raises
    ------
    UsageError
        For a path: the script must not read files on the server's disk for its users.
    """
    name, marker, tail = text.strip().rpartition(" (FileAnnotation:")
    number = tail.partition(",")[0]
    if not marker or parse_id(number) is None:
        return {"classifier.project": parse_project_name(text.strip())}
    return {"classifier.project": f"FileAnnotation:{number}", "name": default_recipe_name(name)}


def form_parameters(classifiers: Sequence[str]) -> list[scripts.Type]:
    """Return the parameters of the script; ``classifiers`` are those of `list_choices`."""
    shown = [_CHOOSE, *classifiers] if len(classifiers) > 1 else list(classifiers)
    return [
        scripts.String("Data_Type", optional=False, grouping="01", values=[rstring(k) for k in KINDS], default="Image",
                       description="Kind of the objects"),
        scripts.List("IDs", optional=False, grouping="02",
                     description="IDs of images, or of objects that contain images").ofType(rlong(0)),
        scripts.String("Classifier", optional=not shown, grouping="03", **({"values": shown} if shown else {}),
                       description="A trained ilastik project (.ilp) that is attached to an image, dataset, "
                       "project, plate or screen that you can see"),
        scripts.String("Recipe_Name", grouping="04", description=Recipe.model_fields["name"].description),
        *_section_parameters("classifier", "05"),
        *(p for section in _GROUPS for p in _group_parameters(section)),
        scripts.String("Run", optional=False, grouping="08", values=[HERE, QUEUE], default=HERE,
                       description=f"'{HERE}': process the images in this script. '{QUEUE}': let the watcher do it"),
        scripts.Long("Most_Images", optional=False, grouping="08.1",
                     default=_DEFAULT_MOST_IMAGES, min=1, max=_MAX_MOST_IMAGES,
                     description=f"Limit for '{HERE}': with more images, nothing is processed"),
        scripts.Bool("Repeat", grouping="08.2", default=False,
                     description=f"'{HERE}': reprocess images that already have results"),
    ]  # fmt: skip


def use_form_names(text: str) -> str:
    """Replace the names of command-line options in a message by the names of the form's parameters.

    >>> use_form_names("Image:51 has 3; choose with --channels, or a smaller --roi-budget")
    'Image:51 has 3; choose with Channels, or a smaller ROI Budget'
    """
    named = {key.replace("_", "-"): parameter_name(section, key) for section in _SECTIONS for key, _ in _keys(section)}
    return re.sub(r"--([a-z][a-z-]*[a-z])", lambda m: named.get(m[1], m[0]).replace("_", " "), text)


def _group_parameters(section: str) -> Iterator[scripts.Type]:
    grouping, title, text = _GROUPS[section]
    yield scripts.Bool(title, grouping=grouping, default=True, description=text)
    yield from _section_parameters(section, f"{grouping}.")


def _section_parameters(section: str, grouping: str) -> Iterator[scripts.Type]:
    for number, (key, field) in enumerate(_keys(section), 1):
        place = f"{grouping}{number:02}" if grouping.endswith(".") else grouping
        yield _parameter(parameter_name(section, key), field, place)


def _keys(section: str) -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over the keys of a section, except the project, which has its own parameter."""
    for key, field in _SECTIONS[section].model_fields.items():
        if (section, key) != ("classifier", "project"):
            yield key, field


def parameter_name(section: str, key: str) -> str:
    """Return the name of the parameter for a key of a recipe.

    >>> parameter_name("objects", "min_size"), parameter_name("output", "rois")
    ('Min_Size', 'ROIs')
    """
    return _NAMES.get(f"{section}.{key}") or key.title()


def _parameter(name: str, field: FieldInfo, grouping: str) -> scripts.Type:
    """Create a parameter with the type, choices, limits, default and description of a key."""
    options: dict[str, Any] = {"grouping": grouping, "description": field.description}
    annotation = _without_none(field.annotation)
    if typing.get_origin(annotation) is tuple:
        one = rdouble(0.0) if float in typing.get_args(annotation) else rstring("")
        return scripts.List(name, **options).ofType(one)
    if typing.get_origin(annotation) is Literal:
        values = [str(v) for v in typing.get_args(annotation) if v not in _FOLDERS_ONLY]
        if field.default is None:
            values.insert(0, _UNSET)
        return scripts.String(
            name, values=values, default=_UNSET if field.default is None else field.default, **options
        )
    limits = {side: getattr(m, at) for m in field.metadata for side, at in _LIMITS.items() if hasattr(m, at)}
    return _SIMPLE[annotation](name, default=field.default, **limits, **options)


_LIMITS = {"min": "ge", "max": "le"}
_SIMPLE = {bool: scripts.Bool, int: scripts.Long, float: scripts.Double}


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def parse_form(inputs: Mapping[str, Any]) -> ScriptRequest:
    """Parse the values of a form, given by parameter name.

    Raises
    ------
    UsageError
        If a value is missing or invalid, or values contradict each other.
    """
    for given, value in inputs.items():
        check_values(value, given[:40].replace("_", " "))
    kind, idents = _get(inputs, "Data_Type", str, ""), _get(inputs, "IDs", list, [])
    if kind not in KINDS:
        raise UsageError(f"Data Type: expected one of {', '.join(KINDS)}, found {kind[:40]!r}")
    if not idents:
        raise UsageError(f"no {kind} is selected. Select objects before you open the script, or enter their IDs")
    if any(parse_id(str(i)) is None for i in idents):
        raise UsageError(f"IDs: expected numbers of {kind}s, such as 51")
    classifier = _get(inputs, "Classifier", str, _CHOOSE)
    if classifier in ("", _CHOOSE):
        raise UsageError("no classifier is chosen. Attach a trained .ilp to a dataset or plate to have it in the list")
    changes: dict[str, Any] = _parse_choice(classifier)
    name = _get(inputs, "Recipe_Name", str, "").strip()
    if name:
        changes["name"] = name
    for section in _SECTIONS:
        if section not in _GROUPS or inputs.get(_GROUPS[section][1], True):
            changes.update(_section_values(section, inputs))
    return ScriptRequest(
        tuple(dict.fromkeys(f"{kind}:{i}" for i in idents)),
        load_recipe(None, changes),
        inputs.get("Run", HERE) == QUEUE,
        _most_images(inputs),
        bool(inputs.get("Repeat", False)),
    )


def _get(inputs: Mapping[str, Any], name: str, kind: type[_T], default: _T) -> _T:
    """Return a value of the form after checking its type: clients other than OMERO.web may send any."""
    value = inputs.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"{name.replace('_', ' ')}: expected a {kind.__name__}, found {str(value)[:40]!r}")
    return value


def _most_images(inputs: Mapping[str, Any]) -> int:
    """Return the largest number of images: only OMERO.web enforces the limits of the form."""
    most = _get(inputs, "Most_Images", int, _DEFAULT_MOST_IMAGES)
    if not 1 <= most <= _MAX_MOST_IMAGES:
        raise UsageError(f"Most Images: expected a number from 1 to {_MAX_MOST_IMAGES}, found {most}")
    return most


def _section_values(section: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, field in _keys(section):
        value = inputs.get(parameter_name(section, key))
        if value not in (None, _UNSET, "", []):
            yield f"{section}.{key}", _convert(value, _without_none(field.annotation))


def _convert(value: Any, annotation: Any) -> Any:
    """Convert a form's value for the model: numbers among texts, one number for all axes, choices that are numbers."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return next((v for v in arguments if str(v) == value), value)
    if typing.get_origin(annotation) is not tuple or not isinstance(value, (list, tuple)):
        return value
    if float in arguments:
        return value[0] if len(value) == 1 else tuple(value)
    texts = [v.strip() for v in map(str, value) if v.strip()]
    numbered = any(a is int or int in typing.get_args(a) for a in arguments)
    return tuple(int(v) if numbered and parse_id(v) is not None else v for v in texts)

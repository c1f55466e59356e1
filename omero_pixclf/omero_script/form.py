"""The OMERO script's form: its parameters, made from the recipe's own model, and the way back from what was filled in.

OMERO.web shows a parameter's name with spaces for underscores, orders by ``grouping`` ("06" with its children "06.01"),
and fills in ``Data_Type`` and ``IDs`` from what is selected.
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

__all__ = ["HERE", "KINDS", "QUEUE", "Order", "choices", "in_form", "key_name", "order_of", "parameters"]

KINDS = ("Image", "Dataset", "Project", "Well", "Plate", "Screen")
HERE, QUEUE = "Here and now", "Queue for the service"
MOST_IMAGES, LIMIT = 50, 10_000
MOST_CHOICES = 500

SECTIONS: dict[str, type[BaseModel]] = {
    "classifier": ClassifierSettings,
    "objects": ObjectSettings,
    "output": OutputSettings,
}
# section: grouping, tick box above its keys, what that says
GROUPS = {
    "objects": ("06", "Object_Settings", "How probabilities become objects. Not ticked: the defaults."),
    "output": ("07", "Result_Settings", "What is written. Not ticked: the defaults."),
}
# What a key's own name would not say in a form
NAMES = {"objects.dims": "Dimensions", "output.rois": "ROIs", "output.roi_budget": "ROI_Budget",
         "output.labels": "Label_Images", "output.table": "Tables"}  # fmt: skip
CHOOSE = "choose one"
T = TypeVar("T")
UNSET = "default"
FOLDERS_ONLY = {"zarr"}


@dataclass(frozen=True)
class Order:
    """What a filled-in form asks for.

    Attributes
    ----------
    targets
        ``("Plate:3",)`` or ``("Image:5", "Image:6")``.
    queue
        Leave it to the watcher service.
    most_images
        How many images may be worked on here and now.
    repeat
        Also do again what stands already.
    """

    targets: tuple[str, ...]
    recipe: Recipe
    queue: bool
    most_images: int
    repeat: bool


def choices(attached: Iterable[tuple[int, str, str]]) -> list[str]:
    """The entries of the list of classifiers, from (FileAnnotation id, file name, container).

    >>> choices([(12, "nuclei.ilp", "Plate:3"), (12, "nuclei.ilp", "Plate:4"), (7, "cells.ilp", "Dataset:1")])
    ['nuclei.ilp (FileAnnotation:12, on Plate:3 …)', 'cells.ilp (FileAnnotation:7, on Dataset:1)']
    """
    holders: dict[tuple[int, str], list[str]] = {}
    for ident, name, container in attached:
        holders.setdefault((ident, name), []).append(container)
    return [
        f"{name} (FileAnnotation:{ident}, on {on[0]}{' …' if len(on) > 1 else ''})"
        for (ident, name), on in list(holders.items())[:MOST_CHOICES]
    ]


def _chosen(text: str) -> dict[str, str]:
    """The recipe's project and name by a list's entry, by ``FileAnnotation:12`` or by the name of an attached file.

    Raises
    ------
    UsageError
        For a path: the script must not read files of the server's own disk for its users.
    """
    name, marker, tail = text.strip().rpartition(" (FileAnnotation:")
    number = tail.partition(",")[0]
    if not marker or parse_id(number) is None:
        return {"classifier.project": parse_project_name(text.strip())}
    return {"classifier.project": f"FileAnnotation:{number}", "name": default_recipe_name(name)}


def parameters(classifiers: Sequence[str]) -> list[scripts.Type]:
    """The script's parameters; ``classifiers`` are the entries of `choices`."""
    shown = [CHOOSE, *classifiers] if len(classifiers) > 1 else list(classifiers)
    return [
        scripts.String("Data_Type", optional=False, grouping="01", values=[rstring(k) for k in KINDS], default="Image",
                       description="What the IDs are of"),
        scripts.List("IDs", optional=False, grouping="02", description="Images, or what holds them").ofType(rlong(0)),
        scripts.String("Classifier", optional=not shown, grouping="03", **({"values": shown} if shown else {}),
                       description="A trained ilastik project: the .ilp files that are attached to images, datasets, "
                       "projects, plates or screens that you can see"),
        scripts.String("Recipe_Name", grouping="04", description=Recipe.model_fields["name"].description),
        *_section("classifier", "05"),
        *(p for section in GROUPS for p in _group(section)),
        scripts.String("Run", optional=False, grouping="08", values=[HERE, QUEUE], default=HERE,
                       description=f"'{HERE}' works in this script; '{QUEUE}' asks omero-pixclf's watcher and returns"),
        scripts.Long("Most_Images", optional=False, grouping="08.1", default=MOST_IMAGES, min=1, max=LIMIT,
                     description=f"'{HERE}' refuses, before any work, to do more images than this"),
        scripts.Bool("Repeat", grouping="08.2", default=False, description="Here and now: redo what stands already"),
    ]  # fmt: skip


def in_form(text: str) -> str:
    """A message in which settings are called as in the form, in place of the command line's options.

    >>> in_form("Image:51 has 3; choose with --channels, or a smaller --roi-budget")
    'Image:51 has 3; choose with Channels, or a smaller ROI Budget'
    """
    named = {key.replace("_", "-"): key_name(section, key) for section in SECTIONS for key, _ in _keys(section)}
    return re.sub(r"--([a-z][a-z-]*[a-z])", lambda m: named.get(m[1], m[0]).replace("_", " "), text)


def _group(section: str) -> Iterator[scripts.Type]:
    grouping, title, text = GROUPS[section]
    yield scripts.Bool(title, grouping=grouping, default=True, description=text)
    yield from _section(section, f"{grouping}.")


def _section(section: str, grouping: str) -> Iterator[scripts.Type]:
    for number, (key, field) in enumerate(_keys(section), 1):
        place = f"{grouping}{number:02}" if grouping.endswith(".") else grouping
        yield _parameter(key_name(section, key), field, place)


def _keys(section: str) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of a section, but for the project, which has a list of its own."""
    for key, field in SECTIONS[section].model_fields.items():
        if (section, key) != ("classifier", "project"):
            yield key, field


def key_name(section: str, key: str) -> str:
    """The parameter of a recipe's key.

    >>> key_name("objects", "min_size"), key_name("output", "rois")
    ('Min_Size', 'ROIs')
    """
    return NAMES.get(f"{section}.{key}") or key.title()


def _parameter(name: str, field: FieldInfo, grouping: str) -> scripts.Type:
    """One parameter: its type, choices, limits, default and description are the model's."""
    options: dict[str, Any] = {"grouping": grouping, "description": field.description}
    annotation = _without_none(field.annotation)
    if typing.get_origin(annotation) is tuple:
        one = rdouble(0.0) if float in typing.get_args(annotation) else rstring("")
        return scripts.List(name, **options).ofType(one)
    if typing.get_origin(annotation) is Literal:
        values = [str(v) for v in typing.get_args(annotation) if v not in FOLDERS_ONLY]
        if field.default is None:
            values.insert(0, UNSET)
        return scripts.String(name, values=values, default=UNSET if field.default is None else field.default, **options)
    limits = {side: getattr(m, at) for m in field.metadata for side, at in _LIMITS.items() if hasattr(m, at)}
    return _SIMPLE[annotation](name, default=field.default, **limits, **options)


_LIMITS = {"min": "ge", "max": "le"}
_SIMPLE = {bool: scripts.Bool, int: scripts.Long, float: scripts.Double}


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def order_of(inputs: Mapping[str, Any]) -> Order:
    """What a filled-in form asks for, from plain values by parameter name.

    Raises
    ------
    UsageError
        Where something is missing or contradicts itself.
    """
    for given, value in inputs.items():
        check_values(value, given[:40].replace("_", " "))
    kind, idents = _entry(inputs, "Data_Type", str, ""), _entry(inputs, "IDs", list, [])
    if kind not in KINDS:
        raise UsageError(f"Data Type: expected one of {', '.join(KINDS)}, found {kind[:40]!r}")
    if not idents:
        raise UsageError(f"no {kind} is selected: choose some before opening the script, or fill in their IDs")
    if any(parse_id(str(i)) is None for i in idents):
        raise UsageError(f"IDs: expected the numbers of {kind}s, such as 51")
    classifier = _entry(inputs, "Classifier", str, CHOOSE)
    if classifier in ("", CHOOSE):
        raise UsageError("no classifier is chosen: attach a trained .ilp to a dataset or plate, and it is in the list")
    changes: dict[str, Any] = _chosen(classifier)
    name = _entry(inputs, "Recipe_Name", str, "").strip()
    if name:
        changes["name"] = name
    for section in SECTIONS:
        if section not in GROUPS or inputs.get(GROUPS[section][1], True):
            changes.update(_given(section, inputs))
    return Order(
        tuple(dict.fromkeys(f"{kind}:{i}" for i in idents)),
        load_recipe(None, changes),
        inputs.get("Run", HERE) == QUEUE,
        _most_images(inputs),
        bool(inputs.get("Repeat", False)),
    )


def _entry(inputs: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """An input of the form; clients other than OMERO.web may send anything under its name."""
    value = inputs.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"{name.replace('_', ' ')}: expected a {kind.__name__}, found {str(value)[:40]!r}")
    return value


def _most_images(inputs: Mapping[str, Any]) -> int:
    """How many images may be worked on; OMERO.web keeps to the form's limits, other clients need not."""
    most = _entry(inputs, "Most_Images", int, MOST_IMAGES)
    if not 1 <= most <= LIMIT:
        raise UsageError(f"Most Images: expected a number from 1 to {LIMIT}, found {most}")
    return most


def _given(section: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, field in _keys(section):
        value = inputs.get(key_name(section, key))
        if value not in (None, UNSET, "", []):
            yield f"{section}.{key}", _typed(value, _without_none(field.annotation))


def _typed(value: Any, annotation: Any) -> Any:
    """A form's value as the model wants it: numbers among texts, one number for all axes, choices that are numbers."""
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

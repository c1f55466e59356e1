"""Key-value annotations by which users opt containers in for the watcher or request runs.

Keys: ``Recipe`` (the name of one of the watcher's recipes, a name for a new recipe, or a whole recipe as TOML),
``Project`` (``FileAnnotation:12`` or the name of an attached ``.ilp``), and any key of a recipe such as
``objects.threshold``, with a TOML value or plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from omero_pixclf.config import Recipe, parse_recipe, parse_toml
from omero_pixclf.errors import UsageError
from omero_pixclf.image import parse_id

__all__ = [
    "LONGEST_VALUE",
    "MOST_KEYS",
    "SECTIONS",
    "Pairs",
    "build_recipe",
    "format_recipe",
    "parse_project_name",
    "parse_recipe_pairs",
]

Pairs = list[tuple[str, str]]
SECTIONS = ("classifier", "objects", "output")
MOST_KEYS = 500
"""Highest number of different keys accepted in an annotation."""

LONGEST_VALUE = 1000
"""Highest number of characters accepted in the value of a single key."""


def format_recipe(recipe: Recipe) -> Pairs:
    """Return a recipe as pairs: its name, its project, and all values that differ from the defaults.

    >>> from omero_pixclf.config import ClassifierSettings, ObjectSettings, Recipe
    >>> classifier = ClassifierSettings(project="FileAnnotation:12")
    >>> format_recipe(Recipe(name="n", classifier=classifier, objects=ObjectSettings(min_size=4)))
    [('Recipe', 'n'), ('Project', 'FileAnnotation:12'), ('objects.min_size', '4')]
    """
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    pairs = [("Recipe", recipe.title), ("Project", recipe.classifier.project)]
    for section in SECTIONS:
        values = {k: v for k, v in changed.get(section, {}).items() if (section, k) != ("classifier", "project")}
        pairs += [(f"{section}.{key}", json.dumps(value)) for key, value in values.items() if value is not None]
    return pairs


def parse_recipe_pairs(pairs: Iterable[tuple[str, str]], known: Mapping[str, Recipe]) -> dict[str, Any]:
    """Return the recipe that pairs describe, as a dictionary; its project may still be empty.

    Raises
    ------
    UsageError
        The pairs are no recipe, have a key twice with different values, or name a project by its path.
    """
    said = _merge_pairs(pairs)
    if len(said) > MOST_KEYS:
        raise UsageError(
            f"annotation: {len(said)} keys, expected at most {MOST_KEYS} (a recipe has about thirty); remove some"
        )
    text = said.get("Recipe", "").strip()
    if text in known:
        content = known[text].model_dump(mode="json", exclude_defaults=True)
    else:
        content = _parse_recipe_text(text) if "=" in text else ({"name": text} if text else {})
        project = said.get("Project", "").strip() or content.get("classifier", {}).get("project")
        content["classifier"] = {**content.get("classifier", {}), "project": parse_project_name(project)}
    for key, value in said.items():
        section, dot, name = key.partition(".")
        if dot and section in SECTIONS and (section, name) != ("classifier", "project"):
            content.setdefault(section, {})[name] = _parse_value(value)
    return content


def _merge_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a dictionary; two different values for a key of a recipe are an error."""
    said: dict[str, str] = {}
    for key, value in pairs:
        ours = key in ("Recipe", "Project") or key.partition(".")[0] in SECTIONS
        if ours and said.get(key, value) != value:
            values = f"{said[key][:40]!r} and as {value[:40]!r}"
            raise UsageError(f"annotation: {key[:40]} is there twice, as {values}; remove one of them")
        said[key] = value
    return said


def parse_project_name(project: object) -> str:
    """Return a project: ``FileAnnotation:12``, the name of an attached file, or "" for the only one attached.

    Raises
    ------
    UsageError
        The project is a path: users who may annotate must not make the watcher read files of its host.
    """
    if project is None or project == "":
        return ""
    if not isinstance(project, str) or len(project) > LONGEST_VALUE or not project.isprintable():
        raise UsageError(f"project {str(project)[:40]!r}: expected FileAnnotation:12 or the name of an attached file")
    if "/" in project or "\\" in project:
        raise UsageError(f"project {project!r}: is a path; attach the .ilp to the container and give its name")
    kind, colon, number = project.partition(":")
    if colon and (kind != "FileAnnotation" or parse_id(number) is None):
        raise UsageError(f"project {project!r}: expected FileAnnotation:12 or the name of an attached file")
    return project


def build_recipe(content: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a dictionary.

    Raises
    ------
    UsageError
        A key is wrong; the message names it.
    """
    return parse_recipe(dict(content), "annotation")


def _parse_recipe_text(text: str) -> dict[str, Any]:
    content = parse_toml(text, "annotation: Recipe")
    for section in SECTIONS:
        if not isinstance(content.get(section, {}), dict):
            raise UsageError(f"annotation: Recipe: {section} is {content[section]!r}, expected a section")
    return content


def _parse_value(text: str) -> Any:
    """Return a TOML value, or the text itself if it is none: people write ``Nucleus``, not ``"Nucleus"``.

    >>> _parse_value("0.6"), _parse_value("[1, 2.0]"), _parse_value("Nucleus"), _parse_value("true")
    (0.6, [1, 2.0], 'Nucleus', True)
    """
    if len(text) > LONGEST_VALUE:
        raise UsageError(f"annotation: a value of {len(text)} characters, expected at most {LONGEST_VALUE}")
    if "\n" in text or "\r" in text:
        return text  # TOML would read a second line as another key
    try:
        return parse_toml(f"value = {text}", "annotation")["value"]
    except UsageError:
        return text

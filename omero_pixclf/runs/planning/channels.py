"""Resolve the channels and classes of a recipe to those of an image and a project."""

from __future__ import annotations

from collections.abc import Sequence

from omero_pixclf.config import Recipe
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo, parse_id
from omero_pixclf.text import pluralize

__all__ = ["class_colors", "class_indices", "class_keys", "match_channels"]


def class_indices(recipe: Recipe, project: Project) -> dict[str, int]:
    """Return the classes whose objects are segmented, as ``{key: 0-based index}``; by default the first.

    A class is named by its name, or by its number from 1 in the project's order. Its key is its name; where several
    classes have that name, the name with the number.

    Raises
    ------
    UsageError
        The project has no class of that name or number, or several of that name.
    """
    keys = _unique_class_names(project)
    if not recipe.objects.label:
        return {keys[0]: 0}
    indices = [_class_index(label, project) for label in recipe.objects.label]
    return {keys[index]: index for index in indices}


def class_keys(project: Project) -> set[str]:
    """Return all keys that results may have for a project's classes."""
    return {*_unique_class_names(project), *(c.name for c in project.classes)}


def class_colors(recipe: Recipe, project: Project) -> dict[str, tuple[int, int, int]]:
    """Return the colors of the classes whose objects are segmented, by their keys."""
    return {key: project.classes[index].color for key, index in class_indices(recipe, project).items()}


def _unique_class_names(project: Project) -> list[str]:
    names = [c.name for c in project.classes]
    numbered = [f"{name} {number}" for number, name in enumerate(names, 1)]
    if set(numbered) & set(names):  # somebody has numbered them already
        numbered = [f"{name} (label {number})" for number, name in enumerate(names, 1)]
    return [name if names.count(name) == 1 else key for name, key in zip(names, numbered, strict=True)]


def _class_index(label: str, project: Project) -> int:
    names = [c.name for c in project.classes]
    numbers = [number for number, name in enumerate(names, 1) if name == label]
    if len(numbers) == 1:
        return numbers[0] - 1
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    if numbers:
        said = " and ".join(map(str, numbers))
        raise UsageError(
            f"{project.name} has {len(numbers)} labels called {label!r}, numbers {said}: choose one by its number, "
            f"such as --label {numbers[0]}; it has: {listed}"
        )
    if label in _unique_class_names(project):
        return _unique_class_names(project).index(label)
    number = parse_id(label)
    if number is not None and 1 <= number <= len(names):
        return number - 1
    raise UsageError(
        f"{project.name} has no label {label!r}; it has: {', '.join(_unique_class_names(project))}; "
        "choose with --label, by name or by number from 1"
    )


def match_channels(recipe: Recipe, project: Project, image: ImageInfo) -> tuple[int, ...]:
    """Return the image's channels (0-based) in the project's order.

    Raises
    ------
    ImageError
        The image does not have the channels that the recipe names, or not the project's number of channels.
    """
    count = image.shape[4]
    chosen = recipe.classifier.channels
    if chosen is None:
        indices: tuple[int, ...] = tuple(range(count))
    else:
        indices = tuple(_channel_index(channel, image) for channel in chosen)
    if len(indices) != project.channels:
        raise ImageError(
            f"{project.name}: trained on {pluralize(project.channels, 'channel')}, {image.key} has {count}"
            f"{_format_names(image.channels)}; {_suggest_fix(project, image)}"
        )
    return indices


def _suggest_fix(project: Project, image: ImageInfo) -> str:
    """Return what to change if an image has another number of channels: the choice of channels, or the axes."""
    if image.shape[4] > 1 or image.key.startswith("Image:"):
        return "choose with --channels"
    for axis, extent in zip("tzyx", image.shape[:4], strict=True):
        if extent == project.channels > 1 and axis in "tz":
            there = "".join(a for a, n in zip("tzyx", image.shape[:4], strict=True) if n > 1 or a in "yx")
            return f"if its {extent} planes along {axis} are channels, say so with --axes {there.replace(axis, 'c')}"
    return "choose with --channels, or name the file's axes with --axes, such as cyx"


def _channel_index(channel: int | str, image: ImageInfo) -> int:
    if isinstance(channel, str):
        if image.channels.count(channel) == 1:
            return image.channels.index(channel)
        if channel in image.channels:
            numbers = [n for n, name in enumerate(image.channels) if name == channel]
            raise ImageError(
                f"{image.key}: {len(numbers)} channels are called {channel!r}, numbers "
                f"{' and '.join(map(str, numbers))} from 0: choose one by its number, such as --channels {numbers[0]}"
            )
    elif 0 <= channel < image.shape[4]:
        return channel
    raise ImageError(
        f"{image.key}: no channel {channel!r}; choose with --channels, by name or by number from 0; "
        f"it has {pluralize(image.shape[4], 'channel')}{_format_names(image.channels)}"
    )


def _format_names(names: Sequence[str]) -> str:
    return f" ({', '.join(n or '?' for n in names)})" if any(names) else ""

"""Which of an image's channels and which of a project's classes a recipe means."""

from __future__ import annotations

from collections.abc import Sequence

from omero_pixclf.config import Recipe
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.wording import counted

__all__ = ["applied_channels", "class_indices"]


def class_indices(recipe: Recipe, project: Project) -> dict[str, int]:
    """The classes whose objects are looked for, as ``{name: 0-based index}``; the project's first where none is named.

    Raises
    ------
    UsageError
        Where the project has no class of that name.
    """
    names = [c.name for c in project.classes]
    wanted = recipe.objects.label or (names[0],)
    for name in wanted:
        if name not in names:
            raise UsageError(f"{project.name} has no label {name!r}; it has: {', '.join(names)}")
    return {name: names.index(name) for name in wanted}


def applied_channels(recipe: Recipe, project: Project, image: ImageInfo) -> tuple[int, ...]:
    """The image's channels (0-based) in the project's order.

    Raises
    ------
    ImageError
        Where the image has not the channels that the recipe names, or not as many as the project was trained on.
    """
    count = image.shape[4]
    chosen = recipe.classifier.channels
    if chosen is None:
        indices: tuple[int, ...] = tuple(range(count))
    else:
        indices = tuple(_index(channel, image) for channel in chosen)
    if len(indices) != project.channels:
        raise ImageError(
            f"{project.name}: trained on {counted(project.channels, 'channel')}, {image.key} has {count}"
            f"{_named(image.channels)}; choose with --channels"
        )
    return indices


def _index(channel: int | str, image: ImageInfo) -> int:
    if isinstance(channel, str):
        if image.channels.count(channel) == 1:
            return image.channels.index(channel)
    elif 0 <= channel < image.shape[4]:
        return channel
    raise ImageError(
        f"{image.key}: no channel {channel!r} (by name, or by number from 0); "
        f"it has {counted(image.shape[4], 'channel')}{_named(image.channels)}"
    )


def _named(names: Sequence[str]) -> str:
    return f" ({', '.join(n or '?' for n in names)})" if any(names) else ""

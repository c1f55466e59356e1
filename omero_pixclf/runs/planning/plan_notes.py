"""Notes about a plan, such as automatic choices, that users should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from omero_pixclf.config import Recipe, default_recipe_name
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.planning.channels import class_keys
from omero_pixclf.text import pluralize

__all__ = [
    "describe_axes_mismatch",
    "describe_other_project",
    "find_project_conflict",
    "format_notes",
    "is_other_project",
]


def describe_axes_mismatch(image: ImageInfo, recipe: Recipe, project: Project) -> str:
    """Return a note if time may be stored as z, or z as time; "" if the axes agree.

    Objects are connected along z, not along time.
    """
    if recipe.objects.dims != "auto" or not project.axes:
        return ""
    t, z = image.shape[:2]
    trained_on_time = "t" in project.axes and "z" not in project.axes
    trained_on_depth = "z" in project.axes and "t" not in project.axes
    files = "" if image.key.startswith("Image:") else ", or name their axes with --axes"
    if trained_on_time and t == 1 and z > 1:
        return (
            f"{project.name} was trained on time points ({project.axes}), and the image has z-planes and no time: "
            f"objects are joined through z; if these planes are time points, choose --dims 2d{files}"
        )
    if trained_on_depth and z == 1 and t > 1:
        return (
            f"{project.name} was trained on z-planes ({project.axes}), and the image has time points and no z: objects "
            f"are not joined through time; if these are z-planes, correct the image's axes{files}"
        )
    return ""


def is_other_project(record: RunRecord, project: Project) -> bool:
    """Return whether another project, or another version of this one, made earlier results."""
    return record.project_sha256 != project.sha256


def describe_other_project(record: RunRecord, project: Project) -> str:
    """Return a note about the replacement of results of another project with the same file name."""
    return (
        f"replaces results of another {record.project} (sha256 {record.project_sha256[:8]}…, this one is "
        f"{project.sha256[:8]}…); to keep those of a project that is not an earlier version of this one, choose --name"
    )


def find_project_conflict(record: RunRecord, recipe: Recipe, project: Project) -> str:
    """Return why results are not replaced: another project with other classes and the same file name made them.

    Results of a recipe with a name of its own are replaced: the user has chosen the name.
    """
    foreign = sorted(set(record.objects) - class_keys(project))
    if not foreign or not is_other_project(record, project) or recipe.title != default_recipe_name(project.name):
        return ""
    return (
        f"run {record.run_id} used another {record.project}, with objects called {', '.join(foreign)}, which this one "
        "does not have: give these results a name of their own with --name, or replace those with --force"
    )


def format_notes(notes: Iterable[str]) -> list[str]:
    """Return each note once, with the number of its images."""
    counts = Counter(note for note in notes if note)
    return [f"note on {pluralize(count, 'image')}: {note}" for note, count in counts.items()]

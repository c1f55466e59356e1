"""The plan of a run: for each image of the targets a decision and its reason, before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

from omero_pixclf.config import Recipe
from omero_pixclf.errors import InputError, MissingError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.planning.plan_notes import (
    describe_axes_mismatch,
    describe_other_project,
    find_project_conflict,
    is_other_project,
)
from omero_pixclf.runs.protocols import ResultSink

__all__ = ["PAGE_SIZE", "Decision", "PlanItem", "format_decisions", "plan_images", "select_inputs"]

PAGE_SIZE = 500  # images to look up at a time
Decision = Literal["due", "replace", "done", "refused", "made"]


@dataclass(frozen=True)
class PlanItem:
    """One image and what the run will do with it.

    Attributes
    ----------
    decision
        ``due``: no results yet; ``replace``: results of another version of this recipe are replaced after the new ones
        are complete; ``done``: the same run has results already; ``refused``: it cannot be processed, ``reason`` says
        why; ``made``: a run made it, so it is a result and no input.
    earlier
        The id of the run whose results make it ``done``.
    has_preview
        Whether the contact sheet of its container shows it (`omero_pixclf.runs.planning.sampling.choose_previewed`).
    note
        What users should know although the image is processed (`omero_pixclf.runs.planning.plan_notes`).
    """

    image: ImageInfo
    decision: Decision
    reason: str = ""
    earlier: str = ""
    has_preview: bool = False
    note: str = ""


def plan_images(
    images: Iterable[ImageInfo],
    sink: ResultSink,
    recipe: Recipe,
    recipe_hash: str,
    find_problem: Callable[[ImageInfo], str | None],
    *,
    force: bool = False,
    project: Project | None = None,
) -> Iterator[PlanItem]:
    """Decide on each image, and yield the decisions one at a time.

    Parameters
    ----------
    images, sink, recipe
        The images, where the results go, and how they are made.
    recipe_hash
        Results with the same hash on the same pixels are the same.
    find_problem
        Returns why the recipe cannot be applied to an image, or None (`omero_pixclf.runs.planning.image_checks`).
    force
        Reprocess images that are done.
    project
        If given, it is compared with the project of earlier results, and its axes with the image's.

    Notes
    -----
    An image with results is ``done`` even if it could not be processed any more: permissions may have changed.
    """
    for image in _prefetch_pages(images, sink, recipe.title):
        if image.problem:
            yield PlanItem(image, "refused", image.problem)
            continue
        if image.made_by:
            yield PlanItem(image, "made", f"made by run {image.made_by}; to use it as input, name it: {image.key}")
            continue
        earlier = sink.find_records(image, recipe.title)
        complete = [r for r in earlier if r.state == "complete"]
        # More than one entry: a replacement was interrupted, and only doing it again clears that up.
        same = len(earlier) == 1 and bool(complete) and complete[0].identity == (recipe_hash, image.fingerprint)
        if same and not force:
            run_id = complete[0].run_id
            yield PlanItem(image, "done", f"run {run_id} did the same", run_id)
        elif reason := _find_refusal(image, sink, find_problem):
            yield PlanItem(image, "refused", reason)
        elif complete:
            yield _plan_replacement(image, complete[0], recipe, project, force=force)
        else:
            yield PlanItem(image, "due", note=describe_axes_mismatch(image, recipe, project) if project else "")


def _plan_replacement(
    image: ImageInfo, earlier: RunRecord, recipe: Recipe, project: Project | None, *, force: bool
) -> PlanItem:
    """Replace earlier results after the new ones are complete, unless another project made them."""
    reason = f"replaces run {earlier.run_id}"
    if project is None:
        return PlanItem(image, "replace", reason)
    refused = "" if force else find_project_conflict(earlier, recipe, project)
    if refused:
        return PlanItem(image, "refused", refused)
    notes = [describe_other_project(earlier, project)] if is_other_project(earlier, project) else []
    return PlanItem(
        image, "replace", reason, note="; ".join(filter(None, [*notes, describe_axes_mismatch(image, recipe, project)]))
    )


def _find_refusal(image: ImageInfo, sink: ResultSink, find_problem: Callable[[ImageInfo], str | None]) -> str | None:
    """Return why an image cannot be processed; also for one that was removed after it was listed."""
    try:
        return find_problem(image) or sink.explain_refusal(image)
    except (InputError, MissingError) as error:
        return str(error)


def _prefetch_pages(images: Iterable[ImageInfo], sink: ResultSink, recipe: str) -> Iterator[ImageInfo]:
    """Yield the images one at a time, after the sink has looked up many."""
    left = iter(images)
    while page := list(islice(left, PAGE_SIZE)):
        sink.prefetch(page, recipe)
        yield from page


def select_inputs(items: Iterable[PlanItem]) -> list[PlanItem]:
    """Return the items without images that runs made."""
    return [item for item in items if item.decision != "made"]


def format_decisions(items: Iterable[PlanItem]) -> str:
    """How many images there are of each decision, in words; empty without any.

    >>> from omero_pixclf.image import ImageInfo
    >>> image = ImageInfo("Image:51", "a", (1, 1, 8, 8, 1), "uint8", ("",))
    >>> format_decisions([PlanItem(image, "made"), PlanItem(image, "due"), PlanItem(image, "due")])
    '2 due, 1 made by runs'
    """
    decisions = [item.decision for item in items]
    words = {"due": "due", "replace": "replace", "done": "done", "refused": "refused", "made": "made by runs"}
    return ", ".join(f"{decisions.count(d)} {words[d]}" for d in get_args(Decision) if d in decisions)

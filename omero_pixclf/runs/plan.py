"""The plan: every image of the targets, and for each what will happen to it and why, before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from omero_pixclf.config import Recipe
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.edges import ImageSource, ResultSink

__all__ = ["PlanItem", "plan_images"]

Decision = Literal["due", "replace", "done", "refused"]


@dataclass(frozen=True)
class PlanItem:
    """One image and what the run will do with it.

    Attributes
    ----------
    decision
        ``due``: no results yet; ``replace``: results of this recipe name, made otherwise, will go once the new ones
        stand; ``done``: the same run stands already; ``refused``: it cannot be done, ``reason`` says why.
    """

    image: ImageInfo
    decision: Decision
    reason: str = ""


def plan_images(
    source: ImageSource,
    sink: ResultSink,
    targets: Sequence[str],
    recipe: Recipe,
    recipe_hash: str,
    refusal: Callable[[ImageInfo], str | None],
    *,
    force: bool = False,
) -> Iterator[PlanItem]:
    """Decide on every image below the targets, one at a time.

    ``refusal`` says why the classifier cannot be applied to an image, or None; ``force`` repeats what is done.
    """
    for image in source.images(targets):
        reason = refusal(image) or sink.refusal(image)
        if reason:
            yield PlanItem(image, "refused", reason)
            continue
        complete = [r for r in sink.previous(image, recipe.title) if r.state == "complete"]
        same = [r for r in complete if r.identity == (recipe_hash, image.fingerprint)]
        if same and not force:
            yield PlanItem(image, "done", f"run {same[0].run_id} did the same")
        elif complete:
            yield PlanItem(image, "replace", f"replaces run {complete[0].run_id}")
        else:
            yield PlanItem(image, "due")

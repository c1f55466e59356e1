"""Checks of an image before a run: pixels, channels, space on disk, and what the project can be applied to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from omero_pixclf.config import Recipe
from omero_pixclf.errors import ImageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixels.predict import find_incompatibility
from omero_pixclf.runs.planning.channels import match_channels
from omero_pixclf.runs.planning.resources import find_disk_shortage

__all__ = ["ImageChecks"]


@dataclass(frozen=True)
class ImageChecks:
    """What an image must fit.

    Attributes
    ----------
    memory
        Memory limit in bytes; None: the default.
    folder
        Where the run's state, with the arrays of large images, will be.
    """

    recipe: Recipe
    project: Project
    memory: int | None
    folder: Path

    def find_problem(self, image: ImageInfo) -> str | None:
        """Return why the recipe cannot be applied to an image, or None."""
        if 0 in image.shape:
            return f"{image.key}: has no pixels; is its import unfinished?"
        try:
            channels = match_channels(self.recipe, self.project, image)
        except ImageError as error:
            return str(error)
        selected = replace(image, shape=(*image.shape[:4], len(channels)))
        return find_disk_shortage(image, self.project, self.memory, self.folder) or find_incompatibility(
            self.project, selected
        )

"""Draws a run's previews and reports (`omero_pixclf.runs.protocols.PictureDrawer`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.table import Table

if TYPE_CHECKING:
    from omero_pixclf.runs.analysis import ImageAnalysis
    from omero_pixclf.runs.state.manifest import Manifest

__all__ = ["MAX_PREVIEW_SIDE", "MAX_PREVIEW_STACK", "ReportDrawer"]

MAX_PREVIEW_SIDE = 4096  # pixels of the image along y or x that a preview is drawn from
MAX_PREVIEW_STACK = 2**26  # pixels of all planes of a time point that a preview is drawn from


@dataclass(frozen=True)
class ReportDrawer:
    """Draws previews of images, and pictures and reports of containers.

    Attributes
    ----------
    colors
        Red, green, blue, 0 to 255, for each class whose objects are outlined.
    previewed
        Keys of the images that get a preview.
    """

    colors: Mapping[str, tuple[int, int, int]]
    previewed: frozenset[str] = frozenset()

    def draw_preview(self, analysis: ImageAnalysis) -> bytes | None:
        """Return a PNG of an image with the outlines of its objects; None for images that get no preview."""
        if analysis.image.key not in self.previewed:
            return None
        from omero_pixclf.report.overlay import SubsampledArray, draw_overlay  # slow to import

        _, depth, height, width, _ = analysis.image.shape
        step = -(-max(height, width) // MAX_PREVIEW_SIDE)
        while depth * -(-height // step) * -(-width // step) > MAX_PREVIEW_STACK:
            step += 1
        labels = {name: SubsampledArray(image, step) for name, image in analysis.labels.items()}
        width_um = analysis.image.pixel_size_um[2]
        pixel_um = None if width_um is None else width_um * step
        return draw_overlay(SubsampledArray(analysis.pixels, step), labels, self.colors, pixel_um=pixel_um)

    def draw_report(
        self, manifest: Manifest, record: RunRecord, images: Sequence[ImageInfo], tables: Mapping[str, Table]
    ) -> Sequence[Path]:
        """Draw a container's pictures and report into the run's folder; return the files to attach.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        from omero_pixclf.report.report_files import write_report_files  # matplotlib is slow to import

        return write_report_files(manifest, record, images, tables, self.colors)

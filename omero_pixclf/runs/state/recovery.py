"""Take over the results of an interrupted run whose images are already done.

Rows of an image are stored on its container when the container is finished. `--resume` finishes it. A new run instead
finds images that are done, whose rows are only in the folder of the earlier run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omero_pixclf.errors import InputError, OutputError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import run_folder
from omero_pixclf.runs.containers import is_missing_from_summary
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.protocols import ResultSink
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.runs.state.manifest import Manifest, is_run_folder

__all__ = ["recover_results"]

_log = logging.getLogger(__name__)


def recover_results(items: Sequence[PlanItem], manifest: Manifest, sink: ResultSink, recipe: str) -> None:
    """Copy the files of images that are done but have no row on their container, from other runs' folders.

    Only folders beside this run's are known, not those on another machine. Such an image then counts as done by this
    run (`execution.serial.skip_decided`), and its container gets its row and its preview. Damaged files are left out,
    and the log says so.
    """
    done = [item for item in items if item.decision == "done" and item.earlier != manifest.header.run_id]
    for run_id in dict.fromkeys(item.earlier for item in done):
        folder = run_folder(manifest.folder.parent, run_id)
        images = _find_without_row(
            _find_unfinished(folder, [i.image for i in done if i.earlier == run_id]), sink, recipe
        )
        taken = [image for image in images if _copy_results(manifest, folder, image)]
        if taken:
            _log.info("run %s was cut off: what it kept of %d images goes into their tables now", run_id, len(taken))


def _find_unfinished(folder: Path, images: Sequence[ImageInfo]) -> list[ImageInfo]:
    """Return the images whose containers have no tables of a run, by the run's folder."""
    if not is_run_folder(folder):
        return []
    try:
        with Manifest.open(folder) as earlier:
            return [image for image in images if not earlier.is_container_finished(image.place.container)]
    except (InputError, OutputError) as error:
        said = (
            "%s; what it kept of %d images (%s, …) is left out of their tables; to have it there, repeat them: --force"
        )
        _log.warning(said, error, len(images), images[0].key)
        return []


def _find_without_row(images: Sequence[ImageInfo], sink: ResultSink, recipe: str) -> list[ImageInfo]:
    containers = dict.fromkeys(image.place.container for image in images)
    standing = {container: sink.load_tables(container, recipe) for container in containers}
    return [i for i in images if is_missing_from_summary(i, standing[i.place.container])]


def _copy_results(manifest: Manifest, folder: Path, image: ImageInfo) -> bool:
    try:
        return manifest.copy_image(ImageFiles(folder), image.key)
    except InputError as error:
        _log.warning("%s: left out of the tables of %s: %s", image.key, image.place.container, error)
        return False

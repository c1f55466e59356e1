"""Write a run's results to OMERO: ROIs, maps, tables and attachments, each found again through the ledger."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.connector.files import FILES_NS, attach_file
from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.results.annotations import find_group
from omero_pixclf.connector.results.container_tables import (
    attach_latest_summary_only,
    close_table_entry,
    load_tables,
    store_tables,
)
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.results.ledger import (
    RUN_NS,
    TABLES_NS,
    LedgerEntry,
    close_entry,
    find_entries_on,
    find_entries_on_images,
    is_in_progress,
    open_entry,
)
from omero_pixclf.connector.results.orphans import (
    count_roi_marks,
    find_abandoned_entries,
    find_orphan_marks,
    list_container_images,
    remove_orphans,
)
from omero_pixclf.connector.results.rois import find_marked_rois, save_outlines
from omero_pixclf.connector.results.undo import find_made_images, remove_results
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.permissions import explain_refusal, explain_refusals
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import find_or_create_results_dataset, make_image, store_image
from omero_pixclf.errors import ConflictError, OutputError, PixclfError, UsageError
from omero_pixclf.image import ArrayReader, ImageInfo, PixelArray
from omero_pixclf.objects.outline import Outline
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import Table
from omero_pixclf.text import safe_file_stem

__all__ = ["FINISH_WAITS", "FINISH_WAIT_S", "Encoder", "OmeroSink", "OmeroWriter", "log"]

log = logging.getLogger(__name__)

Encoder = Callable[[Path, PixelArray, ImageInfo, Sequence[str]], None]
"""Writes pixels ``(t, z, y, x, c)`` of a result of an image, with channel names, to a file."""

FINISH_WAITS, FINISH_WAIT_S = 240, 0.5
_SUFFIXES = {"attachment-h5": ".h5", "attachment-tiff": ".ome.tif", "zarr": ".ome.zarr.zip"}


class OmeroWriter:
    """Writes the results of one image (`omero_pixclf.runs.protocols.ImageWriter`)."""

    def __init__(self, session: Session, image: ImageInfo, entry: LedgerEntry, encode: Mapping[str, Encoder]) -> None:
        self._session, self._image, self._entry, self._encode = session, image, entry, encode
        self._ident = parse_key(image.key)[1]
        self.saved_rois: list[int] = []
        self.made_images: list[int] = []
        self.completed = False

    def save_rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[np.int64]:
        """Save the outlines of one class; return the Roi ids in their order, -1 for one without shapes."""
        ids = save_outlines(
            self._session,
            outlines,
            image=self._ident,
            group=self._entry.group,
            name=name,
            color=color,
            mark=self._entry.mark,
            entry=self._entry.annotation,
            known=self.saved_rois,
        )
        self.saved_rois += [int(i) for i in ids if i > 0]
        return ids

    def save_image(self, result: ResultImage) -> None:
        """Save a result image ``(t, z, y, x, c)`` as a file attached to the image, or as an image next to it.

        Raises
        ------
        UsageError
            The form is neither ``image`` nor one that has an encoder.
        """
        if result.form == "image":
            self._new_image(result)
        elif result.form in self._encode:
            self._attach(result)
        else:
            raise UsageError(f"results as {result.form!r}: expected one of {', '.join(('image', *self._encode))}")

    def _attach(self, result: ResultImage) -> None:
        stem = safe_file_stem(self._image.name or self._image.key)
        with tempfile.TemporaryDirectory(prefix="omero_pixclf-") as folder:
            path = Path(folder) / f"{stem}_{result.kind}{_SUFFIXES[result.form]}"
            self._encode[result.form](path, result.pixels, self._image, result.channels)
            target, mark = self._image.key, self._entry.mark
            attach_file(self._session, target, path, namespace=f"{FILES_NS}/{result.kind}", description=mark)

    def _new_image(self, result: ResultImage) -> None:
        session, entry, pixels = self._session, self._entry, result.pixels
        t, z, y, x, c = pixels.shape
        info = replace(
            self._image,
            name=f"{self._image.name} {result.kind}",
            shape=(t, z, y, x, c),
            dtype=pixels.dtype.name,
            channels=tuple(result.channels),
        )
        image = make_image(session, info, dataset=self._dataset(), description=entry.mark, entry=entry.annotation)

        def clean() -> None:
            stray = [i for i in find_made_images(session, entry) if i not in self.made_images]
            delete_objects(session, "Image", stray, group=entry.group)

        def store(factory: Any) -> int:
            return store_image(factory, image, ArrayReader(info, pixels), created=lambda ident: None)

        activity = f"{self._image.key}: storing an image of its {result.kind}"
        self.made_images.append(session.write(activity, store, group=entry.group, clean=clean))

    def _dataset(self) -> int | None:
        place = self._image.place
        if place.container.startswith("Dataset:"):
            return parse_key(place.container)[1]
        if place.container.startswith("Plate:"):
            return find_or_create_results_dataset(self._session, place.container, place.name, group=self._entry.group)
        return None

    def complete(self, record: RunRecord) -> None:
        """Mark this run as complete on the image, then remove the results that it replaces.

        Raises
        ------
        MissingError
            The image, or this run's entry, has been deleted in the meantime.
        """
        session, entry = self._session, self._entry
        standing = find_entries_on(session, RUN_NS, self._image.key)
        if entry.annotation not in {e.annotation for e in standing}:
            find_group(session, self._image.key)
            raise make_missing_error("MapAnnotation", entry.annotation)
        self._remove_stray_rois(standing)
        done = close_entry(session, entry, replace(record, image=self._image.key, state="complete"))
        self.completed = True
        _remove_replaced(session, done, [e for e in standing if e.record.recipe == record.recipe])

    def _remove_stray_rois(self, standing: Sequence[LedgerEntry]) -> None:
        """Remove ROIs that the server stored late: of attempts whose answer was lost, and of killed runs."""
        session, mark = self._session, self._entry.mark
        marks = count_roi_marks(session, [self._ident])
        if marks.pop(mark, 0) != len(self.saved_rois):
            stray = set(find_marked_rois(session, self._ident, mark)) - set(self.saved_rois)
            delete_objects(session, "Roi", sorted(stray), group=self._entry.group)
        for lost in find_orphan_marks(session, set(marks) - {e.mark for e in standing}):
            delete_objects(session, "Roi", find_marked_rois(session, self._ident, lost), group=self._entry.group)


class OmeroSink:
    """Writes results to an OMERO server (`omero_pixclf.runs.protocols.ResultSink`).

    Parameters
    ----------
    session
        Session of the user who writes; only objects of this user are searched, replaced and removed.
    encode
        Functions that write the forms ``attachment-h5``, ``attachment-tiff`` and ``zarr`` to a file.
    new_images
        Whether results include new images, which also need permission to link into the dataset.
    """

    def __init__(self, session: Session, *, encode: Mapping[str, Encoder], new_images: bool = False) -> None:
        unknown = set(encode) - set(_SUFFIXES)
        if unknown:
            raise ValueError(f"encoders for unknown forms: {sorted(unknown)}")
        self._session, self._encode, self._new_images = session, dict(encode), new_images
        self._containers: dict[str, str | None] = {}
        self._rights: dict[str, str | None] = {}
        self._earlier: dict[tuple[str, str], list[RunRecord]] = {}
        self._merged: dict[tuple[str, str], int | None] = {}

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        """Look up for many images at once what `find_records` and `explain_refusal` return for each, once."""
        keys = [image.key for image in images]
        entries = find_entries_on_images(self._session, [parse_key(key)[1] for key in keys])
        self._earlier = {
            (key, recipe): [e.record for e in entries.get(key, ()) if e.record.recipe == recipe] for key in keys
        }
        self._rights = explain_refusals(self._session, keys)

    def explain_refusal(self, image: ImageInfo) -> str | None:
        """Return why results may not be written for this image or on its container; None if allowed."""
        container = image.place.container
        if container not in self._containers:  # the same for all images of a container
            self._containers[container] = explain_refusal(self._session, container, links=self._new_images)
        own = self._rights.pop(image.key) if image.key in self._rights else explain_refusal(self._session, image.key)
        return own or self._containers[container]

    def find_records(self, image: ImageInfo, recipe: str) -> list[RunRecord]:
        """Return the records of this user's runs of the recipe on an image, newest first.

        Several records, or an incomplete one, mean that a run was interrupted and the image must be reprocessed.
        """
        if (image.key, recipe) in self._earlier:
            return self._earlier.pop((image.key, recipe))
        return [e.record for e in find_entries_on(self._session, RUN_NS, image.key) if e.record.recipe == recipe]

    @contextmanager
    def begin(self, image: ImageInfo, record: RunRecord) -> Iterator[OmeroWriter]:
        """Remove unfinished results of this recipe, write a ``running`` ledger entry, and open the results.

        Raises
        ------
        OutputError
            Another process is writing results of the same recipe on this image.
        """
        entry = open_entry(self._session, RUN_NS, replace(record, image=image.key, state="running"))
        writer = OmeroWriter(self._session, image, entry, self._encode)
        try:
            others = _find_other_entries(self._session, entry)
            _refuse_concurrent_run(self._session, entry, others)
            _remove_unfinished(self._session, entry, others)
            yield writer
        finally:
            if not writer.completed:
                _roll_back(self._session, entry, writer.saved_rois)

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        """Return the tables on a container from this user's last complete run of the recipe, by name."""
        standing = find_entries_on(self._session, TABLES_NS, container)
        entry = next((e for e in standing if e.record.recipe == recipe and e.record.state == "complete"), None)
        self._merged[container, recipe] = entry.annotation if entry else None
        return load_tables(self._session, entry) if entry else {}

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> dict[str, str]:
        """Store tables and attachments on a container before removing old ones; return the name and address of each.

        Raises
        ------
        OutputError
            Another process has stored tables of the recipe there since `load_tables` was called: merge again.
        """
        session = self._session
        entry = open_entry(session, TABLES_NS, replace(record, image=container, state="running"))
        written: dict[str, int] = {}
        try:
            _wait_for_older_entries(session, entry)
            self._refuse_stale(entry)
            written |= store_tables(session, entry, tables)
            for path in attachments:
                written[path.name] = attach_file(session, container, path, description=entry.mark)
            done = close_table_entry(session, entry, replace(record, image=container, state="complete"), written)
        except BaseException:
            _roll_back(session, entry)
            raise
        _remove_replaced(session, done, _find_other_entries(session, done))
        self._remove_left(container, record, entry.group)
        attach_latest_summary_only(session, container)
        return {name: f"FileAnnotation:{i}" for name, i in written.items()}

    def _remove_left(self, container: str, record: RunRecord, group: int) -> None:
        """Remove results of killed runs, which the server may have stored late."""
        session = self._session
        try:
            images = list_container_images(session, container)
            for entry in find_abandoned_entries(session, images, record.recipe):
                remove_results(session, entry)
            remove_orphans(session, container, images, group=group)
        except PixclfError as error:  # the results are complete; the next run, or undo, tries again
            log.warning("%s: results of killed runs could not be removed (%s)", container, error)

    def _refuse_stale(self, entry: LedgerEntry) -> None:
        container, recipe = entry.record.image, entry.record.recipe
        standing = next(
            (e.annotation for e in _find_other_entries(self._session, entry) if e.record.state == "complete"), None
        )
        if standing != self._merged.get((container, recipe), standing):
            raise ConflictError(
                f"{container}: another run stored tables of {recipe} in the meantime; they must be merged again"
            )


def _find_other_entries(session: Session, entry: LedgerEntry) -> list[LedgerEntry]:
    """Return this user's other entries of the same recipe on the same object, newest first."""
    found = find_entries_on(session, entry.namespace, entry.record.image)
    return [e for e in found if e.record.recipe == entry.record.recipe and e.annotation != entry.annotation]


def _refuse_concurrent_run(session: Session, entry: LedgerEntry, others: Sequence[LedgerEntry]) -> None:
    """Raise an error if a process that opened its entry on this object before us is still running."""
    for other in others:
        if other.annotation < entry.annotation and is_in_progress(session, other, entry.record.run_id):
            raise OutputError(
                f"{entry.record.image}: run {other.record.run_id} ({other.worker}) is writing results of "
                f"{entry.record.recipe} here at this moment; wait until it has finished, or stop it"
            )


def _wait_for_older_entries(session: Session, entry: LedgerEntry) -> None:
    """Wait for processes that opened their entry on this container before us; writing tables takes seconds."""
    for _ in range(FINISH_WAITS):
        older = [e for e in _find_other_entries(session, entry) if e.annotation < entry.annotation]
        if not any(is_in_progress(session, e, entry.record.run_id) for e in older):
            return
        session.pause(FINISH_WAIT_S)
    raise OutputError(
        f"{entry.record.image}: another process is writing tables of {entry.record.recipe} and does not finish; "
        "stop it, then run this again: finished images are kept"
    )


def _remove_unfinished(session: Session, entry: LedgerEntry, others: Sequence[LedgerEntry]) -> None:
    for other in others:
        if other.record.state == "running" and not is_in_progress(session, other, entry.record.run_id):
            log.info("%s: removing unfinished results of run %s", entry.record.image, other.record.run_id)
            remove_results(session, other)


def _remove_replaced(session: Session, entry: LedgerEntry, others: Sequence[LedgerEntry]) -> None:
    for other in others:
        if other.annotation != entry.annotation and not is_in_progress(session, other, entry.record.run_id):
            remove_results(session, other)


def _roll_back(session: Session, entry: LedgerEntry, rois: Sequence[int] = ()) -> None:
    """Remove the results written so far; if that fails, the entry stays ``running`` and the next run removes them.

    ``rois`` are given by id, because a server keeps ROIs that are saved on an image just deleted.
    """
    try:
        remove_results(session, entry)
        delete_objects(session, "Roi", rois, group=entry.group)
    except PixclfError as error:
        log.warning(
            "%s: unfinished results of run %s could not be removed (%s)", entry.record.image, entry.record.run_id, error
        )

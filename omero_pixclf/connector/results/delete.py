"""Delete objects by id, only this user's own, after checking what else would be deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import omero
import omero.clients  # must be imported before other modules of omero
import omero.cmd
from omero.cmd.graphs import ChildOption

from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import NotAllowedError

__all__ = ["BATCH", "POLL_S", "delete_objects", "filter_own", "find_images_with_foreign_rois"]

BATCH = 1000
POLL_S = (0.005, 0.02, 0.1, 0.25)
_KEEP_ANNOTATIONS = ("Roi", "Image", "AnnotationLink")
"""Kinds whose annotations (such as other users' tags) are kept when they are deleted; ours are deleted by id."""


def filter_own(session: Session, kind: str, ids: Sequence[int]) -> list[int]:
    """Return which of these objects exist and belong to this user; this also limits administrators."""
    found: list[int] = []
    for page in split_into_pages(sorted(set(ids)), BATCH):
        hql = f"select x.id from {kind} x where x.id in (:ids) and x.details.owner.id = :owner"
        found += session.query_ids(hql, ids=page, owner=session.user_id)
    return sorted(found)


def delete_objects(session: Session, kind: str, ids: Sequence[int], *, group: int) -> int:
    """Delete this user's objects of a kind, skipping those that no longer exist; return how many were deleted.

    Raises
    ------
    NotAllowedError
        Another user has ROIs on an image that would be deleted.
    """
    targets = filter_own(session, kind, ids)
    if kind == "Image" and (drawn := find_images_with_foreign_rois(session, targets)):
        raise NotAllowedError(f"{', '.join(f'Image:{i}' for i in drawn)}: other users drew ROIs on it; not removed")
    for page in split_into_pages(targets, BATCH):
        _delete_batch(session, kind, page, group)
    return len(targets)


def find_images_with_foreign_rois(session: Session, images: Sequence[int]) -> list[int]:
    """Return which of these images have ROIs of other users."""
    found: set[int] = set()
    for page in split_into_pages(images, BATCH):
        hql = "select r.image.id from Roi r where r.image.id in (:ids) and r.details.owner.id <> :owner"
        found.update(session.query_ids(hql, ids=page, owner=session.user_id))
    return sorted(found)


def _delete_batch(session: Session, kind: str, ids: Sequence[int], group: int) -> None:
    left = list(ids)

    def drop_deleted() -> None:
        left[:] = filter_own(session, kind, left)

    session.write(
        f"deleting {len(ids)} of {kind}", lambda sf: _submit_delete(sf, kind, left), group=group, clean=drop_deleted
    )


def _submit_delete(factory: Any, kind: str, ids: Sequence[int]) -> None:
    if not ids:
        return
    options = [ChildOption(excludeType=["Annotation"])] if kind.endswith(_KEEP_ANNOTATIONS) else []
    request = omero.cmd.Delete2(targetObjects={kind: list(ids)}, childOptions=options)
    handle = factory.submit(request)
    try:
        for pause in _poll_intervals():
            answer = handle.getResponse()
            if answer is not None:
                break
            time.sleep(pause)
    finally:
        handle.close()
    if isinstance(answer, omero.cmd.ERR):
        raise omero.CmdError(answer)


def _poll_intervals() -> Iterator[float]:
    yield from POLL_S
    while True:
        yield POLL_S[-1]

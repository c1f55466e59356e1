"""Images that runs made, whoever ran: results, and so no inputs of other runs.

A run links each image that it makes to the ledger entry of the image that it was made from, and writes its mark into
the description. Either is enough: people edit descriptions, and an entry can be gone while its image was kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omero_pixclf.connector.session import Session

__all__ = ["RUN_NS", "runs_that_made"]

RUN_NS = "omero_pixclf/run"
"""The namespace of ledger entries of images, and of the images that were made from them."""
_MARK = re.compile(rf"{re.escape(RUN_NS)} (?P<run>\S+) #\d+")
_UNKNOWN = "unknown"
PAGE = 500


def runs_that_made(session: Session, descriptions: Mapping[int, str]) -> dict[int, str]:
    """The id of the run that made each of some images, of those that runs made; given their descriptions by id.

    Three queries for up to 500 images that no run has seen.
    """
    found = {image: match["run"] for image, text in descriptions.items() if (match := _MARK.match(text))}
    links: list[tuple[int, int]] = []
    asked = sorted(descriptions.keys() - found.keys())
    for start in range(0, len(asked), PAGE):
        hql = (
            "select l.parent.id, l.child.id from ImageAnnotationLink l join l.child a "
            "where l.parent.id in (:ids) and a.ns = :ns order by l.child.id"
        )
        links += [(int(i), int(e)) for i, e in session.rows(hql, ids=asked[start : start + PAGE], ns=RUN_NS)]
    said = _said(session, sorted({entry for _, entry in links}))
    for image, entry in links:
        source = said.get(entry, {}).get("Image", "")
        if source and source != f"Image:{image}":
            found.setdefault(image, said[entry].get("Run ID") or _UNKNOWN)
    return found


def _said(session: Session, entries: list[int]) -> dict[int, dict[str, str]]:
    """What entries say of their image and their run."""
    said: dict[int, dict[str, str]] = {}
    hql = (
        "select a.id, v.name, v.value from MapAnnotation a join a.mapValue v "
        "where a.id in (:ids) and v.name in ('Image', 'Run ID')"
    )
    for start in range(0, len(entries), PAGE):
        for entry, name, value in session.rows(hql, ids=entries[start : start + PAGE]):
            said.setdefault(int(entry), {})[name] = value or ""
    return said

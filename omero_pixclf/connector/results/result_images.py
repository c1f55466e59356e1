"""Find images that runs of any user created, which are results and no inputs of other runs.

A run links each image that it creates to the ledger entry of the source image, and writes its mark into the
description. Link or mark is enough to exclude an image from the inputs: people edit descriptions, and an entry can be
deleted while its image is kept. A link alone counts only if the run itself can have made it: OMERO's Duplicate copies
the entry of an image together with the image, and people link annotations to images that they imported.

No image is deleted because of its link alone: `omero_pixclf.connector.results.undo` requires link and mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.image import parse_id

__all__ = ["RUN_NS", "find_creating_runs", "find_original_entries"]

RUN_NS = "omero_pixclf/run"
"""Namespace of the ledger entries of images; marks in the descriptions of result images start with it."""
_MARK = re.compile(rf"{re.escape(RUN_NS)} (?P<run>\S+) #\d+")
_UNKNOWN = "unknown"


def find_creating_runs(session: Session, descriptions: Mapping[int, str]) -> dict[int, str]:
    """Return the id of the run that created each image, for images that runs created; takes descriptions by image id.

    One query for up to 500 images; four more if some of them are linked to ledger entries.
    """
    found = {image: match["run"] for image, text in descriptions.items() if (match := _MARK.match(text))}
    links: list[tuple[int, int]] = []
    for page in split_into_pages(sorted(descriptions.keys() - found.keys())):
        hql = (
            "select l.parent.id, l.child.id from ImageAnnotationLink l join l.child a "
            "where l.parent.id in (:ids) and a.ns = :ns order by l.child.id"
        )
        links += [(int(i), int(e)) for i, e in session.query_rows(hql, ids=page, ns=RUN_NS)]
    said = _read_entry_values(session, sorted({entry for _, entry in links}))
    linked = [
        (image, entry)
        for image, entry in links
        if said.get(entry, {}).get("Image", f"Image:{image}") != f"Image:{image}"
    ]
    genuine = find_original_entries(session, {entry: said[entry]["Image"] for _, entry in linked})
    imported = _find_imported_images(session, sorted({image for image, _ in linked}))
    for image, entry in linked:
        if entry in genuine and image not in imported:
            found.setdefault(image, said[entry].get("Run ID") or _UNKNOWN)
    return found


def find_original_entries(session: Session, sources: Mapping[int, str]) -> set[int]:
    """Return the entries linked to the image that they name, or whose image is deleted; the others are copies."""
    named = {
        entry: ident for entry, key in sources.items() if (ident := parse_id(key.removeprefix("Image:"))) is not None
    }
    links: set[tuple[int, int]] = set()
    for page in split_into_pages(sorted(named)):
        hql = "select l.child.id, l.parent.id from ImageAnnotationLink l where l.child.id in (:ids)"
        links.update((int(entry), int(image)) for entry, image in session.query_rows(hql, ids=page))
    existing = {image for _, image in links}
    for page in split_into_pages(sorted({*named.values()} - existing)):
        existing.update(session.query_ids("select i.id from Image i where i.id in (:ids)", ids=page))
    return {entry for entry, image in named.items() if (entry, image) in links or image not in existing}


def _find_imported_images(session: Session, images: list[int]) -> set[int]:
    """Return which images were imported from files; images created by runs were not."""
    found: set[int] = set()
    for page in split_into_pages(images):
        found.update(
            session.query_ids("select i.id from Image i where i.id in (:ids) and i.fileset is not null", ids=page)
        )
    return found


def _read_entry_values(session: Session, entries: list[int]) -> dict[int, dict[str, str]]:
    """Return the values of ``Image`` and ``Run ID`` of entries."""
    said: dict[int, dict[str, str]] = {}
    hql = (
        "select a.id, v.name, v.value from MapAnnotation a join a.mapValue v "
        "where a.id in (:ids) and v.name in ('Image', 'Run ID')"
    )
    for page in split_into_pages(entries):
        for entry, name, value in session.query_rows(hql, ids=page):
            said.setdefault(int(entry), {})[name] = value or ""
    return said

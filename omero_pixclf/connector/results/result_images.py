"""Images that runs made, whoever ran: results, and so no inputs of other runs.

A run links each image that it makes to the ledger entry of the image that it was made from, and writes its mark into
the description. For not being an input either is enough: people edit descriptions, and an entry can be gone while its
image was kept. A link alone proves it only where it can be the run's own: OMERO's Duplicate copies the entry of an
image with the image, and people link annotations to images that they imported.

Nothing is ever removed for its link alone: `omero_pixclf.connector.results.undo` wants link and mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.image import parse_id

__all__ = ["RUN_NS", "find_creating_runs", "find_original_entries"]

RUN_NS = "omero_pixclf/run"
"""The namespace of ledger entries of images, and of the images that were made from them."""
_MARK = re.compile(rf"{re.escape(RUN_NS)} (?P<run>\S+) #\d+")
_UNKNOWN = "unknown"


def find_creating_runs(session: Session, descriptions: Mapping[int, str]) -> dict[int, str]:
    """The id of the run that made each of some images, of those that runs made; given their descriptions by id.

    Three queries for up to 500 images that no run has seen, and two more where some are linked to entries.
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
    """The entries that hang on the image that they name, or whose image is gone; copies of an entry do not."""
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
    """Those of the images that came with files; a run's own have none."""
    found: set[int] = set()
    for page in split_into_pages(images):
        found.update(
            session.query_ids("select i.id from Image i where i.id in (:ids) and i.fileset is not null", ids=page)
        )
    return found


def _read_entry_values(session: Session, entries: list[int]) -> dict[int, dict[str, str]]:
    """What entries say of their image and their run."""
    said: dict[int, dict[str, str]] = {}
    hql = (
        "select a.id, v.name, v.value from MapAnnotation a join a.mapValue v "
        "where a.id in (:ids) and v.name in ('Image', 'Run ID')"
    )
    for page in split_into_pages(entries):
        for entry, name, value in session.query_rows(hql, ids=page):
            said.setdefault(int(entry), {})[name] = value or ""
    return said

"""Upload, download and attach files in OMERO, and find classifier projects among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import omero.clients  # noqa: F401 - must be imported before other modules of omero
from omero.model import ChecksumAlgorithmI, OriginalFileI
from omero.rtypes import rlong, rstring

from omero_pixclf.config import Recipe
from omero_pixclf.connector.hierarchy import parse_key, parse_targets
from omero_pixclf.connector.project_lookup import SEARCHED_PLACES, find_nearest_projects
from omero_pixclf.connector.results.annotations import find_group, find_marked_files, make_file_annotation, make_link
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS, make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import MissingError, UsageError
from omero_pixclf.text import path_text

__all__ = [
    "BLOCK",
    "FILES_NS",
    "MIMETYPES",
    "attach_file",
    "download_file",
    "list_attached_projects",
    "name_recipe",
    "read_project_bytes",
    "resolve_project",
]

FILES_NS = "openmicroscopy.org/omero/scripts/results/created/omero_pixclf"
BLOCK = 4 << 20
MIMETYPES = {
    ".h5": "application/x-hdf5",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".png": "image/png",
    ".csv": "text/csv",
    ".html": "text/html",
    ".txt": "text/plain",
    ".zip": "application/zip",
    ".json": "application/json",
}


@contextmanager
def _open_raw_file(factory: Any, file: int) -> Iterator[Any]:
    store = factory.createRawFileStore()
    try:
        store.setFileId(file)
        yield store
    finally:
        with suppress(*REMOTE_ERRORS):  # after a lost connection it is closed already
            store.close()


def attach_file(
    session: Session, target: str, path: Path, *, namespace: str = FILES_NS, description: str = "", name: str = ""
) -> int:
    """Attach a local file to an object such as ``"Dataset:7"``, in its group; return the FileAnnotation's id.

    File, annotation and link are created in one step before the bytes are sent, so that an interrupted upload is
    found and removed by its description.
    """
    group = find_group(session, target)
    called = name or path.name

    def clean() -> None:
        delete_objects(
            session, "FileAnnotation", _find_interrupted_upload(session, target, description, called), group=group
        )

    def send(factory: Any) -> int:
        annotation, file = _create_annotation(factory, target, called, namespace, description, path)
        with path.open("rb") as source, _open_raw_file(factory, file) as store:
            _upload_blocks(source, store)
        return annotation

    return session.write(f"{target}: attaching {called}", send, group=group, clean=clean if description else None)


def _create_annotation(
    factory: Any, target: str, name: str, namespace: str, description: str, path: Path
) -> tuple[int, int]:
    file = OriginalFileI()
    file.name, file.path = rstring(path_text(name)), rstring("omero_pixclf/")
    file.mimetype = rstring(MIMETYPES.get(path.suffix, "application/octet-stream"))
    file.size = rlong(path.stat().st_size)
    file.hasher = ChecksumAlgorithmI()
    file.hasher.value = rstring("SHA1-160")  # without a hasher the server computes no checksum
    made = make_link(target, make_file_annotation(namespace, description, file))
    saved = factory.getUpdateService().saveAndReturnObject(made).child
    return int(saved.id.val), int(saved.file.id.val)


def _upload_blocks(source: BinaryIO, store: Any) -> None:
    offset = 0
    while block := source.read(BLOCK):
        store.write(block, offset, len(block))
        offset += len(block)
    store.save()


def _find_interrupted_upload(session: Session, target: str, mark: str, name: str) -> list[int]:
    found = find_marked_files(session, target, mark)
    if not found:
        return []
    hql = "select a.id from FileAnnotation a where a.id in (:ids) and a.file.name = :name order by a.id"
    return session.query_ids(hql, ids=found, name=name)


def download_file(session: Session, annotation: int) -> tuple[str, bytes]:
    """Return name and content of an attached file.

    Raises
    ------
    MissingError
        There is no such FileAnnotation, or it is not visible.
    """
    hql = "select a.file.id, a.file.name from FileAnnotation a where a.id = :id"
    found = session.query_rows(hql, id=annotation)
    if not found:
        raise make_missing_error("FileAnnotation", annotation)
    file, name = found[0]

    def fetch(factory: Any) -> bytes:
        with _open_raw_file(factory, file) as store:
            size = store.size()
            # OMERO.server pads reads past the end with zeros.
            return b"".join(bytes(store.read(at, min(BLOCK, size - at))) for at in range(0, size, BLOCK))

    return name, session.read(f"FileAnnotation:{annotation}: downloading {name}", fetch)


def name_recipe(session: Session, recipe: Recipe) -> Recipe:
    """Return the recipe with a name: its own or that of its project's file, which may be attached in OMERO.

    Raises
    ------
    MissingError
        There is no such FileAnnotation, or it is not visible.
    """
    project = recipe.classifier.project
    if not recipe.name and project.startswith("FileAnnotation:"):
        annotation = parse_key(project)[1]
        found = session.query_rows("select a.file.name from FileAnnotation a where a.id = :id", id=annotation)
        if not found:
            raise make_missing_error("FileAnnotation", annotation)
        project = str(found[0][0])
    return recipe.called_after(project)


def read_project_bytes(session: Session, reference: str, targets: Sequence[str] = ()) -> tuple[str, bytes]:
    """Return name and content of the ``.ilp`` that `resolve_project` finds.

    Raises
    ------
    MissingError, UsageError
        The same as from `resolve_project`.
    """
    return download_file(session, parse_key(resolve_project(session, reference, targets))[1])


def resolve_project(session: Session, reference: str, targets: Sequence[str] = ()) -> str:
    """Return ``"FileAnnotation:12"`` for such a reference, or for the name of a file attached to or near a target.

    "Near" includes the plate and screen of a well, the plates of a screen, and so on; the nearest file is used
    (`omero_pixclf.connector.project_lookup`).

    Raises
    ------
    MissingError
        No such file is attached.
    UsageError
        Several files of that name are equally near.
    """
    if reference.startswith("FileAnnotation:"):
        return reference
    found: dict[int, str] = {}
    for kind, ident in parse_targets(targets):
        found.update(find_nearest_projects(session, f"{kind}:{ident}", reference.__eq__))
    if not found:
        raise MissingError(
            f"{reference}: no such local file, and no file of that name is attached to "
            f"{', '.join(targets) or 'any target'} ({SEARCHED_PLACES}); attach it, or give its id as FileAnnotation:12"
        )
    if len(found) > 1:
        choices = ", ".join(f"FileAnnotation:{i}" for i in sorted(found))
        raise UsageError(f"{reference}: several attached files of that name ({choices}); choose one by its id")
    return f"FileAnnotation:{min(found)}"


def list_attached_projects(session: Session) -> list[tuple[int, str, str]]:
    """List all visible ``.ilp`` attachments as (FileAnnotation id, file name, container), newest first."""
    hql = "select a.id, f.name from FileAnnotation a join a.file f where lower(f.name) like '%.ilp'"
    named: dict[int, str] = dict(session.query_rows(hql))
    found = []
    for kind in ("Project", "Dataset", "Screen", "Plate", "Image"):
        hql = f"select l.child.id, l.parent.id from {kind}AnnotationLink l where l.child.id in (:ids)"
        rows = session.query_rows(hql, ids=sorted(named)) if named else []
        found += [(ident, named[ident], f"{kind}:{parent}") for ident, parent in rows]
    return sorted(found, key=lambda row: (-row[0], row[2]))

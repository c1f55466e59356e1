"""Requests about the files of an image: used files, original metadata, sizes on disk."""

from __future__ import annotations

from typing import Any

import omero.cmd
from omero.rtypes import rlong

from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.fetching import readable_ids
from omero_pixclf.embedded.hql.queries import query_rows
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import pixels_path

__all__ = ["find_pyramids", "image_binaries", "original_metadata", "used_files"]

_COMPANION = "openmicroscopy.org/omero/import/companionFile"
_ANNOTATED = (
    "select f.id, f.name, f.path, a.id, a.ns from ImageAnnotationLink l, FileAnnotation a join a.file f "
    "where l.child.id = a.id and l.parent.id = :i order by f.id"
)
_ARCHIVED = "select m.parent.id from PixelsOriginalFileMap m where m.child.image.id = :i order by m.parent.id"
_IN_FILESET = "select e.originalFile.id from FilesetEntry e where e.fileset.id = :i order by e.id"


def _fileset_of(call: RequestContext, ident: int) -> int | None:
    """Return the fileset of an image that the caller can see."""
    if not readable_ids(call, "Image", [ident]):
        raise RequestError("bad-image", f"cannot read image {ident}")
    fileset = call.tx.one("SELECT fileset FROM image WHERE id = ?", (ident,))[0]
    return int(fileset) if fileset is not None else None


def used_files(call: RequestContext, request: Any) -> Any:
    """Answer a UsedFilesRequest; each image of a fileset uses all of its files."""
    fileset = _fileset_of(call, request.imageId)
    if fileset is not None:
        files = [row[0] for row in query_rows(call, _IN_FILESET, i=fileset)]
        return omero.cmd.UsedFilesResponse(files, [], [], [])
    companions = _companions(call, request.imageId)
    archived = [row[0] for row in query_rows(call, _ARCHIVED, i=request.imageId)]
    metadata = [ident for ident, name, _ in companions if name == "original_metadata.txt"]
    others = [ident for ident, name, _ in companions if name != "original_metadata.txt"]
    return omero.cmd.UsedFilesResponsePreFs(archived, others, metadata)


def _companions(call: RequestContext, image: int) -> list[tuple[int, str, int]]:
    """Return (file, name, annotation) of the companion files attached at import."""
    rows = query_rows(call, _ANNOTATED, i=image)
    return [(ident, name, note) for ident, name, _path, note, ns in rows if ns == _COMPANION]


def original_metadata(call: RequestContext, request: Any) -> Any:
    """Answer an OriginalMetadataRequest; the embedded OMERO stores no format-specific values."""
    fileset = _fileset_of(call, request.imageId)
    notes = [note for _, name, note in _companions(call, request.imageId) if name == "original_metadata.txt"]
    return omero.cmd.OriginalMetadataResponse(
        rlong(fileset) if fileset is not None else None, rlong(notes[0]) if notes else None, {}, {}
    )


def image_binaries(call: RequestContext, request: Any) -> Any:
    """Answer a ManageImageBinaries request with sizes only; changing or deleting is not supported."""
    if request.togglePixels or request.deletePyramid or request.deleteThumbnails:
        raise RequestError("unsupported", "the embedded OMERO keeps no pyramids and moves no pixels")
    fileset = _fileset_of(call, request.imageId)
    pixels = [row[0] for row in call.tx.all("SELECT id FROM pixels WHERE image = ?", (request.imageId,))]
    sizes = [path.stat().st_size for path in (pixels_path(call.folder, i) for i in pixels) if path.exists()]
    archived = [row[0] for row in query_rows(call, _ARCHIVED, i=request.imageId)]
    made = omero.cmd.ManageImageBinariesResponse()
    made.filesetId = rlong(fileset) if fileset is not None else None
    made.archivedFiles, made.pixelsPresent, made.pyramidPresent = archived, bool(sizes), False
    made.archivedSize, made.pixelSize, made.pyramidSize, made.thumbnailSize = 0, sum(sizes), 0, 0
    return made


def find_pyramids(call: RequestContext, request: Any) -> Any:
    """Answer a FindPyramids request; there are none."""
    return omero.cmd.FindPyramidsResponse([])

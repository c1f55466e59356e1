"""Rows of an import: folders, files, the Fileset and its jobs; and undoing an import that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import omero.model
from omero.rtypes import rlong, rstring, rtime

from omero_pixclf.checksums import CHECKSUM_ALGORITHMS
from omero_pixclf.embedded.commands.delete import execute_deletion
from omero_pixclf.embedded.commands.delete_rules import Deletion
from omero_pixclf.embedded.commands.graph_traversal import Action
from omero_pixclf.embedded.commands.options import ChildOptions
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import api_usage_error, validation_error
from omero_pixclf.embedded.server.jobs import insert_job
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.managed_files import (
    common_folder,
    forget_managed_paths,
    import_folders,
    managed_folder,
    record_managed_path,
    remove_managed_files,
    safe_path,
)
from omero_pixclf.embedded.storage.repositories import MANAGED, repository_uuid
from omero_pixclf.embedded.users.access_rights import USER_GROUP

__all__ = [
    "DIRECTORY",
    "LOG_MIMETYPE",
    "StartedImport",
    "add_folder",
    "add_folders",
    "discard_import",
    "discard_unfinished_imports",
    "new_file",
    "start_import",
]

DIRECTORY = "Directory"
LOG_MIMETYPE = "application/omero-log-file"
_SERVER_JOBS = ("MetadataImportJob", "PixelDataJob", "ThumbnailGenerationJob", "IndexingJob")
_LOG_SUFFIX = ".log"


@dataclass(frozen=True)
class StartedImport:
    """An import whose rows are stored and whose files are to be uploaded.

    Attributes
    ----------
    fileset
        The saved Fileset with its entries and jobs.
    folder
        The folder of its files, relative to the managed repository.
    files
        Ids and paths of the OriginalFiles in the order of the entries; paths are relative to the managed repository.
    log
        The OriginalFile of the import's log.
    log_place
        Path of the log, relative to the managed repository.
    group
        The group of the import.
    """

    fileset: Any
    folder: PurePosixPath
    files: tuple[tuple[int, PurePosixPath], ...]
    log: Any
    log_place: PurePosixPath
    group: int


def start_import(call: RequestContext, fileset: Any, settings: Any) -> StartedImport:
    """Create folders and rows for a client's Fileset, in an open transaction that writes.

    Raises
    ------
    ApiUsageException, ValidationException
        There are no files, there is no checksum algorithm, or not exactly one upload job.
    """
    entries = list(fileset.copyUsedFiles()) if fileset is not None else []
    if not entries:
        raise api_usage_error("No paths provided")
    algorithm = _algorithm(settings)
    upload = _upload_job(fileset)
    folder = _new_folder(call)
    inner = _inner_paths(entries)
    add_folders(call, folder, inner)
    files = []
    for entry, path in zip(entries, inner, strict=True):
        entry.originalFile = new_file(call, folder / path, algorithm)
        files.append(entry.originalFile)
    fileset.templatePrefix = rstring(f"{folder}/")
    log = new_file(call, folder.with_name(folder.name + _LOG_SUFFIX), None, LOG_MIMETYPE)
    upload.linkOriginalFile(log)
    _describe_upload(call, upload)
    _add_jobs(call, fileset, settings)
    saver = Saver(call)
    saved = saver.save(fileset)
    saver.flush()
    for file, path in zip(files, inner, strict=True):
        record_managed_path(call.tx, file.id.val, folder / path)
    log_place = folder.with_name(folder.name + _LOG_SUFFIX)
    record_managed_path(call.tx, log.id.val, log_place)
    places = tuple((file.id.val, folder / path) for file, path in zip(files, inner, strict=True))
    return StartedImport(saved, folder, places, log, log_place, call.write_group)


def _algorithm(settings: Any) -> str:
    if settings is None or settings.checksumAlgorithm is None:
        raise api_usage_error("must specify checksum algorithm")
    value = settings.checksumAlgorithm.value
    if value is None or value.val not in CHECKSUM_ALGORITHMS:
        raise validation_error(f"unknown checksum algorithm: {value.val if value is not None else None}")
    return str(value.val)


def _upload_job(fileset: Any) -> Any:
    links = list(fileset.copyJobLinks())
    if len(links) != 1:
        raise validation_error(f"Found {len(links)} job links. Link only uploadJob on creation!")
    job = links[0].child
    if not isinstance(job, omero.model.UploadJob):
        raise validation_error(f"Found non-UploadJob on creation: {type(job).__name__}")
    return job


def _describe_upload(call: RequestContext, job: Any) -> None:
    """Set the fields of a client's upload job that the server sets."""
    now = rtime(now_ms())
    group = call.tx.one("SELECT name FROM experimentergroup WHERE id = ?", (call.write_group,))[0]
    job.username, job.groupname = rstring(call.caller.user_name), rstring(group)
    job.type, job.message = rstring(call.session.event_type), rstring("Uploading")
    job.submitted, job.scheduledFor, job.started = now, now, now
    job.status = omero.model.JobStatusI()
    job.status.value = rstring("Running")


# ---- folders and files -------------------------------------------------------------------------------------------
def _new_folder(call: RequestContext) -> PurePosixPath:
    """Return a new folder for an import that starts now."""
    now = datetime.now()
    while True:
        first, *others = import_folders(call.caller.user_name, call.caller.user_id, now)
        folder = PurePosixPath(first, *others)
        taken = call.tx.one("SELECT 1 FROM managed WHERE place = ?", (str(folder),)) is not None
        if not taken and not (managed_folder(call.folder) / folder).exists():
            break
        now += timedelta(milliseconds=1)
    add_folder(call, PurePosixPath(first), owner=0, group=USER_GROUP)
    for depth in range(1, len(others) + 1):
        add_folder(call, PurePosixPath(first, *others[:depth]))
    return folder


def _inner_paths(entries: Sequence[Any]) -> list[PurePosixPath]:
    """Return the files' paths below their import's folder, without what the clients' paths have in common."""
    if any(entry is None or entry.clientPath is None for entry in entries):
        raise validation_error("a FilesetEntry has no clientPath")
    paths = [safe_path(entry.clientPath.val) for entry in entries]
    if len(set(paths)) != len(paths):
        raise validation_error("a path is given twice")
    shared = common_folder(paths)
    return [path.relative_to(shared) for path in paths]


def add_folders(call: RequestContext, folder: PurePosixPath, inner: Sequence[PurePosixPath]) -> None:
    """Create the subfolders of an import's new folder."""
    _insert_folders(call, sorted({folder / parent for path in inner for parent in path.parents if parent.parts}))


def add_folder(
    call: RequestContext, folder: PurePosixPath, *, owner: int | None = None, group: int | None = None
) -> None:
    """Insert the row of a folder if there is none, and create the folder after the commit."""
    sql = "SELECT 1 FROM originalfile WHERE repo = ? AND path = ? AND name = ?"
    if call.tx.one(sql, (repository_uuid(call.tx, MANAGED), *_row_place(folder))) is None:
        _insert_folders(call, [folder], owner=owner, group=group)
    else:
        _make_later(call, [folder])


def _make_later(call: RequestContext, folders: Sequence[PurePosixPath]) -> None:
    """Create folders on the disk after the commit."""

    def make() -> None:
        for folder in folders:
            (managed_folder(call.folder) / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    call.tx.after_commit.append(make)


def _insert_folders(
    call: RequestContext, folders: Sequence[PurePosixPath], *, owner: int | None = None, group: int | None = None
) -> None:
    first = call.tx.new_ids("originalfile", len(folders))
    whose = (
        call.caller.user_id if owner is None else owner,
        call.write_group if group is None else group,
        *(call.event_id, call.event_id),
    )
    repository, now = repository_uuid(call.tx, MANAGED), now_ms()
    rows = [
        (ident, *whose, *_row_place(folder), DIRECTORY, repository, now, now, now)
        for ident, folder in enumerate(folders, first)
    ]
    call.tx.executemany(
        "INSERT INTO originalfile (id, owner_id, group_id, creation_id, update_id, path, name, mimetype, repo, size, "
        "ctime, mtime, atime) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
        rows,
    )
    for ident, folder in enumerate(folders, first):
        record_managed_path(call.tx, ident, folder)
    _make_later(call, folders)


def _row_place(place: PurePosixPath) -> tuple[str, str]:
    """Return the columns ``path`` and ``name`` of a path in the managed repository."""
    return ("/" if place.parent == PurePosixPath() else f"{place.parent}/"), place.name


def new_file(
    call: RequestContext, place: PurePosixPath, algorithm: str | None, mimetype: str = "application/octet-stream"
) -> Any:
    """Return an unsaved OriginalFile at a path in the managed repository."""
    made, now = omero.model.OriginalFileI(), rtime(now_ms())
    path, name = _row_place(place)
    made.path, made.name, made.mimetype, made.size = rstring(path), rstring(name), rstring(mimetype), rlong(0)
    made.repo = rstring(repository_uuid(call.tx, MANAGED))
    made.ctime, made.mtime, made.atime = now, now, now
    if algorithm is not None:
        made.hasher = omero.model.ChecksumAlgorithmI()
        made.hasher.value = rstring(algorithm)
    return made


def _add_jobs(call: RequestContext, fileset: Any, settings: Any) -> None:
    """Link the server's own jobs in their order, as OMERO does."""
    wants_thumbnails = settings.doThumbnails is not None and settings.doThumbnails.val
    for kind in _SERVER_JOBS:
        if kind == "ThumbnailGenerationJob" and not wants_thumbnails:
            continue
        fileset.linkJob(getattr(omero.model, kind + "I")(insert_job(call, kind, []), False))


# ---- change up ---------------------------------------------------------------------------------------------------
def discard_unfinished_imports(call: RequestContext) -> None:
    """Delete the imports that were not finished when the server stopped or was killed.

    Their upload job is running, or their reading job has neither finished nor failed. Filesets that were not imported
    have no files in the managed repository.
    """
    sql = (
        "SELECT DISTINCT f.id, f.templatePrefix FROM fileset f JOIN filesetjoblink l ON l.parent = f.id "
        "JOIN job j ON j.id = l.child JOIN jobstatus s ON s.id = j.status WHERE (j.kind = 'UploadJob' AND s.value = "
        "'Running' OR j.kind = 'MetadataImportJob' AND s.value IN ('Waiting', 'Running')) AND EXISTS "
        "(SELECT 1 FROM filesetentry e JOIN managed m ON m.file = e.originalFile WHERE e.fileset = f.id)"
    )
    for ident, prefix in call.tx.all(sql):
        discard_import(call, ident, PurePosixPath(prefix))


def discard_import(call: RequestContext, fileset: int, folder: PurePosixPath) -> None:
    """Delete rows and files of an import that failed, with its folder.

    The Fileset may be deleted already, together with the last of its images.
    """
    tx = call.tx
    if tx.one("SELECT 1 FROM fileset WHERE id = ?", (fileset,)) is not None:
        deletion = Deletion(call.as_admin(), ChildOptions())
        deletion.run(deletion.find_targets("Fileset", [fileset]), Action.DELETE)
        execute_deletion(deletion, deletion.references_to_clear())
    sql = (  # 0 is the character after the slash
        "SELECT o.id FROM managed m JOIN originalfile o ON o.id = m.file "
        "WHERE (m.place = ? OR m.place > ? AND m.place < ?) AND o.mimetype = ?"
    )
    folders = [row[0] for row in tx.all(sql, (str(folder), f"{folder}/", f"{folder}0", DIRECTORY))]
    places = forget_managed_paths(tx, call.folder, folders)
    tx.executemany("DELETE FROM originalfile WHERE id = ?", [(ident,) for ident in folders])
    tx.after_commit.append(lambda: remove_managed_files(places))

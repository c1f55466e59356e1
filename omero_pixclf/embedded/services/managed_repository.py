"""ManagedRepository: the repository of imported files."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import omero
import omero.grid
import omero.model
from omero.rtypes import rstring

from omero_pixclf.checksums import CHECKSUM_ALGORITHMS, file_checksum
from omero_pixclf.embedded.commands.handle import submit
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.imports.filesets import DIRECTORY, add_folder, new_file, start_import
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import without_transaction, writes_database
from omero_pixclf.embedded.services.import_process import ImportProcess
from omero_pixclf.embedded.services.repository import Repository
from omero_pixclf.embedded.storage.managed_files import (
    managed_folder,
    original_file_path,
    record_managed_path,
    safe_path,
)
from omero_pixclf.embedded.storage.repositories import MANAGED, repository_uuid

__all__ = ["ManagedRepository"]


class ManagedRepository(Repository):
    """omero.grid.ManagedRepository."""

    interface = omero.grid.ManagedRepository
    session_uuid_operations = Repository.session_uuid_operations | {
        "importFileset",
        "importPaths",
        "listImports",
        "setChecksumAlgorithm",
        "verifyChecksums",
    }

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session, MANAGED)

    def row_place(self, path: str) -> tuple[str, str]:
        place = _place(path)
        return ("/" if place.parent == PurePosixPath() else f"{place.parent}/"), place.name

    def inside(self, path: str) -> str:
        place = _place(path)
        return f"{place}/" if place.parts else "/"

    # ---- importing -------------------------------------------------------------------------------------------
    @without_transaction
    def importFileset(self, context: Any, fileset: Any, settings: Any) -> Any:
        given = dict(context or {})
        with self.transaction(given, write=True) as call:
            started = start_import(call, fileset, settings)
        process = ImportProcess(self.server, self.session, started, settings, given)
        return self.server.add_object(self.session, self.category, process, "omero.grid.ImportProcess")

    @without_transaction
    def importPaths(self, context: Any, paths: list[str]) -> Any:
        fileset = omero.model.FilesetI()
        for path in paths or []:
            entry = omero.model.FilesetEntryI()
            entry.clientPath = rstring(path)
            fileset.addFilesetEntry(entry)
        fileset.linkJob(omero.model.UploadJobI())
        settings = omero.grid.ImportSettings()
        settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
        settings.checksumAlgorithm.value = rstring(CHECKSUM_ALGORITHMS[0])
        return self.importFileset(context, fileset, settings)

    def listImports(self, call: RequestContext) -> list[Any]:
        """Return the open imports of this session."""
        known = [s for s in self.session.services.values() if isinstance(s, ImportProcess)]
        return [self.server.proxy_for(process) for process in known if process.group in call.caller.member_of]

    # ---- checksums -------------------------------------------------------------------------------------------
    def listChecksumAlgorithms(self, call: RequestContext) -> list[Any]:
        ids = dict(call.tx.all("SELECT value, id FROM checksumalgorithm"))
        found = [call.graph.get("ChecksumAlgorithm", ids[name]) for name in CHECKSUM_ALGORITHMS]
        call.graph.finish_loading()
        return found

    def suggestChecksumAlgorithm(self, call: RequestContext, supported: list[Any]) -> Any:
        names = {algorithm.value.val for algorithm in supported or [] if algorithm is not None}
        return next((a for a in self.listChecksumAlgorithms(call) if a.value.val in names), None)

    def verifyChecksums(self, call: RequestContext, ids: list[int]) -> list[int]:
        """Return the ids of files whose bytes do not match the stored checksum."""
        call = call.in_group(None)
        hashed = [row for row in self._load_checksums(call, ids) if row[1] is not None]
        return [ident for ident, hasher, digest in hashed if self._checksum(call, ident, str(hasher)) != digest]

    @writes_database
    def setChecksumAlgorithm(self, call: RequestContext, algorithm: Any, ids: list[int]) -> list[int]:
        call = call.in_group(None)
        name = algorithm.value.val
        row = call.tx.one("SELECT id FROM checksumalgorithm WHERE value = ?", (name,))
        if row is None or name not in CHECKSUM_ALGORITHMS:
            raise validation_error(f"unknown checksum algorithm: {name}")
        changed = []
        for ident, hasher, digest in self._load_checksums(call, ids):
            if hasher == name and digest is not None:
                continue
            self._check_editable(call, ident)
            if hasher and digest is not None and self._checksum(call, ident, hasher) != digest:
                raise omero_error(omero.InternalException, f"hash mismatch on file ID {ident}")
            sql = "UPDATE originalfile SET hasher = ?, hash = ? WHERE id = ?"
            call.tx.execute(sql, (row[0], self._checksum(call, ident, name), ident))
            changed.append(ident)
        return changed

    def _load_checksums(self, call: RequestContext, ids: list[int]) -> list[tuple[int, str | None, str | None]]:
        sql = (
            "SELECT f.id, a.value, f.hash FROM originalfile f LEFT JOIN checksumalgorithm a ON a.id = f.hasher "
            "WHERE f.id = ? AND f.repo = ? AND coalesce(f.mimetype, '') <> ?"
        )
        repository = repository_uuid(call.tx, MANAGED)
        rows = (call.tx.one(sql, (ident, repository, DIRECTORY)) for ident in ids)
        return [row for row in rows if row is not None and self._may_read(call, row[0])]

    def _may_read(self, call: RequestContext, ident: int) -> bool:
        return call.caller.may_read(*self._owner(call, ident))

    def _owner(self, call: RequestContext, ident: int) -> tuple[int, int]:
        owner, group = call.tx.one("SELECT owner_id, group_id FROM originalfile WHERE id = ?", (ident,))
        return owner, group

    def _check_editable(self, call: RequestContext, ident: int) -> None:
        if not call.graph.rights(*self._owner(call, ident), file=ident).edit:
            raise security_violation(f"OriginalFile:{ident} is not editable")

    def _checksum(self, call: RequestContext, ident: int, algorithm: str) -> str | None:
        path = original_file_path(call.tx, call.folder, ident)
        return file_checksum(path, algorithm) if path.is_file() else None

    # ---- folders and files -----------------------------------------------------------------------------------
    @writes_database
    def makeDir(self, call: RequestContext, path: str, parents: bool) -> None:
        place = safe_path(path)
        wanted = [PurePosixPath(*place.parts[: depth + 1]) for depth in range(len(place.parts))]
        if not parents:
            if (managed_folder(call.folder) / place).exists():
                raise omero_error(omero.ResourceError, f"Path exists on disk: {place}")
            if len(wanted) > 1 and not (managed_folder(call.folder) / wanted[-2]).is_dir():
                raise omero_error(omero.ResourceError, f"{wanted[-2]} does not exist")
            wanted = wanted[-1:]
        for folder in wanted:
            self._check_parent(call, folder)
            add_folder(call, folder)

    def _check_parent(self, call: RequestContext, folder: PurePosixPath) -> None:
        """Raise SecurityViolation in another user's folder."""
        if (managed_folder(call.folder) / folder).exists() or folder.parent == PurePosixPath():
            return
        parent = self.find(call, str(folder.parent))
        if parent is None or not folder.parent.parent.parts:
            return
        if not call.graph.rights(*self._owner(call, parent), file=parent).edit:
            raise security_violation(f"{folder.parent} is not editable.")

    def save_file(self, call: RequestContext, path: str, mimetype: str) -> Any:
        place = safe_path(path)
        folder = place.parent
        if folder.parts and self.find(call, str(folder)) is None:
            raise validation_error(f"{folder} is not in the repository")
        self._check_parent(call, place)
        file = new_file(call, place, CHECKSUM_ALGORITHMS[0], mimetype or "application/octet-stream")
        saver = Saver(call)
        saved = saver.save(file)
        saver.flush()
        record_managed_path(call.tx, saved.id.val, place)
        return saved

    @without_transaction
    def deletePaths(self, context: Any, paths: list[str], recursive: bool, force: bool) -> Any:
        with self.transaction(context) as call:
            ids = [ident for path in paths for ident in self._all_below(call, path, self.find(call, path))]
        if not ids:
            raise api_usage_error(f"none of {paths} is in the repository")
        request = omero.cmd.Delete2()
        request.targetObjects = {"OriginalFile": ids}
        return submit(self.server, self.session, self.category, request, dict(context or {}))

    def _all_below(self, call: RequestContext, path: str, known: int | None) -> list[int]:
        """Return the ids of a file or folder and everything in it, the deepest first."""
        if known is None:
            return []
        found = []
        for child, ident in self.children(call, path):
            found.extend(self._all_below(call, f"{path}/{child}", ident))
        return [*found, known]


def _place(path: str) -> PurePosixPath:
    """Return the place of a path; the repository itself has an empty one."""
    return PurePosixPath() if not path.strip("/") else safe_path(path)

"""RawFileStore: reading and writing the bytes of an OriginalFile."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import omero
import omero.api
from omero.rtypes import rlong, rstring, rtime

from omero_pixclf.checksums import CHECKSUM_ALGORITHMS, file_checksum
from omero_pixclf.embedded.database.saving_rights import check_group
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.storage.data_paths import read_at, write_at
from omero_pixclf.embedded.storage.managed_files import original_file_path

__all__ = ["RawFileStore"]


class RawFileStore(OmeroService):
    """omero.api.RawFileStore."""

    interface = omero.api.RawFileStore
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._ident: int | None = None
        self._path: Path | None = None
        self._group = 0
        self._descriptor: int | None = None
        self._writable = False
        self._modified = False
        self._stored_size: int | None = None

    def setFileId(self, call: RequestContext, ident: int) -> None:
        if self._ident == ident:
            return
        self._leave()
        call.graph.get("OriginalFile", ident)
        owner, group, size = call.tx.one("SELECT owner_id, group_id, size FROM originalfile WHERE id = ?", (ident,))
        path = original_file_path(call.tx, call.folder, ident)
        imported = call.tx.one("SELECT 1 FROM filesetentry WHERE originalFile = ?", (ident,)) is not None
        may_edit = call.caller.group_id is not None and call.graph.rights(owner, group, file=ident).edit
        self.open_path(path, ident, group, may_edit and not imported)
        self._stored_size = size

    def open_path(self, path: Path, ident: int, group: int, writable: bool) -> None:
        """Open the store on a path; repositories store their files in other places than `setFileId`."""
        self._ident, self._path, self._writable = ident, path, writable
        self._group = group

    def _leave(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._path, self._ident, self._modified = None, None, None, False

    def _where(self) -> Path:
        if self._path is None:
            raise api_usage_error(
                "This RawFileStore has not been properly initialized.\n"
                "Please set the file id before executing any other methods.\n"
            )
        return self._path

    def _file(self) -> int:
        """Return the open file's descriptor; a writable file is created."""
        path = self._where()
        if self._descriptor is None:
            if self._writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            elif path.exists():
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                raise omero_error(omero.ResourceError, f"{path.name} (No such file or directory)")
        return self._descriptor

    def _file_to_write(self) -> int:
        self._where()
        if not self._writable:
            raise security_violation("File not writeable!")
        return self._file()

    # ---- operations ------------------------------------------------------------------------------------------
    @without_transaction
    def getFileId(self, context: Any) -> Any:
        return None if self._ident is None else rlong(self._ident)

    @without_transaction
    def exists(self, context: Any) -> bool:
        return self._where().exists()

    @without_transaction
    def size(self, context: Any) -> int:
        return os.fstat(self._file()).st_size

    @without_transaction
    def read(self, context: Any, position: int, length: int) -> bytes:
        if length < 0 or position < 0:
            raise omero_error(omero.InternalException, f"Wrapped Exception: {length} bytes from {position}")
        return read_at(self._file(), length, position)

    @without_transaction
    def write(self, context: Any, data: bytes, position: int, length: int) -> None:
        if not 0 <= length <= len(data) or position < 0:
            self._where()
            raise omero_error(
                omero.InternalException, f"Wrapped Exception: {length} of {len(data)} bytes at {position}"
            )
        write_at(self._file_to_write(), memoryview(data)[:length], position)
        self._modified = True

    @without_transaction
    def truncate(self, context: Any, length: int) -> bool:
        if length >= os.fstat(self._file()).st_size:
            return False
        os.ftruncate(self._file_to_write(), length)
        self._modified = True
        return True

    # ---- the end ---------------------------------------------------------------------------------------------
    @without_transaction
    def save(self, context: Any) -> Any:
        """Store size, time and checksum (if the file names an algorithm); return the file, or None if unchanged.

        It runs in the group of the call's context. A client that opened a file of another group passes the context
        here, too, and when it closes an unsaved store.
        """
        if self._path is None or not self._writable:
            return None
        size = self.size(context)  # creates the file of an empty upload
        if not self._modified and size != 0 and self._stored_size in (None, size):
            return None
        with self.transaction(context) as call:
            check_group(call, self._group)
            algorithm = call.tx.one(
                "SELECT a.value FROM originalfile f JOIN checksumalgorithm a ON a.id = f.hasher WHERE f.id = ?",
                (self._ident,),
            )
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        found = self._store(context, size, _digest(self._path, algorithm[0]) if algorithm else None)
        self._modified, self._stored_size = False, size
        return found

    def _store(self, context: Any, size: int, digest: str | None) -> Any:
        path = self._where()
        changed = int(path.stat().st_mtime * 1000)
        with self.transaction(context, write=True) as call:
            call.tx.execute(
                "UPDATE originalfile SET size = ?, mtime = ?, hash = coalesce(?, hash) WHERE id = ?",
                (size, changed, digest, self._ident),
            )
            found = call.graph.get("OriginalFile", self._ident or 0)
            call.graph.finish_loading()
        found.unloadFilesetEntries()
        found.size, found.mtime = rlong(size), rtime(changed)
        if digest is not None:
            found.hash = rstring(digest)
        return found

    @without_transaction
    def close(self, context: Any) -> None:
        """Save what was written, in the group of the call's context, and close."""
        try:
            self.save(context)
        finally:
            super().close(context)

    def release(self) -> None:
        self._leave()


def _digest(path: Path, algorithm: str) -> str:
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise api_usage_error(f"checksum algorithm {algorithm} is not part of the embedded OMERO")
    return file_checksum(path, algorithm)

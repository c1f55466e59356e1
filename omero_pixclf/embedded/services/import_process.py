"""ImportProcess: the upload of one file set, its verification, and the start of its import."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import logging
import sqlite3
import uuid
from typing import Any

import omero
import omero.grid
import omero.model

from omero_pixclf.checksums import file_checksum
from omero_pixclf.embedded.imports.filesets import StartedImport, discard_import
from omero_pixclf.embedded.imports.import_handle import ImportHandle
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.jobs import update_job
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.services.file_store import RawFileStore
from omero_pixclf.embedded.storage.managed_files import managed_folder
from omero_pixclf.embedded.storage.repositories import MANAGED, repository_uuid

__all__ = ["ImportProcess"]

_log = logging.getLogger(__name__)


class ImportProcess(OmeroService):
    """omero.grid.ImportProcess.

    If it is closed, or its session ends, before all files are verified, the import is discarded.
    """

    interface = omero.grid.ImportProcess
    session_uuid_operations = frozenset({"verifyUpload"})
    stateful = True

    def __init__(
        self, server: Any, session: Any, started: StartedImport, settings: Any, context: dict[str, str]
    ) -> None:
        super().__init__(server, session)
        self._started = started
        self._settings = settings
        self._context = context
        self._uploaders: dict[int, RawFileStore] = {}
        self._handle: Any = None

    @property
    def group(self) -> int:
        """The group of the import."""
        return self._started.group

    def _file(self, index: int) -> tuple[int, Any]:
        if not 0 <= index < len(self._started.files):
            raise api_usage_error(f"no file {index} of {len(self._started.files)}")
        ident, place = self._started.files[index]
        return ident, managed_folder(self.server.folder) / place

    # ---- uploading -------------------------------------------------------------------------------------------
    @without_transaction
    def getUploader(self, context: Any, index: int) -> Any:
        """Return the store that takes a file's bytes; the same one until it is closed."""
        if self._handle is not None:
            raise api_usage_error("the upload has been verified already")
        ident, path = self._file(index)
        store = self._uploaders.get(index)
        if store is None or store.name not in self.session.services:
            store = RawFileStore(self.server, self.session)
            store.open_path(path, ident, self.group, True)
            self._uploaders[index] = store
            return self.server.add_object(self.session, self.category, store, "omero.api.RawFileStore")
        return self.server.proxy_for(store)

    @without_transaction
    def getUploadOffset(self, context: Any, index: int) -> int:
        """Return the number of bytes of a file that have arrived, to resume an upload."""
        _, path = self._file(index)
        return path.stat().st_size if path.exists() else 0

    @without_transaction
    def verifyUpload(self, context: Any, hashes: list[str]) -> Any:
        """Compare the client's checksums with those of the uploaded files, and start to read them."""
        files = self._started.files
        if hashes is None:
            raise api_usage_error("hashes list cannot be null")
        if len(hashes) != len(files):
            raise api_usage_error(f"hashes size should be {len(files)} not {len(hashes)}")
        if self._handle is not None:
            return self._handle
        for store in self._uploaders.values():
            store.save(self._context)
        failing = self._failing(hashes)
        if failing:
            raise omero.ChecksumValidationException(
                "", "omero.ChecksumValidationException", "A checksum mismatch has occurred.", failing
            )
        with self.transaction(self._in_group(), write=True) as call:
            upload = self._started.fileset.copyJobLinks()[0].child.id.val
            update_job(call.tx, upload, "Finished", "Finished")
            request = self._request(call)
        handle = ImportHandle(self.server, self.session, request, self._in_group(), self._started)
        self._handle = self.server.add_object(self.session, self.category, handle, "omero.cmd.Handle")
        self.server.run_in_background(handle, handle.run, "omero-import")
        return self._handle

    def _failing(self, hashes: list[str]) -> dict[int, str]:
        """Return the server's checksums of the files with another checksum than the client's."""
        algorithm = self._settings.checksumAlgorithm.value.val
        failing = {}
        for index, wanted in enumerate(hashes):
            _, path = self._file(index)
            found = file_checksum(path, algorithm) if path.exists() else ""
            if found != wanted:
                failing[index] = found
        return failing

    def _in_group(self) -> dict[str, str]:
        return {**self._context, "omero.group": str(self.group)}

    def _request(self, call: RequestContext) -> Any:
        fileset = self._started.fileset
        sql = "SELECT id, child FROM filesetjoblink WHERE parent = ? ORDER BY id"
        link, job = call.tx.all(sql, (fileset.id.val,))[1]
        made = omero.grid.ImportRequest()
        made.clientUuid = str(uuid.uuid4())
        made.repoUuid = repository_uuid(call.tx, MANAGED)
        made.process = self.server.proxy_for(self)
        made.activity = omero.model.FilesetJobLinkI(link, True)
        made.activity.parent = fileset
        made.activity.child = omero.model.MetadataImportJobI(job, False)
        made.settings = self._settings
        made.location = omero.grid.ImportLocation(
            sharedPath=str(self._started.folder),
            omittedLevels=0,
            usedFiles=[str(place.relative_to(self._started.folder)) for _, place in self._started.files],
            directory=None,
        )
        made.logFile = omero.model.OriginalFileI(self._started.log.id.val, False)
        return made

    @without_transaction
    def getHandle(self, context: Any) -> Any:
        return self._handle

    @without_transaction
    def getImportSettings(self, context: Any) -> Any:
        return self._settings

    def on_client_gone(self) -> None:
        """Discard an upload whose client has gone; a started import decides by its handle."""
        if self._handle is None:
            self.server.close_service(self)

    # ---- the end ---------------------------------------------------------------------------------------------
    def release(self) -> None:
        for store in self._uploaders.values():
            store.release()
        if self._handle is not None:
            return
        try:
            with self.transaction(self._in_group(), write=True) as call:
                discard_import(call, self._started.fileset.id.val, self._started.folder)
        except (omero.ServerError, sqlite3.Error):  # the session must still be closed
            _log.exception("the upload of %s could not be discarded", self._started.folder)

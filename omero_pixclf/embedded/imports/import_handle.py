"""The server's part of an import after the upload: read the files, unpack pixels, save images and plates."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import Ice
import omero.grid

from omero_pixclf.embedded.commands.cancellation import cancellable, check_cancelled
from omero_pixclf.embedded.commands.handle import RequestHandle
from omero_pixclf.embedded.commands.request_errors import RequestError, make_error_response
from omero_pixclf.embedded.imports.filesets import StartedImport, discard_import
from omero_pixclf.embedded.imports.import_saving import (
    IMAGES_PER_TRANSACTION,
    SavedImage,
    remove_images,
    save_images,
    save_plates_and_links,
)
from omero_pixclf.embedded.imports.model_objects import ImportData, RequestedSettings, is_unattended
from omero_pixclf.embedded.imports.pixel_import import unpack_pixels
from omero_pixclf.embedded.series.reading import find_main_file, open_series
from omero_pixclf.embedded.server.jobs import update_job
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import remove_files, temporary_folder
from omero_pixclf.embedded.storage.managed_files import managed_folder
from omero_pixclf.errors import ImageError
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.embedded.server.servant import ServiceHost
    from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["ImportHandle"]

_log = logging.getLogger(__name__)
_STEPS = 6
_PAUSE_S = 0.01  # pause between transactions, so that waiting requests get the database


class ImportHandle(RequestHandle):
    """The omero.cmd.Handle of an omero.grid.ImportRequest.

    Pixels are unpacked before the database is used. Images are then saved in batches, so that no long transaction
    blocks others; the last transaction saves the plates and links everything to its container. The remains of a failed
    or cancelled import are removed; if the server was killed, by its next start.
    """

    def __init__(
        self, server: ServiceHost, session: ClientSession, request: Any, context: dict[str, str], started: StartedImport
    ) -> None:
        super().__init__(server, session, request, context)
        self._started = started
        self._unattended = is_unattended(request.settings)
        self._status.steps = _STEPS

    def _outcome(self) -> tuple[Any, list[Any]]:
        self._set_jobs("Running")
        try:
            with cancellable(self._cancelled):
                answer = self._import()
        except Exception as error:  # noqa: BLE001 the request's outermost catch: every failure is the client's answer
            self._fail(error)
            return self._answer(error), self._failure_flags()
        return answer, []

    def _fail(self, error: Exception) -> None:
        _log.info("the import of %s failed: %s", self._started.folder, error)
        if not self._cancelled.is_set():
            self._write_log(f"failed: {error}")
            self._set_jobs("Error", self._hide_server_paths(str(error)))
        self._undo_import()

    def _answer(self, error: Exception) -> Any:
        made = make_error_response(self._request, _translate_error(error), "import-request-failure")
        made.parameters = {name: self._hide_server_paths(text) for name, text in made.parameters.items()}
        return made

    def _hide_server_paths(self, text: str) -> str:
        """Return a text for clients: paths relative to the import instead of the server's folders."""
        server, own = self.server.folder, managed_folder(self.server.folder) / self._started.folder
        folders = "|".join(re.escape(str(one)) for one in (own.resolve(), own, server.resolve(), server) if one.parts)
        return re.sub(rf"(?<![\w./-])(?:{folders})/", "", text)

    def _failure_flags(self) -> list[Any]:
        return [omero.cmd.State.FAILURE, omero.cmd.State.CANCELLED]

    # ---- the steps -------------------------------------------------------------------------------------------
    def _import(self) -> Any:
        root = managed_folder(self.server.folder)
        own = root / self._started.folder
        main = find_main_file([root / place for _, place in self._started.files], own)
        with ExitStack() as held:
            content = held.enter_context(open_series(main, within=own))
            folder = held.enter_context(temporary_folder(self.server.folder))
            self._step(1, f"{content.format}: {pluralize(len(content.series), 'image')}")
            for remark in content.remarks:
                self._write_log(remark)
            pixels = []
            for found in unpack_pixels(content, folder):
                pixels.append(found)
                self.session.touch()  # a session with a running import is not idle
            self._step(2, f"{pluralize(len(pixels), 'image')} unpacked")
            settings = RequestedSettings.of(self._request.settings)
            data = ImportData(content, pixels, settings, main.name, self._started.fileset.id.val)
            return self._save_all(data)

    def _save_all(self, data: ImportData) -> Any:
        """Save the images in batches, and at last the plates and the links to containers."""
        made: list[SavedImage] = []
        for first in range(0, len(data.pixels), IMAGES_PER_TRANSACTION):
            check_cancelled(_PAUSE_S)
            made += self._save_batch(data, range(first, min(first + IMAGES_PER_TRANSACTION, len(data.pixels))))
            self.session.touch()
        self._step(3, "images saved")
        check_cancelled(_PAUSE_S)
        with self._transaction() as call:
            plates = save_plates_and_links(call, data, [one.image for one in made])
            self._note_format(call, data.content.format)
            self._finish_jobs(call)
            check_cancelled()  # last chance to cancel before the commit
        self._step(_STEPS - 1, "saved")
        return omero.grid.ImportResponse([one.pixels for one in made], [*plates, *(one.image for one in made)])

    def _save_batch(self, data: ImportData, numbers: range) -> list[SavedImage]:
        placed: list[int] = []
        try:
            with self._transaction() as call:
                return save_images(call, data, numbers, placed)
        except BaseException:
            remove_files(self.server.folder, "Pixels", placed)
            raise

    def _transaction(self) -> Any:
        if self._cancelled.is_set():
            raise RequestError("cancel-called", "cancelled before it began")
        return self.transaction({**self._context, "omero.group": str(self._started.group)}, write=True)

    def _note_format(self, call: RequestContext, kind: str) -> None:
        """Set the files' type to the format that was found."""
        ids = [(kind, ident) for ident, _ in self._started.files]
        call.tx.executemany("UPDATE originalfile SET mimetype = ? WHERE id = ?", ids)

    # ---- giving up -------------------------------------------------------------------------------------------
    def on_client_gone(self) -> None:
        """Cancel the import if the client has gone, unless the client asked the server to continue."""
        if not self._unattended:
            self._cancelled.set()

    def release(self) -> None:
        """Cancel an import whose handle is closed before its end, also by the end of the session."""
        self.on_client_gone()

    def _undo_import(self) -> None:
        """Delete the images of a failed import; of a cancelled one everything.

        A stopping server leaves that to its next start.
        """
        try:
            while not self.server.is_stopping:
                with self.transaction({"omero.group": "-1"}, write=True) as call:
                    if not remove_images(call, self._started.fileset.id.val, IMAGES_PER_TRANSACTION):
                        break
                time.sleep(_PAUSE_S)
            if self._cancelled.is_set() and not self.server.is_stopping:
                with self.transaction({"omero.group": "-1"}, write=True) as call:
                    discard_import(call, self._started.fileset.id.val, self._started.folder)
        except (Ice.Exception, sqlite3.Error):
            _log.exception("the import of %s could not be taken back; the next start does", self._started.folder)

    # ---- telling how far it has come -------------------------------------------------------------------------
    def _step(self, number: int, what: str) -> None:
        with self.lock:
            self._status.currentStep = number
            listeners = list(self._callbacks.values())
        self._write_log(what)
        for listener in listeners:
            try:
                listener.step(number, _STEPS)
            except Ice.Exception as error:
                _log.info("a client was not told about step %d of an import: %s", number, error)

    def _write_log(self, text: str) -> None:
        path = managed_folder(self.server.folder) / self._started.log_place
        try:
            with path.open("a", encoding="utf-8") as log:
                log.write(f"{self._hide_server_paths(text)}\n")
        except OSError as error:  # a full disk; the response is more important
            _log.warning("%s: %s", path, error)

    def _jobs(self, call: RequestContext) -> list[int]:
        """Return the ids of the server's jobs of this import, without the upload job."""
        sql = "SELECT child FROM filesetjoblink WHERE parent = ? ORDER BY id"
        return [row[0] for row in call.tx.all(sql, (self._started.fileset.id.val,))][1:]

    def _set_jobs(self, status: str, message: str | None = None) -> None:
        with self.transaction({"omero.group": "-1"}, write=True) as call:
            for job in self._jobs(call):
                update_job(call.tx, job, status, message)
            self._note_log_size(call)

    def _finish_jobs(self, call: RequestContext) -> None:
        for job in self._jobs(call):
            update_job(call.tx, job, "Finished", "Finished")
        self._note_log_size(call)

    def _note_log_size(self, call: RequestContext) -> None:
        path = managed_folder(self.server.folder) / self._started.log_place
        size = path.stat().st_size if path.exists() else 0
        call.tx.execute("UPDATE originalfile SET size = ? WHERE id = ?", (size, self._started.log.id.val))


def _translate_error(error: Exception) -> Exception:
    """Return errors of reading with OMERO's names for them."""
    if isinstance(error, ImageError):
        unknown = "unknown kind" in str(error)
        made = RequestError("import-unknown-format" if unknown else "import-file-exception", str(error))
        made.__cause__ = error
        return made
    return error

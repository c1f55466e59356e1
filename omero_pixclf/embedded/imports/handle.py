"""The server's part of an import, once the files are there: read them, unpack their pixels, make images of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Ice
import omero.grid

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.commands.handle import RequestHandle
from omero_pixclf.embedded.commands.interruption import go_on, interruptible
from omero_pixclf.embedded.commands.refusal import Refused, error_response
from omero_pixclf.embedded.imports.filesets import Begun
from omero_pixclf.embedded.imports.objects import Wishes, link_screens, link_wishes, new_images, new_plates
from omero_pixclf.embedded.imports.planes import Unpacked, put_in_place, unpack
from omero_pixclf.embedded.jobs import set_job_state
from omero_pixclf.embedded.managed import managed_folder
from omero_pixclf.embedded.rendering_settings import defaults_into, new_settings, save_settings
from omero_pixclf.embedded.resolutions import open_pixels
from omero_pixclf.embedded.saving import Saver
from omero_pixclf.embedded.services.pixels import describe_pixels
from omero_pixclf.embedded.storage import remove_files, temporary_folder
from omero_pixclf.errors import ImageError
from omero_pixclf.files.series.content import Content
from omero_pixclf.files.series.reading import main_file, open_series

if TYPE_CHECKING:
    from omero_pixclf.embedded.server import Server
    from omero_pixclf.embedded.sessions import ClientSession

__all__ = ["ImportHandle"]

_log = logging.getLogger(__name__)
_STEPS = 6


class ImportHandle(RequestHandle):
    """The omero.cmd.Handle of an omero.grid.ImportRequest.

    Pixels are unpacked before the database is asked for anything; then everything is saved in one transaction.
    """

    def __init__(
        self, server: Server, session: ClientSession, request: Any, context: dict[str, str], begun: Begun
    ) -> None:
        super().__init__(server, session, request, context)
        self._begun = begun
        self._status.steps = _STEPS

    def _outcome(self) -> tuple[Any, list[Any]]:
        self._set_jobs("Running")
        try:
            with interruptible(self._cancelled):
                answer = self._import()
        except Exception as error:  # noqa: BLE001 the request's outermost catch: every failure is the client's answer
            self._write_log(f"failed: {error}")
            self._set_jobs("Error", str(error))
            return error_response(self._request, _named(error), "import-request-failure"), self._failed()
        return answer, []

    def _failed(self) -> list[Any]:
        return [omero.cmd.State.FAILURE, omero.cmd.State.CANCELLED]

    # ---- the steps -------------------------------------------------------------------------------------------
    def _import(self) -> Any:
        wishes = Wishes.of(self._request.settings)
        root = managed_folder(self.server.folder)
        own = root / self._begun.folder
        main = main_file([root / place for _, place in self._begun.files], own)
        with ExitStack() as held:
            content = held.enter_context(open_series(main, within=own))
            folder = held.enter_context(temporary_folder(self.server.folder))
            self._step(1, f"{content.format}: {len(content.series)} images")
            pixels = []
            for found in unpack(content, folder):
                pixels.append(found)
                self.session.touch()  # what works for a client is not idle
            self._step(2, f"{len(pixels)} images unpacked")
            return self._saved(content, pixels, wishes, main)

    def _saved(self, content: Content, pixels: Sequence[Unpacked], wishes: Wishes, main: Path) -> Any:
        placed: list[int] = []
        try:
            with self._transaction() as call:
                images = self._save(call, content, pixels, wishes, main, placed)
                self._finish_jobs(call)
                go_on()  # the last moment at which nothing has changed yet
        except BaseException:
            remove_files(self.server.folder, "Pixels", placed)
            raise
        self._step(_STEPS - 1, "saved")
        return images

    def _transaction(self) -> Any:
        if self._cancelled.is_set():
            raise Refused("cancel-called", "cancelled before it began")
        return self.transaction({**self._context, "omero.group": str(self._begun.group)}, write=True)

    def _save(
        self,
        call: Call,
        content: Content,
        pixels: Sequence[Unpacked],
        wishes: Wishes,
        main: Path,
        placed: list[int],
    ) -> Any:
        """Save all objects; ``placed`` gets the ids of pixels whose files are in place, to be removed on a failure."""
        images = new_images(call, content, pixels, self._begun.fileset.id.val, main.name, wishes)
        plates = new_plates(content, images, wishes, main.name)
        saver = Saver(call)
        for image in images:
            saver.save(image)
        for plate in plates:
            saver.save(plate)
        saver.flush()
        made = [image.getPrimaryPixels() for image in images]
        for one, found in zip(made, pixels, strict=True):
            placed.append(one.id.val)
            put_in_place(found, call.folder, one.id.val)
        _note_levels(call, content, made)
        link_screens(call, content, plates)
        link_wishes(call, images, plates, wishes)
        self._step(3, "metadata")
        if wishes.thumbnails:
            for one in made:
                _default_settings(call, one.id.val)
        self._note_format(call, content.format)
        self._step(4, "thumbnails")
        return omero.grid.ImportResponse([_brief(one) for one in made], [*plates, *images])

    def _note_format(self, call: Call, kind: str) -> None:
        """The files' type is that of what they turned out to be."""
        ids = [(kind, ident) for ident, _ in self._begun.files]
        call.tx.executemany("UPDATE originalfile SET mimetype = ? WHERE id = ?", ids)

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
        path = managed_folder(self.server.folder) / self._begun.log_place
        try:
            with path.open("a", encoding="utf-8") as log:
                log.write(f"{text}\n")
        except OSError as error:  # a full disk: the answer matters more
            _log.warning("%s: %s", path, error)

    def _jobs(self, call: Call) -> list[int]:
        """The server's own jobs of this import; the first one, the upload, is done."""
        sql = "SELECT child FROM filesetjoblink WHERE parent = ? ORDER BY id"
        return [row[0] for row in call.tx.all(sql, (self._begun.fileset.id.val,))][1:]

    def _set_jobs(self, status: str, message: str | None = None) -> None:
        with self.transaction({"omero.group": "-1"}, write=True) as call:
            for job in self._jobs(call):
                set_job_state(call.tx, job, status, message)
            self._note_log_size(call)

    def _finish_jobs(self, call: Call) -> None:
        for job in self._jobs(call):
            set_job_state(call.tx, job, "Finished", "Finished")
        self._note_log_size(call)

    def _note_log_size(self, call: Call) -> None:
        path = managed_folder(self.server.folder) / self._begun.log_place
        size = path.stat().st_size if path.exists() else 0
        call.tx.execute("UPDATE originalfile SET size = ? WHERE id = ?", (size, self._begun.log.id.val))


def _named(error: Exception) -> Exception:
    """Failures of reading as OMERO names them."""
    if isinstance(error, ImageError):
        unknown = "unknown kind" in str(error)
        made = Refused("import-unknown-format" if unknown else "import-file-exception", str(error))
        made.__cause__ = error
        return made
    return error


def _note_levels(call: Call, content: Content, pixels: Sequence[Any]) -> None:
    rows = [
        (one.id.val, place, level.width, level.height)
        for one, series in zip(pixels, content.series, strict=True)
        for place, level in enumerate(series.levels)
        if place > 0
    ]
    call.tx.executemany("INSERT INTO resolution VALUES (?, ?, ?, ?)", rows)


def _default_settings(call: Call, ident: int) -> None:
    """The settings that thumbnails are drawn with."""
    described = describe_pixels(call, ident)
    call.graph.finish()
    buffer = open_pixels(call, ident)
    try:
        settings = new_settings(call, described)
        defaults_into(call, settings, described, buffer)
        save_settings(call, settings)
    finally:
        buffer.close()


def _brief(pixels: Any) -> Any:
    """Pixels as clients want them back: with their image's id, without channels."""
    made = omero.model.PixelsI()
    for name in ("id", "details", "sha1", "dimensionOrder", "pixelsType", "significantBits"):
        setattr(made, f"_{name}", getattr(pixels, f"_{name}"))
    for axis in "XYZCT":
        setattr(made, f"_size{axis}", getattr(pixels, f"_size{axis}"))
    made.image = omero.model.ImageI(pixels.image.id.val, False)
    made.unloadCollections()
    return made

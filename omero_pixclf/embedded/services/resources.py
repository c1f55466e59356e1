"""SharedResources: tables, repositories and script processors."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import logging
from typing import Any

import omero
import omero.api
import omero.grid
import omero.model
from omero.rtypes import rstring, rtime

from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import omero_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.services.managed_repository import ManagedRepository
from omero_pixclf.embedded.services.repository import Repository
from omero_pixclf.embedded.services.table import TableService, register_columns
from omero_pixclf.embedded.storage.data_paths import file_path
from omero_pixclf.embedded.storage.repositories import MANAGED, SCRIPTS, ensure_repositories

__all__ = ["TABLE_MIMETYPE", "SharedResources"]

_log = logging.getLogger(__name__)
TABLE_MIMETYPE = "OMERO.tables"


class SharedResources(OmeroService):
    """omero.grid.SharedResources."""

    interface = omero.grid.SharedResources

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._opened: dict[str, Any] = {}  # proxies of repositories by name
        register_columns(server.communicator)

    # ---- repositories ----------------------------------------------------------------------------------------
    @without_transaction
    def repositories(self, context: Any) -> Any:
        found = omero.grid.RepositoryMap([], [])
        for name, ident in self._repository_ids().items():
            with self.transaction(context) as call:
                graph = call.as_admin().graph
                found.descriptions.append(graph.get("OriginalFile", ident))
                graph.finish_loading()
            found.proxies.append(self._repository(name))
        return found

    def _repository_ids(self) -> dict[str, int]:
        return ensure_repositories(self.server.database)

    @without_transaction
    def getScriptRepository(self, context: Any) -> Any:
        self._repository_ids()
        return self._repository(SCRIPTS)

    def _repository(self, name: str) -> Any:
        with self.lock:
            if name not in self._opened:
                managed = name == MANAGED
                service: Repository = (
                    ManagedRepository(self.server, self.session)
                    if managed
                    else Repository(self.server, self.session, name)
                )
                kind = "omero.grid.ManagedRepository" if managed else "omero.grid.Repository"
                proxy = self.server.add_object(self.session, self.category, service, kind)
                self._opened[name] = proxy
            return self._opened[name]

    # ---- tables ----------------------------------------------------------------------------------------------
    @without_transaction
    def areTablesEnabled(self, context: Any) -> bool:
        return True

    @without_transaction
    def newTable(self, context: Any, repository: int, path: str) -> Any:
        with self.transaction(context, write=True) as call:
            saver = Saver(call)
            file = saver.save(_table_file(path))
            saver.flush()
        return self._table(file, writable=True)

    @without_transaction
    def openTable(self, context: Any, file: Any) -> Any:
        if file is None or file.id is None:
            raise validation_error("file must be a managed instance.")
        ident = file.id.val
        with self.transaction(context) as call:
            call.graph.get("OriginalFile", ident)
        with self.transaction({**context, "omero.group": "-1"}) as call:
            stored = call.graph.get("OriginalFile", ident)
            writable = self._may_write(call, ident)
            call.graph.finish_loading()
        return self._table(file if file.isLoaded() and file.details.group is not None else stored, writable=writable)

    def _may_write(self, call: RequestContext, ident: int) -> bool:
        owner, group = call.tx.one("SELECT owner_id, group_id FROM originalfile WHERE id = ?", (ident,))
        return call.graph.rights(owner, group, file=ident).edit

    def _table(self, file: Any, *, writable: bool) -> Any:
        """Return the proxy of an open table; InternalException for files without one, LockTimeout if it is in use."""
        try:
            path = file_path(self.server.folder, file.id.val)
            service = TableService(self.server, self.session, file, path, writable=writable)
        except omero.LockTimeout:
            raise
        except (omero.ServerError, ValueError) as error:
            _log.warning("OriginalFile:%s cannot be opened as a table: %s", file.id.val, error)
            text = f"OriginalFile:{file.id.val} cannot be opened as a table: {getattr(error, 'message', error)}"
            raise omero_error(omero.InternalException, text) from error
        return self.server.add_object(self.session, self.category, service, "omero.grid.Table")

    # ---- processors ------------------------------------------------------------------------------------------
    def addProcessor(self, call: RequestContext, processor: Any) -> None:
        self.server.processors.add(self.session, call.current.con, processor)

    @without_transaction
    def removeProcessor(self, context: Any, processor: Any) -> None:
        self.server.processors.remove(processor.ice_getIdentity())

    @without_transaction
    def acquireProcessor(self, context: Any, job: Any, seconds: int) -> Any:
        raise omero_error(omero.InternalException, "acquireProcessor: jobs run through IScript.runScript")


def _table_file(path: str) -> Any:
    file = omero.model.OriginalFileI()
    now = rtime(now_ms())
    file.atime, file.mtime, file.ctime = now, now, now
    file.mimetype = rstring(TABLE_MIMETYPE)
    file.path, file.name = rstring(path), rstring(path)
    return file

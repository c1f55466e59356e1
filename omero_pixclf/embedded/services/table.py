"""Table: OMERO.tables, stored by omero-py's own HDF5 storage (``omero.hdfstorageV2``)."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import Ice
import omero
import omero.cmd
import omero.columns
import omero.grid
import tables
from omero.hdfstorageV2 import HDFLIST

from omero_pixclf.embedded.commands.perform import perform
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import api_usage_error, security_violation
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.storage.data_paths import require_space

__all__ = ["TableService", "register_columns"]

_log = logging.getLogger(__name__)


def register_columns(communicator: Any) -> None:
    """Register the column classes that can store themselves with an Ice communicator."""
    for factory in omero.columns.ObjectFactories.values():
        try:
            factory.register(communicator)
        except Ice.AlreadyRegisteredException:
            _log.debug("%s is registered already", factory.id)


class TableService(OmeroService):
    """An open table of one session; several sessions can open the same file.

    Raises the exceptions of `omero.hdfstorageV2` if the file cannot be opened as HDF5.
    """

    interface = omero.grid.Table
    stateful = True

    def __init__(self, server: Any, session: Any, file: Any, path: Path, *, writable: bool) -> None:
        super().__init__(server, session)
        self._file = file
        self._path = path
        self._writable = writable
        path.parent.mkdir(parents=True, exist_ok=True)
        self._storage = HDFLIST.getOrCreate(str(path), self)
        self._stamp = time.time()

    def _open(self) -> Any:
        if self._storage is None:
            raise api_usage_error("the table is closed")
        return self._storage

    def _open_to_write(self) -> Any:
        if not self._writable:
            raise security_violation(f"Current user cannot write to file {self._file.id.val}")
        return self._open()

    def _current(self, context: Any) -> Any:
        """Return the parts of an Ice request that the storage uses."""
        return SimpleNamespace(adapter=self.server.adapter, ctx=context or {})

    # ---- reading ---------------------------------------------------------------------------------------------
    @without_transaction
    def getOriginalFile(self, context: Any) -> Any:
        return self._file

    @without_transaction
    def getHeaders(self, context: Any) -> list[Any]:
        headers: list[Any] = self._open().cols(None, self._current(context))
        return headers

    @without_transaction
    def getNumberOfRows(self, context: Any) -> int:
        return int(self._open().rows())

    @without_transaction
    def getWhereList(self, context: Any, condition: str, variables: Any, start: int, stop: int, step: int) -> Any:
        values = omero.rtypes.unwrap(variables)
        return self._open().getWhereList(self._stamp, condition, values, None, start, stop or None, step or None)

    @without_transaction
    def readCoordinates(self, context: Any, rows: list[int]) -> Any:
        try:
            return self._open().readCoordinates(self._stamp, rows, self._current(context))
        except tables.HDF5ExtError as error:
            raise api_usage_error(f"Error reading coordinates. Most likely out of range: {error}") from error

    @without_transaction
    def read(self, context: Any, columns: list[int], start: int, stop: int) -> Any:
        end = None if start == 0 and stop == 0 else stop
        try:
            return self._open().read(self._stamp, columns, start, end, self._current(context))
        except tables.HDF5ExtError as error:
            raise api_usage_error(f"Error reading coordinates. Most likely out of range: {error}") from error

    @without_transaction
    def slice(self, context: Any, columns: list[int], rows: list[int]) -> Any:
        return self._open().slice(self._stamp, columns, rows, self._current(context))

    # ---- writing ---------------------------------------------------------------------------------------------
    @without_transaction
    def initialize(self, context: Any, columns: list[Any]) -> None:
        storage = self._open_to_write()
        require_space(self._path.parent, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tables.NaturalNameWarning)  # column names need not be identifiers
            storage.initialize(columns)

    @without_transaction
    def addColumn(self, context: Any, column: Any) -> int:
        self._open_to_write()
        raise api_usage_error("NYI")

    @without_transaction
    def addData(self, context: Any, columns: list[Any]) -> None:
        storage = self._open_to_write()
        require_space(self._path.parent, _bytes_of(columns))  # HDF5 loses rows on a full disk without an error
        storage.append(columns)

    @without_transaction
    def update(self, context: Any, data: Any) -> None:
        storage = self._open_to_write()
        if data is not None:
            storage.update(self._stamp, data)

    # ---- metadata --------------------------------------------------------------------------------------------
    @without_transaction
    def getMetadata(self, context: Any, key: str) -> Any:
        return self._open().get_meta_map().get(key)

    @without_transaction
    def getAllMetadata(self, context: Any) -> Any:
        return self._open().get_meta_map()

    @without_transaction
    def setMetadata(self, context: Any, key: str, value: Any) -> None:
        self._open_to_write().add_meta_map({key: value})

    @without_transaction
    def setAllMetadata(self, context: Any, values: dict[str, Any]) -> None:
        self._open_to_write().add_meta_map(values, replace=True)

    # ---- the end ---------------------------------------------------------------------------------------------
    @without_transaction
    def delete(self, context: Any) -> None:
        """Close the table and delete its file."""
        self._open_to_write()
        self.close(context)
        request = omero.cmd.Delete2(targetObjects={"OriginalFile": [self._file.id.val]})
        with self.transaction({**context, "omero.group": "-1"}, write=True) as call:
            perform(call, request)

    def release(self) -> None:
        """Close the storage and, if rows were written, store the file's new size."""
        if self._storage is None:
            return
        storage, self._storage = self._storage, None
        modified = storage.modified()
        storage.decr(self)
        if not modified or not self._writable:
            return
        size = self._path.stat().st_size
        with self.server.database.writing() as tx:
            tx.execute("UPDATE originalfile SET size = ?, mtime = ? WHERE id = ?", (size, now_ms(), self._file.id.val))


def _bytes_of(columns: list[Any]) -> int:
    """Return an upper bound of the bytes of rows."""
    return sum((column.getsize() or 0) * 8 * max(1, getattr(column, "size", 1)) for column in columns)

"""A repository: files by path. The bytes of all files lie side by side; a path is what the file's row says."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import posixpath
from typing import Any

import omero
import omero.grid
import omero.model
from omero.rtypes import rstring

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.faults import invalid
from omero_pixclf.embedded.repositories import repository_uuid
from omero_pixclf.embedded.saving import Saver
from omero_pixclf.embedded.service import Service, changes, untransacted
from omero_pixclf.embedded.services.file_store import RawFileStore

__all__ = ["Repository"]

_DIRECTORY = "Directory"


def _split(path: str) -> tuple[str, str]:
    """Folder (with slashes at both ends) and name of a path."""
    whole = posixpath.normpath("/" + path.strip("/"))
    folder, name = posixpath.split(whole)
    return folder.rstrip("/") + "/", name


class Repository(Service):
    """omero.grid.Repository."""

    interface = omero.grid.Repository
    stateful = True

    def __init__(self, server: Any, session: Any, name: str) -> None:
        super().__init__(server, session)
        self._name = name

    def root(self, call: Call) -> Any:
        sql = "SELECT id FROM originalfile WHERE mimetype = 'Repository' AND name = ? AND owner_id = 0"
        graph = call.as_admin().graph
        found = graph.get("OriginalFile", call.tx.one(sql, (self._name,))[0])
        graph.finish()
        return found

    def _ids(self, call: Call, path: str) -> list[int]:
        """Files directly below a folder that the caller may see."""
        folder, name = _split(path)
        inside = f"{folder}{name}/" if name else folder
        condition = call.caller.filter_sql("originalfile") or "1"
        sql = f"SELECT id FROM originalfile WHERE repo = ? AND path = ? AND {condition} ORDER BY name, id"
        return [row[0] for row in call.tx.all(sql, (repository_uuid(call.tx, self._name), inside))]

    def _find(self, call: Call, path: str) -> int | None:
        folder, name = _split(path)
        sql = "SELECT id FROM originalfile WHERE repo = ? AND path = ? AND name = ? ORDER BY id"
        row = call.tx.one(sql, (repository_uuid(call.tx, self._name), folder, name))
        return row[0] if row else None

    def list(self, call: Call, path: str) -> list[str]:
        found = call.graph.load("OriginalFile", self._ids(call, path)).values()
        return [f.path.val + f.name.val for f in found]

    def listFiles(self, call: Call, path: str) -> Any:
        ids = self._ids(call, path)
        found = call.graph.load("OriginalFile", ids)
        call.graph.finish()
        return [found[i] for i in ids]

    def fileExists(self, call: Call, path: str) -> bool:
        return self._find(call, path) is not None

    def mimetype(self, call: Call, path: str) -> str:
        ident = self._find(call, path)
        if ident is None:
            raise invalid(f"{path} is not in the repository {self._name}")
        return str(call.tx.one("SELECT coalesce(mimetype, '') FROM originalfile WHERE id = ?", (ident,))[0])

    @changes
    def makeDir(self, call: Call, path: str, parents: bool) -> None:
        folder, name = _split(path)
        if self._find(call, path) is not None:
            if parents:
                return
            raise invalid(f"{path} exists already")
        if folder != "/" and self._find(call, folder) is None:
            if not parents:
                raise invalid(f"{folder} does not exist")
            self.makeDir(call, folder, True)
        self._save(call, folder, name, _DIRECTORY)

    @changes
    def register(self, call: Call, path: str, mimetype: Any) -> Any:
        folder, name = _split(path)
        return self._save(call, folder, name, mimetype.val if mimetype is not None else "")

    def _save(self, call: Call, folder: str, name: str, mimetype: str) -> Any:
        file = omero.model.OriginalFileI()
        file.path, file.name, file.mimetype = rstring(folder), rstring(name), rstring(mimetype)
        file.repo = rstring(repository_uuid(call.tx, self._name))
        saver = Saver(call)
        saved = saver.save(file)
        saver.flush()
        return saved

    @untransacted
    def file(self, context: Any, path: str, mode: str) -> Any:
        with self.transaction(context) as call:
            ident = self._find(call, path)
        if ident is None:
            if "w" not in mode:
                raise invalid(f"{path} is not in the repository {self._name}")
            with self.transaction(context, write=True) as call:
                ident = self._save(call, *_split(path), "application/octet-stream").id.val
        return self.fileById(context, ident)

    @untransacted
    def fileById(self, context: Any, ident: int) -> Any:
        store = RawFileStore(self.server, self.session)
        with self.transaction(context) as call:
            store.setFileId(call, ident)
        return self.server.add_object(self.session, self.category, store, "omero.api.RawFileStore")

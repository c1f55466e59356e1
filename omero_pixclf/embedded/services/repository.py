"""Repository: files by path. The bytes of all files are stored side by side; the row of a file has its path."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import posixpath
from typing import Any

import omero
import omero.grid
import omero.model
from omero.rtypes import rlong, rmap, rstring

from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.server.exceptions import security_violation, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database
from omero_pixclf.embedded.services.file_store import RawFileStore
from omero_pixclf.embedded.storage.repositories import repository_uuid

__all__ = ["Repository"]

_DIRECTORY = "Directory"


class Repository(OmeroService):
    """omero.grid.Repository."""

    interface = omero.grid.Repository
    stateful = True
    session_uuid_operations = frozenset(
        {"deletePaths", "file", "fileById", "fileExists", "list", "listFiles"}
        | {"makeDir", "mimetype", "register", "root", "treeList"}
    )

    def __init__(self, server: Any, session: Any, name: str) -> None:
        super().__init__(server, session)
        self._name = name

    # ---- how rows name places --------------------------------------------------------------------------------
    def row_place(self, path: str) -> tuple[str, str]:
        """Return folder (with a final slash) and name in the row of a path."""
        whole = posixpath.normpath("/" + path.strip("/"))
        folder, name = posixpath.split(whole)
        return folder.rstrip("/") + "/", name

    def inside(self, path: str) -> str:
        """Return the folder in the rows of files directly below a path."""
        folder, name = self.row_place(path)
        return f"{folder}{name}/" if name else folder

    def children(self, call: RequestContext, path: str) -> list[tuple[str, int]]:
        """Return names and ids of the visible files directly below a folder."""
        condition = call.caller.filter_sql("originalfile") or "1"
        sql = f"SELECT name, id FROM originalfile WHERE repo = ? AND path = ? AND {condition} ORDER BY name, id"
        return list(call.tx.all(sql, (repository_uuid(call.tx, self._name), self.inside(path))))

    def find(self, call: RequestContext, path: str) -> int | None:
        """Return the id of the file or folder at a path, or None."""
        folder, name = self.row_place(path)
        sql = "SELECT id FROM originalfile WHERE repo = ? AND path = ? AND name = ? ORDER BY id"
        row = call.tx.one(sql, (repository_uuid(call.tx, self._name), folder, name))
        return row[0] if row else None

    # ---- looking ---------------------------------------------------------------------------------------------
    def root(self, call: RequestContext) -> Any:
        sql = "SELECT id FROM originalfile WHERE mimetype = 'Repository' AND name = ? AND owner_id = 0"
        graph = call.as_admin().graph
        found = graph.get("OriginalFile", call.tx.one(sql, (self._name,))[0])
        graph.finish_loading()
        return found

    def list(self, call: RequestContext, path: str) -> list[str]:
        ids = [ident for _, ident in self.children(call, path)]
        found = call.graph.load("OriginalFile", ids)
        return [found[i].path.val + found[i].name.val for i in ids]

    def listFiles(self, call: RequestContext, path: str) -> Any:
        ids = [ident for _, ident in self.children(call, path)]
        found = call.graph.load("OriginalFile", ids)
        call.graph.finish_loading()
        return [found[i] for i in ids]

    def treeList(self, call: RequestContext, path: str) -> Any:
        """Return maps by name: id, mimetype, size, and for folders ``files``, a map of the same form."""
        ident = self.find(call, path) if path.strip("/") else None
        if ident is None:
            return rmap({name: self._tree(call, f"{path}/{name}", i) for name, i in self.children(call, path)})
        return rmap({self.row_place(path)[1]: self._tree(call, path, ident)})

    def _tree(self, call: RequestContext, path: str, ident: int) -> Any:
        mimetype, size = call.tx.one("SELECT mimetype, size FROM originalfile WHERE id = ?", (ident,))
        found = {"id": rlong(ident), "mimetype": rstring(mimetype), "size": rlong(size or 0)}
        if mimetype == _DIRECTORY:
            inner = {name: self._tree(call, f"{path}/{name}", i) for name, i in self.children(call, path)}
            found["files"] = rmap(inner)
        return rmap(found)

    def fileExists(self, call: RequestContext, path: str) -> bool:
        return self.find(call, path) is not None

    def mimetype(self, call: RequestContext, path: str) -> str:
        ident = self.find(call, path)
        if ident is None:
            raise validation_error(f"{path} is not in the repository {self._name}")
        return str(call.tx.one("SELECT coalesce(mimetype, '') FROM originalfile WHERE id = ?", (ident,))[0])

    # ---- changing --------------------------------------------------------------------------------------------
    @writes_database
    def makeDir(self, call: RequestContext, path: str, parents: bool) -> None:
        folder, _ = self.row_place(path)
        if self.find(call, path) is not None:
            if parents:
                return
            raise validation_error(f"{path} exists already")
        if folder != "/" and self.find(call, folder) is None:
            if not parents:
                raise validation_error(f"{folder} does not exist")
            self.makeDir(call, folder, True)
        self.save_file(call, path, _DIRECTORY)

    @writes_database
    def register(self, call: RequestContext, path: str, mimetype: Any) -> Any:
        return self.save_file(call, path, mimetype.val if mimetype is not None else "")

    def save_file(self, call: RequestContext, path: str, mimetype: str) -> Any:
        """Create a new file at a path."""
        file = omero.model.OriginalFileI()
        folder, name = self.row_place(path)
        file.path, file.name, file.mimetype = rstring(folder), rstring(name), rstring(mimetype)
        file.repo = rstring(repository_uuid(call.tx, self._name))
        saver = Saver(call)
        saved = saver.save(file)
        saver.flush()
        return saved

    @without_transaction
    def file(self, context: Any, path: str, mode: str) -> Any:
        with self.transaction(context) as call:
            ident = self.find(call, path)
            if ident is not None and "w" in mode:
                owner, group = call.tx.one("SELECT owner_id, group_id FROM originalfile WHERE id = ?", (ident,))
                if not call.graph.rights(owner, group, file=ident).edit:
                    raise security_violation("requiresWrite is true but cannot modify")
        if ident is None:
            if "w" not in mode:
                raise validation_error(f"{path} is not in the repository {self._name}")
            with self.transaction(context, write=True) as call:
                ident = self.save_file(call, path, "application/octet-stream").id.val
        return self.fileById(context, ident)

    @without_transaction
    def fileById(self, context: Any, ident: int) -> Any:
        store = RawFileStore(self.server, self.session)
        with self.transaction(context) as call:
            store.setFileId(call, ident)
        return self.server.add_object(self.session, self.category, store, "omero.api.RawFileStore")

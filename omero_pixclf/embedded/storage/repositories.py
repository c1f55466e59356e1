"""The server's repositories: data, ManagedRepository and scripts, as rows of OriginalFile."""

from __future__ import annotations

import uuid

from omero_pixclf.embedded.database.sqlite import Database, Transaction, now_ms
from omero_pixclf.embedded.users.access_rights import USER_GROUP

__all__ = ["DATA", "MANAGED", "SCRIPTS", "ensure_repositories", "privilege_domain", "repository_uuid"]

DATA, MANAGED, SCRIPTS = "data", "ManagedRepository", "scripts"
_DOMAINS = {MANAGED: "ManagedRepo", SCRIPTS: "ScriptRepo"}
_IS_REPOSITORY = "mimetype = 'Repository' AND path = '/' AND name = ? AND owner_id = 0"
_FIND = f"SELECT id FROM originalfile WHERE {_IS_REPOSITORY}"


def ensure_repositories(database: Database) -> dict[str, int]:
    """Return the ids of the repositories' files by name; the first call creates them."""
    with database.reading() as tx:
        found = _find(tx)
    if len(found) == 3:
        return found
    with database.writing() as tx:
        for name in (DATA, MANAGED, SCRIPTS):
            if name not in _find(tx):
                _insert(tx, name)
        return _find(tx)


def repository_uuid(tx: Transaction, name: str) -> str:
    """Return the value of the column ``repo`` of a repository's files."""
    key = ("repository", name)
    if key not in tx.cache:
        tx.cache[key] = str(tx.one(f"SELECT hash FROM originalfile WHERE {_IS_REPOSITORY}", (name,))[0])
    return str(tx.cache[key])


def privilege_domain(tx: Transaction, ident: int) -> str:
    """Return the domain of the privileges for a file: ``ManagedRepo``, ``ScriptRepo``, or ``File``."""
    row = tx.one(
        "SELECT r.name FROM originalfile f JOIN originalfile r ON r.hash = f.repo AND r.mimetype = 'Repository' "
        "AND r.path = '/' WHERE f.id = ?",
        (ident,),
    )
    return _DOMAINS.get(row[0], "File") if row is not None else "File"


def _find(tx: Transaction) -> dict[str, int]:
    rows = {name: tx.one(_FIND, (name,)) for name in (DATA, MANAGED, SCRIPTS)}
    return {name: row[0] for name, row in rows.items() if row is not None}


def _insert(tx: Transaction, name: str) -> None:
    now = now_ms()
    values = {
        "id": tx.new_id("originalfile"),
        "owner_id": 0,
        "group_id": USER_GROUP,
        "creation_id": 0,
        "update_id": 0,
        "path": "/",
        "name": name,
        "mimetype": "Repository",
        "hash": str(uuid.uuid4()),
        "size": 0,
        "atime": now,
        "mtime": now,
        "ctime": now,
    }
    marks = ", ".join("?" * len(values))
    tx.execute(f"INSERT INTO originalfile ({', '.join(values)}) VALUES ({marks})", list(values.values()))

"""Initial rows of a new server: enumerations, the groups system, user and guest, the users root and guest."""

from __future__ import annotations

import uuid

from omero.model import PermissionsI

from omero_pixclf.embedded.database.enumerations import BIT_SIZES, VALUES
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import Transaction, now_ms
from omero_pixclf.embedded.users.passwords import ANY_PASSWORD, hash_password

__all__ = ["insert_initial_rows", "set_password"]

_GROUPS = ((0, "system", "rw----"), (1, "user", "rw----"), (2, "guest", "rw----"))
_USERS = ((0, "root", "root", "root"), (1, "guest", "Guest", "Account"))
_MEMBERS = ((0, 0, True, 0), (0, 1, False, 1), (1, 2, False, 0))  # user, group, leader, place


def insert_initial_rows(tx: Transaction, root_password: str) -> None:
    """Fill an empty database."""
    _insert_enumerations(tx)
    _insert_bootstrap_event(tx)
    for ident, name, level in _GROUPS:
        tx.execute(
            "INSERT INTO experimentergroup (id, name, permissions, ldap, creation_id, update_id) "
            "VALUES (?, ?, ?, 0, 0, 0)",
            (ident, name, PermissionsI(level)._perm1),
        )
    for ident, name, first, last in _USERS:
        tx.execute(
            "INSERT INTO experimenter (id, omeName, firstName, lastName, ldap) VALUES (?, ?, ?, ?, 0)",
            (ident, name, first, last),
        )
    for user, group, leader, place in _MEMBERS:
        tx.execute(
            "INSERT INTO groupexperimentermap (id, parent, child, owner, child_index) VALUES (?, ?, ?, ?, ?)",
            (tx.new_id("groupexperimentermap"), group, user, leader, place),
        )
    _insert_root_privileges(tx)
    set_password(tx, 0, root_password)
    tx.execute("INSERT INTO password VALUES (1, ?, ?)", (ANY_PASSWORD, now_ms()))
    _skip_ids(tx, "experimentergroup", len(_GROUPS))
    _skip_ids(tx, "experimenter", len(_USERS))
    tx.execute("INSERT INTO configuration VALUES ('omero.db.uuid', ?)", (str(uuid.uuid4()),))


def set_password(tx: Transaction, user_id: int, password: str) -> None:
    """Store the hash of a user's password."""
    tx.execute("INSERT OR REPLACE INTO password VALUES (?, ?, ?)", (user_id, hash_password(password), now_ms()))


def _insert_enumerations(tx: Transaction) -> None:
    for name, values in VALUES.items():
        where = table(name)
        for value in values:
            extra = BIT_SIZES[value] if "bitSize" in where.columns else None
            columns, marks = ("id, value, bitSize", "?, ?, ?") if extra else ("id, value", "?, ?")
            row = (tx.new_id(where.name), value, *((extra,) if extra else ()))
            tx.execute(f"INSERT INTO {where.name} ({columns}) VALUES ({marks})", row)


def _insert_bootstrap_event(tx: Transaction) -> None:
    kind = tx.one("SELECT id FROM eventtype WHERE value = 'Bootstrap'")[0]
    tx.execute("INSERT INTO node (id, uuid, conn, up) VALUES (0, '000000000000000000000000000000000000', 'UNKNOWN', 0)")
    tx.execute(
        "INSERT INTO session (id, kind, uuid, owner, node, started, closed) VALUES (0, 'Session', '-', 0, 0, 0, 0)"
    )
    tx.execute(
        "INSERT INTO event (id, status, time, experimenter, experimenterGroup, type, session) "
        "VALUES (0, 'BOOTSTRAP', ?, 0, 0, ?, 0)",
        (now_ms(), kind),
    )


def _insert_root_privileges(tx: Transaction) -> None:
    rows = [(i, name, "true") for i, name in enumerate(f"AdminPrivilege:{v}" for v in VALUES["AdminPrivilege"])]
    tx.executemany("INSERT INTO experimenter_config (id, position, name, value) VALUES (0, ?, ?, ?)", rows)


def _skip_ids(tx: Transaction, name: str, count: int) -> None:
    for _ in range(count):
        tx.new_id(name)

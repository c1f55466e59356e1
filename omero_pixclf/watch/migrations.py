"""Schema version of the watcher's state database, and the migrations from one version to the next.

To change a table in `omero_pixclf.watch.state`, change its columns there and append a function to `MIGRATIONS` that
makes the same change in an existing database (``alter table run add column …``), on SQLite and on PostgreSQL. The
schema version is one more than the number of migrations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, insert, inspect, select, text, update

from omero_pixclf import __version__
from omero_pixclf.errors import UsageError

__all__ = ["FIRST_VERSION", "MIGRATIONS", "Migration", "schema_version", "upgrade_schema"]

_log = logging.getLogger(__name__)

Migration = Callable[[Connection], None]
"""Changes the tables of one schema version to those of the next; called within the transaction of the upgrade."""

FIRST_VERSION = 1
"""Version of a database that stores no version: the table `schema` was added later."""

MIGRATIONS: tuple[Migration, ...] = ()
"""The migrations in order; the first one upgrades version 1 to version 2."""

_LOCK = 0x70697863
"""Number of the PostgreSQL advisory lock for the upgrade."""

_schema = Table("schema", MetaData(), Column("version", Integer, primary_key=True, autoincrement=False))


def schema_version(connection: Connection) -> int | None:
    """Return the schema version that a database stores; None if it stores none."""
    if not inspect(connection).has_table(_schema.name):
        return None
    return connection.execute(select(_schema.c.version)).scalar_one_or_none()


def upgrade_schema(engine: Engine, tables: MetaData, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Create the tables in an empty database, or upgrade those of an older version, in one transaction.

    Of several processes that do this at the same time, one makes the changes and the others wait for it.

    Parameters
    ----------
    engine
        The database.
    tables
        The tables of the newest version.
    name
        The database's name in messages.
    migrations
        All migrations since the first version.

    Raises
    ------
    UsageError
        If the database has a newer version than the one that the migrations lead to.
    """
    with engine.connect() as connection:
        is_complete = set(tables.tables).issubset(inspect(connection).get_table_names())
        is_current = is_complete and schema_version(connection) == FIRST_VERSION + len(migrations)
    if not is_current:
        with engine.begin() as connection:
            _lock(connection)
            _upgrade_locked(connection, tables, name, migrations)


def _upgrade_locked(connection: Connection, tables: MetaData, name: str, migrations: Sequence[Migration]) -> None:
    newest = FIRST_VERSION + len(migrations)
    stored = schema_version(connection)
    has_tables = not set(tables.tables).isdisjoint(inspect(connection).get_table_names())
    version = stored or (FIRST_VERSION if has_tables else newest)
    if version > newest:
        raise UsageError(
            f"{name}: the state database has schema version {version}, but omero_pixclf {__version__} supports "
            f"versions up to {newest}. Install the newer omero_pixclf that upgraded the database, or set `state` under "
            "[service] to another database"
        )
    for migrate in migrations[version - FIRST_VERSION :]:
        migrate(connection)
    tables.create_all(connection)
    if stored is None:
        _schema.create(connection, checkfirst=True)
        connection.execute(insert(_schema).values(version=newest))
    else:
        connection.execute(update(_schema).values(version=newest))
    if version < newest:
        _log.info("%s: upgraded the state database from schema version %d to %d", name, version, newest)


def _lock(connection: Connection) -> None:
    """Let the transaction wait for the end of other upgrades before it looks at the tables."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("begin immediate")
    elif connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _LOCK})

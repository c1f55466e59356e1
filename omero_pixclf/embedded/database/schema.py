"""Tables derived from the object model: one per class hierarchy, one column per stored property.

References are stored as ids, quantities as a value and the name of the unit, times as milliseconds. The table of a
hierarchy has a column ``kind`` with the class; children of ordered collections have ``<back reference>_index``;
name-value pairs have a table of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from omero_pixclf.embedded.database.object_model import Entity, Field, entities, entity

__all__ = [
    "DEFAULTS",
    "DETAILS",
    "DISCRIMINATORS",
    "SqlColumn",
    "SqlTable",
    "create_statements",
    "migration_statements",
    "pair_table",
    "table",
]

DETAILS = ("owner_id", "group_id", "creation_id", "update_id", "external_id")
_AFFINITY = {"int": "INTEGER", "long": "INTEGER", "bool": "INTEGER", "time": "INTEGER", "double": "REAL"}
_AFFINITY |= {"string": "TEXT", "strings": "TEXT", "bytes": "BLOB", "entity": "INTEGER", "unit": "REAL"}
_UNIQUE = {
    "Experimenter": ("omeName",),
    "ExperimenterGroup": ("name",),
    "Session": ("uuid",),
    "Namespace": ("name",),
    "Node": ("uuid",),
    "Well": ("plate", "column", "row"),  # OMERO's index well_col_row; older data folders may contain duplicates
}
DEFAULTS = {("Image", "series"): 0}  # set by the database if a client does not
_RESOLUTION = (  # smaller copies of pixels beside the full one; level 1 is the largest of them
    "CREATE TABLE resolution (pixels INTEGER NOT NULL, level INTEGER NOT NULL, sizeX INTEGER NOT NULL, "
    "sizeY INTEGER NOT NULL, PRIMARY KEY (pixels, level)) WITHOUT ROWID"
)
_MANAGED = (  # path of a file in the managed repository; clients can set a row's path, but not this
    "CREATE TABLE managed (file INTEGER PRIMARY KEY, place TEXT NOT NULL)"
)
_BY_PLACE = (  # for searches by path; without it, each import would read all rows
    "CREATE INDEX IF NOT EXISTS originalfile_by_place ON originalfile (path, name)",
    "CREATE INDEX IF NOT EXISTS managed_by_place ON managed (place)",
)
DISCRIMINATORS = {  # OMERO's discriminators, returned by queries for x.class
    "BooleanAnnotation": "/basic/bool/",
    "TimestampAnnotation": "/basic/time/",
    "TermAnnotation": "/basic/term/",
    "DoubleAnnotation": "/basic/num/double/",
    "LongAnnotation": "/basic/num/long/",
    "CommentAnnotation": "/basic/text/comment/",
    "TagAnnotation": "/basic/text/tag/",
    "XmlAnnotation": "/basic/text/xml/",
    "ListAnnotation": "/list/",
    "FileAnnotation": "/type/OriginalFile/",
    "MapAnnotation": "/map/",
    "Rectangle": "rect",
    "Ellipse": "ellipse",
    "Line": "line",
    "Mask": "mask",
    "Label": "text",
    "Point": "point",
    "Polygon": "polygon",
    "Polyline": "polyline",
    "Path": "path",
}


@dataclass(frozen=True)
class SqlColumn:
    """A column and the property that it stores; ``is_unit`` columns hold the name of a unit."""

    name: str
    affinity: str
    field: Field | None = None
    is_unit: bool = False


@dataclass(frozen=True, eq=False)
class SqlTable:
    """The table of a class hierarchy."""

    name: str
    root: Entity

    @cached_property
    def polymorphic(self) -> bool:
        """Whether rows are of several classes; the column ``kind`` holds the class."""
        return len(self.root.family) > 1 or self.root.abstract

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Stored properties of all classes of the hierarchy."""
        found: dict[str, Field] = {}
        for name in (self.root.name, *self.root.family):
            for field in entity(name).fields.values():
                if field.kind not in ("children", "pairs"):
                    found.setdefault(field.name, field)
        return found

    @cached_property
    def columns(self) -> dict[str, SqlColumn]:
        """Columns by name, in the order of the table."""
        made = [SqlColumn("id", "INTEGER PRIMARY KEY"), SqlColumn("version", "INTEGER")]
        if self.polymorphic:
            made.append(SqlColumn("kind", "TEXT NOT NULL"))
        names = DETAILS if not self.root.is_global else ("creation_id", "update_id", "external_id")
        made.extend(SqlColumn(name, "INTEGER") for name in names)
        if self.root.name == "ExperimenterGroup":
            made.append(SqlColumn("permissions", "INTEGER"))
        for field in self.fields.values():
            made.append(SqlColumn(field.name, _AFFINITY[field.kind], field))
            if field.kind == "unit":
                made.append(SqlColumn(field.name + "_unit", "TEXT", field, is_unit=True))
        made.extend(SqlColumn(name, "INTEGER") for name in self.index_columns)
        return {c.name: c for c in made}

    @cached_property
    def index_columns(self) -> tuple[str, ...]:
        """Columns that hold the index of a row in an ordered collection."""
        lists = (f for e in entities().values() for f in e.children.values() if f.ordered)
        return tuple(sorted({f.inverse + "_index" for f in lists if f.target in (self.root.name, *self.root.family)}))

    def create(self) -> list[str]:
        """Return the SQL statements that create the table and its indexes."""
        columns = (f'"{c.name}" {c.affinity}' for c in self.columns.values())
        made = [f"CREATE TABLE {self.name} ({', '.join(columns)})"]
        made.extend(self.indexes().values())
        unique = self._unique()
        if unique:
            columns = (f'"{name}"' for name in unique)
            made.append(f"CREATE UNIQUE INDEX {self.name}_unique ON {self.name} ({', '.join(columns)})")
        return made

    def indexes(self) -> dict[str, str]:
        """Return the names of the indexes on references and the statements that create them.

        They contain the columns that decide about the right to read, so that this check needs no access to the rows.
        """
        told = ', "id", "group_id", "owner_id"' if "owner_id" in self.columns else ""
        return {
            f"{self.name}_{c.name}": f'CREATE INDEX "{self.name}_{c.name}" ON {self.name} ("{c.name}"{told}) '
            f'WHERE "{c.name}" IS NOT NULL'
            for c in self.columns.values()
            if c.field and c.field.kind == "entity"
        }

    def _unique(self) -> tuple[str, ...]:
        if self.root.is_enum:
            return ("value",)
        if self.root.is_link:
            return ("parent", "child", *(() if self.root.is_global else ("owner_id",)))
        return _UNIQUE.get(self.root.name, ())


@cache
def table(name: str) -> SqlTable:
    """Return the table that stores a class."""
    root = entity(name).root
    return SqlTable(root.lower(), entity(root)) if root == name else table(root)


def pair_table(owner: Entity, field: Field) -> str:
    """Return the table of a property with name-value pairs: owner id, position, name, value."""
    declaring = next(a for a in reversed(owner.ancestors) if field.name in entity(a).fields)
    return f"{declaring.lower()}_{field.name.lower()}"


@cache
def create_statements() -> tuple[str, ...]:
    """Return the statements that create an empty database."""
    made: list[str] = ["CREATE TABLE sequence (name TEXT PRIMARY KEY, next INTEGER NOT NULL)"]
    made.append("CREATE TABLE password (experimenter_id INTEGER PRIMARY KEY, hash TEXT NOT NULL, changed INTEGER)")
    made.append("CREATE TABLE configuration (name TEXT PRIMARY KEY, value TEXT)")
    made.extend((_RESOLUTION, _MANAGED))
    pairs = set()
    for found in entities().values():
        if found.name == found.root:
            made.extend(table(found.name).create())
        pairs |= {pair_table(found, f) for f in found.fields.values() if f.kind == "pairs"}
    for name in sorted(pairs):
        made.append(
            f"CREATE TABLE {name} (id INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT, value TEXT, "
            "PRIMARY KEY (id, position)) WITHOUT ROWID"
        )
        made.append(f"CREATE INDEX {name}_by_name ON {name} (name, value)")
    made.extend(_BY_PLACE)
    return tuple(made)


def migration_statements(version: int) -> list[str]:
    """Return the statements that migrate a database from an older schema version."""
    made = [_RESOLUTION, _MANAGED] if version < 2 else []
    if version < 3:
        for found in entities().values():
            if found.name == found.root:
                for name, statement in table(found.name).indexes().items():
                    made.extend((f'DROP INDEX "{name}"', statement))
    if version < 4:
        made.extend(_BY_PLACE)
    return made

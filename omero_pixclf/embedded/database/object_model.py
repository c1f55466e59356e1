"""OMERO's object model: classes and their properties, read from the type information in omero-py.

Classes, members, their types and the element types of sequences come from the modules that Ice generated for
``omero.model``; nullability, package names and orderings come from omero-py's own classes.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import omero
import omero.model

__all__ = ["SCALARS", "Entity", "Field", "entities", "entity", "find_entity", "unit_names"]

SCALARS = {
    "_M_omero._t_RString": "string",
    "_M_omero._t_RInt": "int",
    "_M_omero._t_RLong": "long",
    "_M_omero._t_RDouble": "double",
    "_M_omero._t_RBool": "bool",
    "_M_omero._t_RTime": "time",
    "_M_omero.api._t_NamedValueList": "pairs",
    "_M_omero.api._t_StringArray": "strings",
    "_M_Ice._t_ByteSeq": "bytes",
}
_CLASS = re.compile(
    r"IcePy\.defineClass\('::omero::model::(\w+)', \w+, -1, \(\), \w+, \w+, (\S+), \(\), \((.*?)\)\)\n", re.S
)
_MEMBER = re.compile(r"\('(\w+)', \(\), ([\w.]+), False, 0\)")
_SEQUENCE = re.compile(r"(_M_omero\.model\._t_\w+) = IcePy\.defineSequence\('::omero::model::\w+', \(\), (_M_[\w.]+)\)")


@dataclass(frozen=True)
class Field:
    """One property of a class: a scalar, a quantity with a unit, a reference, or a collection of children."""

    name: str
    kind: str  # a value of SCALARS, or "unit", "entity", "children"
    target: str = ""  # class of the reference or of the children, or the quantity of a unit
    inverse: str = ""  # children: their property that refers to the owner
    ordered: bool = False  # children: whether the collection is ordered
    nullable: bool = True


@dataclass(frozen=True, eq=False)
class Entity:
    """One class of the model with all inherited properties."""

    name: str
    parent: str
    own: tuple[tuple[str, str], ...]  # members and their types as Ice names them
    sequences: dict[str, str] = field(repr=False)

    @cached_property
    def factory(self) -> Any:
        """omero-py's class, or None for an abstract class."""
        return getattr(omero.model, self.name + "I", None)

    @property
    def abstract(self) -> bool:
        """Whether the class is abstract."""
        return self.factory is None

    @cached_property
    def ancestors(self) -> tuple[str, ...]:
        """This class and its superclasses, nearest first, without IObject."""
        above = _read_model()[0].get(self.parent)
        return (self.name, *(entity(above.name).ancestors if above and above.name != "IObject" else ()))

    @property
    def root(self) -> str:
        """The topmost superclass, whose table stores this class."""
        return self.ancestors[-1]

    @cached_property
    def concrete(self) -> tuple[str, ...]:
        """Names of all instantiable classes below this one, including itself."""
        return tuple(e.name for e in entities().values() if self.name in e.ancestors and not e.abstract)

    @cached_property
    def family(self) -> tuple[str, ...]:
        """Names of all instantiable classes in the same table."""
        return entity(self.root).concrete

    @cached_property
    def sample(self) -> Any:
        """An unloaded instance of this class or a subclass, to query omero-py's type information."""
        return _create_instance(entity(self.concrete[0]).factory, loaded=False)

    @cached_property
    def qualified(self) -> str:
        """The server's name of the class, e.g. ``ome.model.core.Image``."""
        constant = type(self.sample).DETAILS.rsplit("_", 1)[0]
        return str(constant) if not self.abstract else constant.rsplit(".", 1)[0] + "." + self.name

    @cached_property
    def is_global(self) -> bool:
        """Whether rows have no owner: enumerations, users, groups, sessions."""
        return bool(self.sample.isGlobal())

    @cached_property
    def is_mutable(self) -> bool:
        """Whether rows can change and record the event of their last change."""
        return bool(self.sample.isMutable())

    @cached_property
    def is_link(self) -> bool:
        """Whether rows link a parent and a child."""
        return bool(self.sample.isLink())

    @cached_property
    def is_annotation_link(self) -> bool:
        """Whether rows link an object and an annotation."""
        return self.is_link and self.name.endswith("AnnotationLink")

    @cached_property
    def is_enum(self) -> bool:
        """Whether rows are the values of an enumeration."""
        names = set(self.fields)
        return self.is_global and {"value"} <= names <= {"value", "bitSize"}

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Properties by name, inherited ones first; ``id``, ``details`` and ``version`` are not among them."""
        inherited = entity(self.parent).fields if self.parent in _read_model()[0] and self.parent != "IObject" else {}
        found = dict(inherited)
        for member, kind in self.own:
            made = self._field(member, kind)
            if made:
                found[made.name] = made
        return found

    def _field(self, member: str, kind: str) -> Field | None:
        name = member[1:]
        if name == "version" or name.endswith(("Loaded", "CountPerOwner")):
            return None
        if kind in self.sequences and name.endswith("Seq"):
            return self._children(name[:-3], self.sequences[kind].rsplit("_t_", 1)[1])
        if kind in SCALARS:
            return Field(name, SCALARS[kind], nullable=self._nullable(name))
        target = kind.rsplit("_t_", 1)[1]
        return Field(name, "entity" if target in _read_model()[0] else "unit", target, nullable=self._nullable(name))

    def _nullable(self, name: str) -> bool:
        found = getattr(self.sample._field_info, name, None)
        return found is None or bool(found.nullable)

    def _children(self, name: str, target: str) -> Field:
        ordered = hasattr(self.sample, f"getPrimary{target}")
        return Field(name, "children", target, _inverse(self, name, target), ordered)

    @cached_property
    def children(self) -> dict[str, Field]:
        """Collections by name."""
        return {n: f for n, f in self.fields.items() if f.kind == "children"}

    @cached_property
    def references(self) -> dict[str, Field]:
        """References to other classes by name."""
        return {n: f for n, f in self.fields.items() if f.kind == "entity"}

    @cached_property
    def template(self) -> dict[str, Any]:
        """Attributes of an empty instance with unloaded collections, to create many instances quickly."""
        made = _create_instance(self.factory, loaded=True)
        made.unloadCollections()
        blank = {k: (None if isinstance(v, list) else v) for k, v in vars(made).items()}
        return {**blank, "_id": None, "_details": None, "_loaded": True}


def _create_instance(factory: Any, *, loaded: bool) -> Any:
    """Return an instance without omero-py's warnings about deprecated classes."""
    with warnings.catch_warnings(record=True):
        return factory(1, loaded)


def _inverse(owner: Entity, name: str, target: str) -> str:
    """Return the property of the children's class that refers to the owner."""
    own = _read_model()[0]
    kinds = {f"_M_omero.model._t_{a}" for a in owner.ancestors}
    chain: list[str] = []
    here = own[target]
    while True:
        chain.extend(member[1:] for member, kind in here.own if kind in kinds)
        if here.parent not in own or here.parent == "IObject":
            break
        here = own[here.parent]
    named = [c for c in chain if c == "parent"] or [c for c in chain if c == "child"] or chain
    return named[0] if named else ""


@cache
def _read_model() -> tuple[dict[str, Entity], dict[str, str]]:
    """Read all classes of omero.model from Ice's generated modules, and the element type of each sequence."""
    folder = Path(omero.__file__).resolve().parent.parent
    sequences: dict[str, str] = {}
    raw: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
    for path in sorted(folder.glob("omero_model_*_ice.py")):
        text = path.read_text(encoding="utf-8")
        sequences.update(_SEQUENCE.findall(text))
        for name, parent, members in _CLASS.findall(text):
            raw[name] = (parent.rsplit("_t_", 1)[-1], tuple(_MEMBER.findall(members)))
    known = {n for n in raw if n == "IObject" or _descends(raw, n)}
    return {n: Entity(n, raw[n][0], raw[n][1], sequences) for n in known}, sequences


def _descends(raw: dict[str, Any], name: str) -> bool:
    while name in raw:
        name = raw[name][0]
        if name == "IObject":
            return True
    return False


@cache
def entities() -> dict[str, Entity]:
    """Return all classes that have rows, by name."""
    return {n: e for n, e in sorted(_read_model()[0].items()) if n != "IObject"}


def entity(name: str) -> Entity:
    """Return the class of that name (without package); KeyError if there is none."""
    return entities()[name]


@cache
def find_entity(name: str) -> Entity | None:
    """Return the class named ``Image``, ``ImageI``, ``ome.model.core.Image`` or ``omero.model.Image``, or None."""
    short = name.rsplit(".", 1)[-1]
    found = entities().get(short) or (entities().get(short[:-1]) if short.endswith("I") else None)
    if found and "." in name and not name.startswith("omero.model.") and name != found.qualified:
        return None
    return found


@cache
def unit_names(quantity: str) -> dict[str, Any]:
    """Return the unit names of a quantity and their enumerators, e.g. ``MICROMETER`` of ``Length``."""
    enum = getattr(omero.model.enums, "Units" + quantity)
    return {str(value): value for value in enum._enumerators.values()}

"""Every class of OMERO's model, filled by its own type information, is saved and read back the same."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import omero
import omero.model as model
import pytest
from omero import rtypes

from omero_pixclf.embedded.database.object_model import Entity, entities, entity, unit_names
from tests.integration.conftest import Endpoint

_VALUES = {
    "string": lambda n: rtypes.rstring(f"text ü {n} {uuid.uuid4()}"),
    "int": lambda n: rtypes.rint(n % 1000 + 1),
    "long": lambda n: rtypes.rlong(2**40 + n),
    "double": lambda n: rtypes.rdouble(n + 0.25),
    "bool": lambda n: rtypes.rbool(n % 2 == 0),
    "time": lambda n: rtypes.rtime(1_000_000_000_000 + n),
    "bytes": lambda n: bytes([n % 256, 0, 255]),
    "strings": lambda n: [f"a{n}", "b"],
    "pairs": lambda n: [model.NamedValue("k", str(n)), model.NamedValue("k", "again")],
}
_FRACTIONS = {"attenuation", "co2percent", "humidity", "transmittance"}  # from 0 to 1
_COUNT = itertools.count(1)
# the server keeps these itself, or lets nobody make them
_OWN = {"Session", "Share", "ShareMember", "Event", "EventLog", "Node", "DBPatch", "GroupExperimenterMap"}
KINDS = [e.name for e in entities().values() if not e.abstract and not e.is_enum and e.name not in _OWN]


def filled(kind: Entity) -> Any:
    """An object with every scalar set and every required reference made likewise."""
    made = kind.factory()
    for field in kind.fields.values():
        number = next(_COUNT)
        if field.name in _FRACTIONS:
            setattr(made, "_" + field.name, rtypes.rdouble(0.25))
        elif field.kind in _VALUES and field.name != "repo":  # of a file: the server's to set
            setattr(made, "_" + field.name, _VALUES[field.kind](number))
        elif field.kind == "unit":
            unit = next(iter(unit_names(field.target).values()))
            setattr(made, "_" + field.name, getattr(model, field.target + "I")(number + 0.5, unit))
        elif field.kind == "entity" and not field.nullable:
            setattr(made, "_" + field.name, _reference(made, field.name, field.target))
    return made


def _reference(owner: Any, name: str, target: str) -> Any:
    found = entity(target)
    if found.is_enum:
        return None
    made = filled(entity(found.concrete[0]))
    for collection in made_lists(made):
        if isinstance(owner, getattr(model, collection.target)) and collection.inverse == name:
            getattr(made, f"_{collection.name}Seq").append(owner)
    return made


def made_lists(obj: Any) -> list[Any]:
    kind = entity(type(obj).__name__[:-1])
    return [f for f in kind.children.values() if f.ordered]


@pytest.fixture(scope="module")
def session(endpoint: Endpoint) -> Any:
    client = omero.client(host=endpoint.host, port=endpoint.port)
    yield client.createSession("root", endpoint.password)
    client.closeSession()


@pytest.fixture(scope="module")
def enumerations(session: Any) -> Any:
    """The first value of an enumeration."""
    known: dict[str, Any] = {}

    def first(name: str) -> Any:
        if name not in known:
            known[name] = session.getTypesService().allEnumerations(name)[0].proxy()
        return known[name]

    return first


def _set_enumerations(obj: Any, first: Any, seen: set[int]) -> None:
    if id(obj) in seen:
        return
    seen.add(id(obj))
    for field in entity(type(obj).__name__[:-1]).references.values():
        value = getattr(obj, "_" + field.name)
        if entity(field.target).is_enum and value is None and not field.nullable:
            setattr(obj, "_" + field.name, first(field.target))
        elif value is not None and not entity(field.target).is_enum:
            _set_enumerations(value, first, seen)


def plain(value: Any) -> Any:
    if isinstance(value, omero.RType):
        return value.getValue()
    if hasattr(value, "getUnit"):
        return value.getValue(), str(value.getUnit())
    if isinstance(value, list):
        return [(v.name, v.value) if isinstance(v, model.NamedValue) else v for v in value]
    return value


@pytest.mark.parametrize("name", KINDS)
def test_it_comes_back_as_it_was(name: str, session: Any, enumerations: Any) -> None:
    kind = entity(name)
    made = filled(kind)
    _set_enumerations(made, enumerations, set())
    wanted = {f.name: plain(getattr(made, "_" + f.name)) for f in kind.fields.values() if f.kind in (*_VALUES, "unit")}
    saved = session.getUpdateService().saveAndReturnObject(made)
    ident = saved.id.val
    found = session.getQueryService().get(name, ident) if saved.isLoaded() else None
    assert found is not None
    if not found.isLoaded():  # an unfetched reference to an abstract class: fetch them all
        joins = " ".join(f"left outer join fetch x.{r}" for r in kind.references)
        params = omero.sys.ParametersI().addId(ident)
        found = session.getQueryService().findByQuery(f"select x from {name} x {joins} where x.id = :id", params)
    got = {f: plain(getattr(found, "_" + f)) for f in wanted}
    if name == "Experimenter":
        wanted.pop("config"), got.pop("config")  # never told to clients
    assert got == wanted
    for reference in kind.references.values():
        value = getattr(made, "_" + reference.name)
        assert (getattr(found, "_" + reference.name) is None) == (value is None)

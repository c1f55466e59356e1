"""IQuery: find objects by id, by example, by text and by HQL."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.database.fulltext import find_matches, parse_search_query
from omero_pixclf.embedded.database.object_model import Entity, find_entity
from omero_pixclf.embedded.hql.queries import run_object_query, run_projection_query
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction

__all__ = ["QueryService", "find_concrete_class"]


def find_concrete_class(name: str) -> Entity:
    """Return the instantiable class of that name; ApiUsageException if there is none."""
    found = find_entity(name)
    if found is None or found.abstract:
        raise api_usage_error(f"{name} does not specify a valid class.")
    return found


def _text(query: str | None) -> str:
    if not query:
        raise omero_error(omero.QueryException, "Illegal query:")
    return query


class QueryService(OmeroService):
    """omero.api.IQuery."""

    interface = omero.api.IQuery

    def get(self, call: RequestContext, klass: str, ident: int) -> Any:
        found = call.graph.get(find_concrete_class(klass).name, ident)
        call.graph.finish_loading()
        return found

    def find(self, call: RequestContext, klass: str, ident: int) -> Any:
        found = call.graph.find(find_concrete_class(klass).name, ident)
        call.graph.finish_loading()
        return found

    def findAll(self, call: RequestContext, klass: str, page: Any) -> list[Any]:
        return run_object_query(call, f"select x from {find_concrete_class(klass).name} x", {}, page, any_order=True)

    def findByQuery(self, call: RequestContext, query: str, params: Any) -> Any:
        try:
            found = run_object_query(call, _text(query), _parameters(params), _page(params), any_order=True)
        except omero.InternalException as error:
            if "needs a query for objects" in error.message:
                raise api_usage_error(
                    f"Query named:\n\t{query}\nhas returned more than one Object or something else"
                ) from error
            raise
        return _unique(found, query)

    def findAllByQuery(self, call: RequestContext, query: str, params: Any) -> list[Any]:
        return run_object_query(call, _text(query), _parameters(params), _page(params), any_order=True)

    def projection(self, call: RequestContext, query: str, params: Any) -> list[list[Any]]:
        return run_projection_query(call, _text(query), _parameters(params), _page(params))

    def findByString(self, call: RequestContext, klass: str, field: str, value: str) -> Any:
        return _unique(_by_string(call, klass, field, "x.{} = :v", value, None), field)

    def findAllByString(
        self, call: RequestContext, klass: str, field: str, value: str, case_sensitive: bool, page: Any
    ) -> list[Any]:
        """Find objects with a text anywhere in a property; ``%`` and ``_`` are wildcards, as in SQL."""
        if case_sensitive:
            return _by_string(call, klass, field, "x.{} like :v", f"%{value}%", page)
        return _by_string(call, klass, field, "lower(x.{}) like :v", f"%{value.lower()}%", page)

    def findByExample(self, call: RequestContext, example: Any) -> Any:
        return _unique(_by_example(call, example, None), "example")

    def findAllByExample(self, call: RequestContext, example: Any, page: Any) -> list[Any]:
        return _by_example(call, example, page)

    def findAllByFullText(self, call: RequestContext, klass: str, query: str, params: Any) -> list[Any]:
        found = find_concrete_class(klass)
        ids = find_matches(call, found, parse_search_query(query))
        text = f"select x from {found.name} x where x.id in (:ids)"
        given = {"ids": omero.rtypes.rlist([omero.rtypes.rlong(i) for i in ids])}
        return run_object_query(call, text, given, _page(params)) if ids else []

    @without_transaction
    def refresh(self, context: Any, obj: Any) -> Any:
        """Refuse the call, as OMERO does."""
        raise security_violation("This method allows no remote access.")


def _parameters(params: Any) -> dict[str, Any]:
    return dict(params.map or {}) if params is not None else {}


def _page(params: Any) -> Any:
    return params.theFilter if params is not None else None


def _unique(found: list[Any], what: str) -> Any:
    distinct = {id(o): o for o in found}
    if len(distinct) > 1:
        raise api_usage_error(f"Query named:\n\t{what}\nhas returned more than one Object")
    return next(iter(distinct.values()), None)


def _by_string(call: RequestContext, klass: str, field: str, condition: str, value: str, page: Any) -> list[Any]:
    """Return objects whose text property meets an HQL condition on ``:v``; ``{}`` stands for the property."""
    found = find_concrete_class(klass)
    known = found.fields.get(field)
    if known is None or known.kind != "string":
        raise api_usage_error(f"could not resolve property: {field} of: {found.qualified}")
    text = f"select x from {found.name} x where {condition.format(field)}"
    return run_object_query(call, text, {"v": omero.rtypes.rstring(value)}, page, any_order=True)


def _by_example(call: RequestContext, example: Any, page: Any) -> list[Any]:
    """Return objects of the example's class with equal values of all properties that the example sets."""
    found = find_concrete_class(type(example).__name__)
    conditions, values = [], {}
    for name, known in found.fields.items():
        value = getattr(example, "_" + name, None)
        if known.kind in ("string", "int", "long", "double", "bool", "time") and value is not None:
            conditions.append(f"x.{name} = :{name}")
            values[name] = value
    where = " where " + " and ".join(conditions) if conditions else ""
    return run_object_query(call, f"select x from {found.name} x{where}", values, page, any_order=True)

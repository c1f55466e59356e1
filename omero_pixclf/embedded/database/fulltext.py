"""Full-text search without an index, in names, descriptions and annotations.

A query contains words (one of them must occur), ``+word`` or words joined by AND (all must occur), ``-word`` or NOT
(none may occur), ``"a phrase"``, wildcards ``*`` and ``?``, and ``field:word`` for name, description and annotation.
The search ignores case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["SearchTerm", "find_matches", "parse_search_query"]

_TERM = re.compile(r'(?P<sign>[+-]?)(?:(?P<field>\w+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s()"]+))')
_FIELDS = ("name", "description", "annotation")
_TEXTS = ("textValue", "ns", "name", "description", "termValue")


@dataclass(frozen=True)
class SearchTerm:
    """One word or phrase; ``need`` is "must", "not" or "any"."""

    text: str
    need: str = "any"
    field: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = re.findall(r"[\w*?]+", self.text.lower())
        joined = r"\W+".join(re.escape(w).replace(r"\*", r"\w*").replace(r"\?", r"\w") for w in words)
        return re.compile(rf"(?<!\w){joined}(?!\w)")

    def occurs(self, texts: Mapping[str, str]) -> bool:
        """Whether the term occurs in the texts, a mapping from field to text."""
        searched = [texts.get(self.field, "")] if self.field in _FIELDS else texts.values()
        return any(self._pattern.search(text.lower()) for text in searched)


def parse_search_query(query: str) -> list[SearchTerm]:
    """Return the terms of a query; ApiUsageException if it has none."""
    found: list[SearchTerm] = []
    need = "any"
    for match in _TERM.finditer(query or ""):
        text = match["phrase"] if match["phrase"] is not None else match["word"]
        if text in ("AND", "&&"):
            found[-1:] = [SearchTerm(t.text, "must" if t.need == "any" else t.need, t.field) for t in found[-1:]]
            need = "must"
        elif text in ("NOT", "!"):
            need = "not"
        elif text not in ("OR", "||"):
            found.append(SearchTerm(text, {"+": "must", "-": "not"}.get(match["sign"], need), match["field"] or ""))
            need = "any"
    if not [t for t in found if re.search(r"\w", t.text) and t.need != "not"]:
        raise api_usage_error(f"a search needs a word to look for, {query!r} has none")
    return found


def find_matches(call: RequestContext, kind: Entity, wanted: Iterable[SearchTerm]) -> list[int]:
    """Return ids of the readable objects of a class that match the terms, in ascending order."""
    asked = list(wanted)
    return [ident for ident, texts in sorted(_load_texts(call, kind).items()) if _matches_terms(texts, asked)]


def _matches_terms(texts: Mapping[str, str], asked: list[SearchTerm]) -> bool:
    if any(t.occurs(texts) for t in asked if t.need == "not"):
        return False
    must = [t for t in asked if t.need == "must"]
    some = [t for t in asked if t.need == "any"]
    return all(t.occurs(texts) for t in must) and (bool(must) or any(t.occurs(texts) for t in some))


def _load_texts(call: RequestContext, kind: Entity) -> dict[int, dict[str, str]]:
    """Return the texts of all readable objects of a class by id and field."""
    where = table(kind.name)
    conditions = [call.caller.filter_sql(where.name) if "owner_id" in where.columns else ""]
    if where.polymorphic:
        conditions.append("kind IN ({})".format(", ".join(f"'{k}'" for k in kind.concrete)))
    columns = [c for c in _TEXTS if c in kind.fields]
    selected = ", ".join(["id", *(f'"{c}"' for c in columns)])
    filters = " AND ".join(c for c in conditions if c)
    rows = call.tx.all(f"SELECT {selected} FROM {where.name}{' WHERE ' + filters if filters else ''}")
    found = {row[0]: {c: v for c, v in zip(columns, row[1:], strict=True) if v} for row in rows}
    if "annotationLinks" in kind.children and found:
        _add_annotations(call, kind, found)
    return found


def _add_annotations(call: RequestContext, kind: Entity, found: dict[int, dict[str, str]]) -> None:
    link = table(kind.children["annotationLinks"].target).name
    visible = call.caller.filter_sql("a")
    inside = f"l.parent IN (SELECT value FROM json_each(?)){' AND ' + visible if visible else ''}"
    texts = ", ".join(f"coalesce(a.{c}, '')" for c in _TEXTS)
    sql = f"SELECT l.parent, {texts}, coalesce(f.name, '') FROM {link} l JOIN annotation a ON a.id = l.child "
    rows = call.tx.all(f"{sql} LEFT JOIN originalfile f ON f.id = a.file WHERE {inside}", (ids_parameter(found),))
    pairs = f"SELECT l.parent, p.name, p.value FROM {link} l JOIN annotation a ON a.id = l.child "
    rows += call.tx.all(f"{pairs} JOIN mapannotation_mapvalue p ON p.id = a.id WHERE {inside}", (ids_parameter(found),))
    for parent, *words in rows:
        found[parent]["annotation"] = " \n".join([found[parent].get("annotation", ""), *(w for w in words if w)])

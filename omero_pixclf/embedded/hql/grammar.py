"""Parser of HQL: text to the tree of `omero_pixclf.embedded.hql.syntax_tree`.

A recursive descent parser with precedence climbing, one method per rule. `parse` raises `HqlSyntaxError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from omero_pixclf.embedded.hql import syntax_tree as tree

__all__ = ["HqlSyntaxError", "parse"]


class HqlSyntaxError(ValueError):
    """The text is not a query; ``is_dml`` is set if it is a statement that changes data."""

    def __init__(self, message: str, *, is_dml: bool = False) -> None:
        super().__init__(message)
        self.is_dml = is_dml


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?[lLdDfF]?)
    | (?P<parameter>:[A-Za-z_]\w*)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<operator><>|!=|<=|>=|\|\||[-+*/=<>(),.])
    )""",
    re.X,
)
# fmt: off
_RESERVED = frozenset([
    "select", "from", "where", "and", "or", "not", "in", "is", "null", "like", "between", "exists", "group", "by",
    "order", "having", "distinct", "as", "join", "left", "right", "full", "outer", "inner", "fetch", "with",
    "case", "when", "then", "else", "end", "new", "any", "some", "all", "escape", "asc", "desc", "union", "true",
    "false", "on", "set",
])
# fmt: on
_DML = ("delete", "update", "insert")
_COMPARISONS = ("=", "<>", "!=", "<", ">", "<=", ">=")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place, end = [], 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise HqlSyntaxError(f"unexpected {text[place : place + 10]!r}")
        kind = str(match.lastgroup)
        found.append((kind, match.group(kind)))
        place = match.end()
    found.append(("end", ""))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    # ---- tokens ----------------------------------------------------------------------------------------------
    def _word(self, ahead: int = 0) -> str:
        """Return the keyword or operator at the current position, in lower case."""
        place = min(self._at + ahead, len(self._tokens) - 1)
        kind, text = self._tokens[place]
        return text.lower() if kind in ("name", "operator") else ""

    def _accept(self, *words: str) -> bool:
        for ahead, word in enumerate(words):
            if self._word(ahead) != word:
                return False
        self._at += len(words)
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise HqlSyntaxError(f"expected {word!r}, found {self._tokens[self._at][1]!r}")

    def _name(self) -> str:
        kind, text = self._tokens[self._at]
        if kind != "name":
            raise HqlSyntaxError(f"expected a name, found {text!r}")
        self._at += 1
        return text

    def _alias(self) -> str:
        if self._accept("as"):
            return self._name()
        kind, text = self._tokens[self._at]
        return self._name() if kind == "name" and text.lower() not in _RESERVED else ""

    def _list(self, rule: Callable[[], Any]) -> tuple[Any, ...]:
        found = [rule()]
        while self._accept(","):
            found.append(rule())
        return tuple(found)

    # ---- queries ---------------------------------------------------------------------------------------------
    def statement(self) -> tree.Select:
        if self._word() in _DML:
            raise HqlSyntaxError("Not supported for DML operations", is_dml=True)
        found = self._select()
        if self._tokens[self._at][0] != "end":
            raise HqlSyntaxError(f"unexpected {self._tokens[self._at][1]!r}")
        return found

    def _select(self) -> tree.Select:
        items: tuple[tree.SelectItem, ...] = ()
        distinct = False
        if self._accept("select"):
            distinct = self._accept("distinct")
            items = self._list(self._item)
        self._expect("from")
        sources = self._sources()
        where = self._expression() if self._accept("where") else None
        group = self._list(self._expression) if self._accept("group", "by") else ()
        having = self._expression() if self._accept("having") else None
        order = self._list(self._order_term) if self._accept("order", "by") else ()
        return tree.Select(items, distinct, sources, where, group, having, order)

    def _item(self) -> tree.SelectItem:
        if self._word() == "new":
            self._at += 1
            kind = self._name().lower()
            if kind not in ("map", "list"):
                raise HqlSyntaxError(f"cannot make {kind}")
            self._expect("(")
            made = tree.Constructor(kind, self._list(self._item))
            self._expect(")")
            return tree.SelectItem(made, self._alias())
        return tree.SelectItem(self._expression(), self._alias())

    def _order_term(self) -> tree.OrderTerm:
        value = self._expression()
        descending = self._accept("desc")
        if not descending:
            self._accept("asc")
        return tree.OrderTerm(value, descending)

    def _sources(self) -> tuple[tree.RangeVariable | tree.Join, ...]:
        found: list[tree.RangeVariable | tree.Join] = [self._range()]
        while True:
            if self._accept(","):
                found.append(self._range())
                continue
            outer = self._join_kind()
            if outer is None:
                return tuple(found)
            fetch = self._accept("fetch")
            path = self._path()
            alias = self._alias()
            condition = self._expression() if self._accept("with") else None
            found.append(tree.Join(path, alias, outer, fetch, condition))

    def _join_kind(self) -> bool | None:
        """Return whether an outer join starts here; None if no join starts."""
        if self._accept("left"):
            self._accept("outer")
            self._expect("join")
            return True
        if self._word() in ("inner", "join"):
            self._accept("inner")
            self._expect("join")
            return False
        return None

    def _range(self) -> tree.RangeVariable:
        name = ".".join(self._path().parts)
        if name.lower() in _RESERVED:
            raise HqlSyntaxError(f"unexpected {name!r}")
        return tree.RangeVariable(name, self._alias())

    def _path(self) -> tree.Path:
        parts = [self._name()]
        while self._word() == ".":
            self._at += 1
            parts.append(self._name())
        return tree.Path(tuple(parts))

    # ---- expressions, loosest binding first ------------------------------------------------------------------
    def _expression(self) -> Any:
        left = self._conjunction()
        while self._accept("or"):
            left = tree.Binary("or", left, self._conjunction())
        return left

    def _conjunction(self) -> Any:
        left = self._negation()
        while self._accept("and"):
            left = tree.Binary("and", left, self._negation())
        return left

    def _negation(self) -> Any:
        if self._accept("not"):
            return tree.Unary("not", self._negation())
        return self._comparison()

    def _comparison(self) -> Any:
        left = self._sum()
        while True:
            word = self._word()
            if word in _COMPARISONS:
                self._at += 1
                left = _make_comparison("<>" if word == "!=" else word, left, self._sum())
            elif word in ("is", "in", "like", "between", "not", "member"):
                left = self._predicate(left)
            else:
                return left

    def _predicate(self, left: Any) -> Any:
        if self._accept("is"):
            negated = self._accept("not")
            if self._accept("empty"):
                return tree.IsEmpty(_collection_path(left), negated)
            self._expect("null")
            return tree.IsNull(left, negated)
        negated = self._accept("not")
        if self._accept("in"):
            return tree.In(left, self._choices(), negated)
        if self._accept("like"):
            pattern = self._sum()
            return tree.Like(left, pattern, self._sum() if self._accept("escape") else None, negated)
        if self._accept("between"):
            low = self._sum()
            self._expect("and")
            return tree.Between(left, low, self._sum(), negated)
        self._expect("member")
        self._accept("of")
        return tree.MemberOf(left, self._path(), negated)

    def _choices(self) -> Any:
        if self._word() == "elements":
            return self._primary()
        if not self._accept("("):
            return (self._primary(),)
        if self._word() in ("select", "from"):
            found: Any = self._select()
        else:
            found = self._list(self._expression)
        self._expect(")")
        return found

    def _sum(self) -> Any:
        left = self._product()
        while self._word() in ("+", "-", "||"):
            operator = self._word()
            self._at += 1
            left = tree.Binary(operator, left, self._product())
        return left

    def _product(self) -> Any:
        left = self._factor()
        while self._word() in ("*", "/"):
            operator = self._word()
            self._at += 1
            left = tree.Binary(operator, left, self._factor())
        return left

    def _factor(self) -> Any:
        if self._accept("-"):
            return tree.Unary("-", self._factor())
        self._accept("+")
        return self._primary()

    def _primary(self) -> Any:
        kind, text = self._tokens[self._at]
        if kind == "string":
            self._at += 1
            return tree.Literal(text[1:-1].replace("''", "'"), "string")
        if kind == "number":
            self._at += 1
            return _number(text)
        if kind == "parameter":
            self._at += 1
            return tree.NamedParameter(text[1:])
        if self._word() == "(":
            return self._parenthesis()
        return self._name_or_function()

    def _parenthesis(self) -> Any:
        self._expect("(")
        if self._word() in ("select", "from"):
            found: Any = tree.Subselect(self._select())
        else:
            found = self._expression()
        self._expect(")")
        return found

    def _name_or_function(self) -> Any:
        word = self._word()
        if word in ("true", "false") and self._word(1) != ".":
            self._at += 1
            return tree.Literal(word == "true", "bool")
        if self._accept("null"):
            return tree.Literal(None, "null")
        if self._accept("case"):
            return self._case()
        if word == "exists" and self._word(1) == "elements":
            self._at += 1
            return tree.IsEmpty(self._primary().path, True)
        if word in ("exists", "any", "some", "all") and self._word(1) == "(":
            return self._quantified_subquery(word)
        if word in _RESERVED:
            raise HqlSyntaxError(f"unexpected {word!r}")
        path = self._path()
        return self._function(path.parts[0]) if len(path.parts) == 1 and self._word() == "(" else path

    def _quantified_subquery(self, word: str) -> Any:
        self._at += 2
        query = self._select()
        self._expect(")")
        return tree.Exists(query) if word == "exists" else tree.Quantified("any" if word == "some" else word, query)

    def _function(self, name: str) -> Any:
        self._expect("(")
        if self._accept(")"):
            return tree.Function(name.lower(), ())
        if self._accept("*"):
            self._expect(")")
            return tree.Function(name.lower(), ())
        distinct = self._accept("distinct")
        arguments = self._list(self._expression)
        if name.lower() == "cast" and self._accept("as"):
            arguments = (*arguments, tree.Literal(self._name(), "string"))
        self._expect(")")
        if name.lower() == "elements":
            return tree.CollectionElements(_collection_path(arguments[0]))
        return tree.Function(name.lower(), arguments, distinct)

    def _case(self) -> tree.Case:
        subject = None if self._word() == "when" else self._expression()
        whens = []
        while self._accept("when"):
            condition = self._expression()
            self._expect("then")
            whens.append((condition, self._expression()))
        otherwise = self._expression() if self._accept("else") else None
        self._expect("end")
        return tree.Case(subject, tuple(whens), otherwise)


def _make_comparison(operator: str, left: Any, right: Any) -> Any:
    """Return a comparison; as in Hibernate, ``x = null`` means ``x is null`` and ``x <> null`` ``x is not null``."""
    empty = tree.Literal(None, "null")
    if operator in ("=", "<>") and (left == empty) != (right == empty):
        return tree.IsNull(right if left == empty else left, operator == "<>")
    return tree.Binary(operator, left, right)


def _collection_path(node: Any) -> tree.Path:
    if not isinstance(node, tree.Path):
        raise HqlSyntaxError("expected a collection")
    return node


def _number(text: str) -> tree.Literal:
    suffix = text[-1].lower()
    if suffix == "l":
        return tree.Literal(int(text[:-1]), "long")
    if suffix in "df":
        return tree.Literal(float(text[:-1]), "double")
    if any(c in text for c in ".eE"):
        return tree.Literal(float(text), "double")
    return tree.Literal(int(text), "int")


@lru_cache(maxsize=1024)
def parse(text: str) -> tree.Select:
    """Return the syntax tree of a query."""
    return _Parser(text).statement()

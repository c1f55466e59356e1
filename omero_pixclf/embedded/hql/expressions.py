"""Translation of HQL expressions to SQL: one method per syntax node and per function."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.hql import syntax_tree as syntax
from omero_pixclf.embedded.hql.joins import HqlError, NameResolver, RowSource, Scope
from omero_pixclf.embedded.hql.values import Value, check_comparable, check_number, check_text
from omero_pixclf.embedded.server.exceptions import api_usage_error, validation_error

__all__ = ["ExpressionTranslator"]

_FUNCTIONS = {  # HQL name: SQL name, kind of the result ("=" as the argument)
    "lower": ("lower", "string"),
    "upper": ("upper", "string"),
    "length": ("length", "int"),
    "trim": ("trim", "string"),
    "substring": ("substr", "string"),
    "abs": ("abs", "="),
    "coalesce": ("coalesce", "="),
    "nullif": ("nullif", "="),
    "sqrt": ("sqrt", "double"),
    "sign": ("sign", "int"),
    "round": ("round", "="),
    "ltrim": ("ltrim", "string"),
    "rtrim": ("rtrim", "string"),
    "min": ("min", "="),
    "max": ("max", "="),
    "avg": ("avg", "double"),
}
_OF_TEXTS = ("lower", "upper", "length", "trim", "substr")
_OF_NUMBERS = ("abs", "sqrt", "avg")
_DATE_PARTS = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H", "minute": "%M", "second": "%S"}
_CASTS = {"string": "TEXT", "text": "TEXT", "long": "INTEGER", "integer": "INTEGER", "int": "INTEGER", "double": "REAL"}
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=")


class ExpressionTranslator(NameResolver):
    """Translates syntax nodes to SQL; subqueries are translated by the subclass."""

    @abstractmethod
    def subquery(self, outer: Scope, query: syntax.Select) -> tuple[str, str]:
        """Return the SQL of a subquery and the kind of its first column."""

    # ---- expressions -----------------------------------------------------------------------------------------
    def condition(self, scope: Scope, node: Any) -> str:
        """Return a condition in SQL."""
        return self.value(scope, node).sql

    def value(self, scope: Scope, node: Any, expected: str = "") -> Value:
        """Return an expression in SQL; a parameter in its place must have the expected type."""
        method = getattr(self, "_on_" + type(node).__name__.lower())
        found: Value = method(scope, node, expected)
        return found

    def _on_path(self, scope: Scope, node: syntax.Path, expected: str) -> Value:
        if len(node.parts) > 2 and node.parts[-1] == "size" and self._is_collection(scope, node.parts[:-1]):
            return self._call_size(scope, syntax.Function("size", (syntax.Path(node.parts[:-1]),)))
        return self._path(scope, node)

    def _on_literal(self, scope: Scope, node: syntax.Literal, expected: str) -> Value:
        if node.value is None:
            return Value("NULL", "null", literal=True)
        return self.parameters.constant(node.value, node.kind)

    def _on_namedparameter(self, scope: Scope, node: syntax.NamedParameter, expected: str) -> Value:
        return self.parameters.scalar(node.name, expected)

    def _on_unary(self, scope: Scope, node: syntax.Unary, expected: str) -> Value:
        inner = self.value(scope, node.operand, expected)
        if node.operator == "not":
            return Value(f"(NOT {inner.sql})", "bool")
        return Value(f"(-{inner.sql})", inner.kind)

    def _pair(self, scope: Scope, left: Any, right: Any) -> tuple[Value, Value]:
        """Return two operands; a parameter gets the type of the other operand."""
        if isinstance(left, syntax.NamedParameter) and not isinstance(right, syntax.NamedParameter):
            other = self.value(scope, right)
            return self.value(scope, left, other.kind), other
        first = self.value(scope, left)
        return first, self.value(scope, right, first.kind)

    def _on_binary(self, scope: Scope, node: syntax.Binary, expected: str) -> Value:
        operator = node.operator
        if operator in ("and", "or"):
            left, right = self.condition(scope, node.left), self.condition(scope, node.right)
            return Value(f"({left} {operator.upper()} {right})", "bool")
        if operator in _COMPARISONS and isinstance(node.right, syntax.Quantified):
            return self._quantified_comparison(scope, node)
        first, second = self._pair(scope, node.left, node.right)
        if operator in _COMPARISONS:
            return self._comparison(first, operator, second)
        if operator == "||":
            return Value(f"({first.sql} || {second.sql})", "string")
        check_number(first, second)
        kinds = {first.kind, second.kind}
        kind = "double" if "double" in kinds else "long" if "long" in kinds else "int"
        return Value(f"({first.sql} {operator} {second.sql})", kind)

    def _comparison(self, first: Value, operator: str, second: Value) -> Value:
        if "class" in (first.kind, second.kind) or "type" in (first.kind, second.kind):
            return Value(f"({_kind_sql(first)} {operator} {_kind_sql(second)})", "bool")
        if "null" not in (first.kind, second.kind):
            check_comparable(first, second)
        return Value(f"({first.sql} {operator} {second.sql})", "bool")

    def _quantified_comparison(self, scope: Scope, node: syntax.Binary) -> Value:
        operand = self.value(scope, node.left)
        every = node.right.quantifier == "all"
        inner, _ = self.subquery(scope, node.right.query)
        if node.operator == "=" and not every:
            return Value(f"({operand.sql} IN ({inner}))", "bool")
        if node.operator == "<>" and every:
            return Value(f"({operand.sql} NOT IN ({inner}))", "bool")
        negated = {"=": "<>", "<>": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}[node.operator]
        test = f"SELECT 1 FROM (SELECT * FROM ({inner})) q WHERE {operand.sql}"
        if every:
            return Value(f"(NOT EXISTS ({test} {negated} q.c0))", "bool")
        return Value(f"(EXISTS ({test} {node.operator} q.c0))", "bool")

    def _on_in(self, scope: Scope, node: syntax.In, expected: str) -> Value:
        operand = self.value(scope, node.operand)
        if isinstance(node.choices, syntax.Select):
            choices = f"({self.subquery(scope, node.choices)[0]})"
        elif isinstance(node.choices, syntax.CollectionElements):
            choices = f"({self._elements(scope, node.choices.path)})"
        elif len(node.choices) == 1 and isinstance(node.choices[0], syntax.NamedParameter):
            choices = self.parameters.choices(node.choices[0].name, operand.kind)
        else:
            found = [self.value(scope, c, operand.kind) for c in node.choices]
            if any(v.kind == "class" for v in found):
                operand = Value(_kind_sql(operand), "class")
            for value in found:
                check_comparable(operand, value)
            choices = f"({', '.join(v.sql for v in found)})"
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}IN {choices})", "bool")

    def _elements(self, scope: Scope, path: syntax.Path) -> str:
        owner, found = self._collection(scope, path)
        source = RowSource(self._new_alias(), entity(found.target))
        conditions = [f'{source.sql}."{found.inverse}" = {owner.sql}.id', *self._conditions(source)]
        return f"SELECT {source.sql}.id FROM {table(found.target).name} {source.sql} WHERE {' AND '.join(conditions)}"

    def _on_memberof(self, scope: Scope, node: syntax.MemberOf, expected: str) -> Value:
        operand = self.value(scope, node.operand)
        word = "NOT IN" if node.negated else "IN"
        return Value(f"({operand.sql} {word} ({self._elements(scope, node.path)}))", "bool")

    def _on_isempty(self, scope: Scope, node: syntax.IsEmpty, expected: str) -> Value:
        word = "EXISTS" if node.negated else "NOT EXISTS"
        return Value(f"({word} ({self._elements(scope, node.path)}))", "bool")

    def _on_isnull(self, scope: Scope, node: syntax.IsNull, expected: str) -> Value:
        inner = self.value(scope, node.operand)
        return Value(f"({inner.sql} IS {'NOT ' if node.negated else ''}NULL)", "bool")

    def _on_between(self, scope: Scope, node: syntax.Between, expected: str) -> Value:
        operand = self.value(scope, node.operand)
        low, high = (self.value(scope, n, operand.kind).sql for n in (node.low, node.high))
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}BETWEEN {low} AND {high})", "bool")

    def _on_like(self, scope: Scope, node: syntax.Like, expected: str) -> Value:
        operand = self.value(scope, node.operand)
        check_text(operand)
        pattern = self.value(scope, node.pattern, "string").sql
        escape = self.value(scope, node.escape, "string").sql if node.escape is not None else "'\\'"
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}LIKE {pattern} ESCAPE {escape})", "bool")

    def _on_exists(self, scope: Scope, node: syntax.Exists, expected: str) -> Value:
        return Value(f"(EXISTS ({self.subquery(scope, node.query)[0]}))", "bool")

    def _on_subselect(self, scope: Scope, node: syntax.Subselect, expected: str) -> Value:
        sql, kind = self.subquery(scope, node.query)
        return Value(f"({sql})", kind)

    def _on_case(self, scope: Scope, node: syntax.Case, expected: str) -> Value:
        subject = self.value(scope, node.subject) if node.subject is not None else None
        parts, kind = [], ""
        for condition, result in node.whens:
            test = self.value(scope, condition, subject.kind if subject else "")
            value = self.value(scope, result)
            kind = kind or value.kind
            parts.append(f"WHEN {test.sql} THEN {value.sql}")
        if node.otherwise is not None:
            parts.append(f"ELSE {self.value(scope, node.otherwise).sql}")
        return Value(f"(CASE {subject.sql if subject else ''} {' '.join(parts)} END)", kind)

    def _on_function(self, scope: Scope, node: syntax.Function, expected: str) -> Value:
        special = getattr(self, "_call_" + node.name, None)
        if special is not None:
            made: Value = special(scope, node)
            return made
        if node.name in _DATE_PARTS:
            return self._date_part(scope, node)
        if node.name not in _FUNCTIONS:
            raise HqlError(f"there is no function {node.name}")
        name, kind = _FUNCTIONS[node.name]
        values = [self.value(scope, a) for a in node.arguments]
        if name in _OF_TEXTS:
            check_text(values[0])
        if name in _OF_NUMBERS:
            check_number(values[0])
        inside = ("DISTINCT " if node.distinct else "") + ", ".join(v.sql for v in values)
        return Value(
            f"{name}({inside})", values[0].kind if kind == "=" else kind, values[0].target if kind == "=" else ""
        )

    def _date_part(self, scope: Scope, node: syntax.Function) -> Value:
        inner = self.value(scope, node.arguments[0])
        if inner.kind != "time":
            raise api_usage_error(f"could not execute query: {node.name}() needs a time")
        form = _DATE_PARTS[node.name]
        sql = f"CAST(strftime('{form}', {inner.sql} / 1000, 'unixepoch', 'localtime') AS INTEGER)"
        return Value(sql, "int")

    def _call_count(self, scope: Scope, node: syntax.Function) -> Value:
        if not node.arguments:
            return Value("count(*)", "long")
        inner = self.value(scope, node.arguments[0]).sql
        return Value(f"count({'DISTINCT ' if node.distinct else ''}{inner})", "long")

    def _call_sum(self, scope: Scope, node: syntax.Function) -> Value:
        inner = self.value(scope, node.arguments[0])
        check_number(inner)
        kind = "double" if inner.kind in ("double", "unit") else "long"
        return Value(f"sum({'DISTINCT ' if node.distinct else ''}{inner.sql})", kind)

    def _call_concat(self, scope: Scope, node: syntax.Function) -> Value:
        return Value(f"({' || '.join(self.value(scope, a).sql for a in node.arguments)})", "string")

    def _call_locate(self, scope: Scope, node: syntax.Function) -> Value:
        """Position of a text in another, from a start position, counted from 1; 0 if it is not found."""
        wanted, text, *start = (self.value(scope, a).sql for a in node.arguments)
        if not start:
            return Value(f"instr({text}, {wanted})", "int")
        place = f"instr(substr({text}, {start[0]}), {wanted})"
        return Value(f"(CASE {place} WHEN 0 THEN 0 ELSE {place} + {start[0]} - 1 END)", "int")

    def _call_bit_length(self, scope: Scope, node: syntax.Function) -> Value:
        inner = self.value(scope, node.arguments[0])
        check_text(inner)
        return Value(f"(8 * length(CAST({inner.sql} AS BLOB)))", "int")

    def _call_current_timestamp(self, scope: Scope, node: syntax.Function) -> Value:
        return Value(str(now_ms()), "time")

    def _call_mod(self, scope: Scope, node: syntax.Function) -> Value:
        left, right = (self.value(scope, a) for a in node.arguments)
        return Value(f"({left.sql} % {right.sql})", left.kind)

    def _call_str(self, scope: Scope, node: syntax.Function) -> Value:
        return Value(f"CAST({self.value(scope, node.arguments[0]).sql} AS TEXT)", "string")

    def _call_cast(self, scope: Scope, node: syntax.Function) -> Value:
        kind = str(node.arguments[-1].value).lower()
        if len(node.arguments) != 2 or kind not in _CASTS:
            raise HqlError(f"cannot cast to {kind}")
        affinity = _CASTS[kind]
        result = {"TEXT": "string", "REAL": "double"}.get(affinity, "long" if kind == "long" else "int")
        return Value(f"CAST({self.value(scope, node.arguments[0]).sql} AS {affinity})", result)

    def _call_type(self, scope: Scope, node: syntax.Function) -> Value:
        source = self._alias_of(scope, node)
        if source.entity is None:
            raise HqlError("pairs have no type")
        if not table(source.entity.name).polymorphic:
            return Value(f"'{source.entity.name}'", "type")
        return Value(f"{source.sql}.kind", "type")

    def _call_index(self, scope: Scope, node: syntax.Function) -> Value:
        return Value(self._index_of(scope, node), "int")

    def _call_minindex(self, scope: Scope, node: syntax.Function) -> Value:
        return self._extreme_index(scope, node, "min")

    def _call_maxindex(self, scope: Scope, node: syntax.Function) -> Value:
        return self._extreme_index(scope, node, "max")

    def _extreme_index(self, scope: Scope, node: syntax.Function, function: str) -> Value:
        """Index of an alias in a group, ``maxindex(c)``, or in a collection, ``maxindex(p.channels)``."""
        path = node.arguments[0] if node.arguments else None
        if not isinstance(path, syntax.Path) or len(path.parts) == 1:
            return Value(f"{function}({self._index_of(scope, node)})", "int")
        self._check_not_in_condition(node.name)
        _, found = self._collection(scope, path)
        if not found.ordered:
            raise HqlError(f"{node.name}() needs an ordered collection")
        index, rows = f"{found.inverse}_index", table(found.target).name
        return Value(f"(SELECT {function}({index}) FROM {rows} WHERE id IN ({self._elements(scope, path)}))", "int")

    def _index_of(self, scope: Scope, node: syntax.Function) -> str:
        source = self._alias_of(scope, node)
        if not source.index:
            raise HqlError("index() needs an alias of an ordered collection")
        return source.index

    def _alias_of(self, scope: Scope, node: syntax.Function) -> RowSource:
        path = node.arguments[0] if node.arguments else None
        if not isinstance(path, syntax.Path):
            raise HqlError(f"{node.name}() needs an alias")
        if path.parts[-1] == "class":
            path = syntax.Path(path.parts[:-1])
        if len(path.parts) > 1:
            owner, name = self._owner(scope, path, outer=False)
            return self._implicit(scope, owner, self._property(owner, name))
        source = scope.find(path.parts[0])
        if source is None:
            raise HqlError(f"{path.parts[0]} is no alias")
        return source

    def _check_not_in_condition(self, name: str) -> None:
        """Refuse size() in a condition: Hibernate does not bind the parameters of the security filters there."""
        if self._in_condition:
            raise validation_error(f"could not execute query: {name}() of a collection within a condition")

    def _call_size(self, scope: Scope, node: syntax.Function) -> Value:
        self._check_not_in_condition("size")
        inner = self._elements(scope, node.arguments[0])
        return Value(f"(SELECT count(*) FROM ({inner}))", "long")


def _kind_sql(value: Value) -> str:
    return value.target if value.kind == "discriminator" else value.sql

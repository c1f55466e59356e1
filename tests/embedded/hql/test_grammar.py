"""HQL's grammar."""

from __future__ import annotations

import pytest

from omero_pixclf.embedded.hql.grammar import HqlSyntaxError, parse
from omero_pixclf.embedded.hql.syntax_tree import (
    Binary,
    Constructor,
    Function,
    In,
    Join,
    Like,
    Literal,
    NamedParameter,
    Path,
    RangeVariable,
    Subselect,
    Unary,
)


def test_joins_keep_kind_fetch_path_and_alias() -> None:
    found = parse(
        "select i from Image as i left outer join fetch i.pixels as p inner join p.channels c where i.id = :id"
    )
    assert found.sources == (
        RangeVariable("Image", "i"),
        Join(Path(("i", "pixels")), "p", True, True, None),
        Join(Path(("p", "channels")), "c", False, False, None),
    )
    assert found.where == Binary("=", Path(("i", "id")), NamedParameter("id"))


def test_and_binds_closer_than_or_and_not_closer_than_and() -> None:
    where = parse("from Image i where a = 1 or not b = 2 and c = 3").where
    assert isinstance(where, Binary)
    assert where.operator == "or"
    assert where.right.operator == "and"
    assert where.right.left == Unary("not", Binary("=", Path(("b",)), Literal(2, "int")))


def test_products_bind_closer_than_sums() -> None:
    value = parse("select 1 + 2 * 3 from Image").items[0].value
    assert value == Binary("+", Literal(1, "int"), Binary("*", Literal(2, "int"), Literal(3, "int")))


def test_quotes_within_texts_are_doubled() -> None:
    assert parse("from Image i where i.name = 'it''s'").where.right == Literal("it's", "string")


def test_keywords_have_any_case_and_names_keep_theirs() -> None:
    found = parse("SELECT D.id FROM Dataset D WHERE D.name LIKE 'a%'")
    assert isinstance(found.where, Like)
    assert found.items[0].value == Path(("D", "id"))


def test_in_takes_lists_parameters_with_and_without_brackets_and_selects() -> None:
    assert parse("from Image i where i.id in (1, 2)").where.choices == (Literal(1, "int"), Literal(2, "int"))
    assert parse("from Image i where i.id in (:ids)").where.choices == (NamedParameter("ids"),)
    assert parse("from Image i where i.id not in :ids").where == In(Path(("i", "id")), (NamedParameter("ids"),), True)
    assert (
        parse("from Image i where i.id in (select l.id from DatasetImageLink l)").where.choices.sources[0].alias == "l"
    )


def test_aggregates_order_and_groups() -> None:
    found = parse(
        "select count(distinct l.parent.id), count(*) from L l group by l.a having count(l) > 1 order by 1 desc"
    )
    assert found.items[0].value == Function("count", (Path(("l", "parent", "id")),), True)
    assert found.items[1].value == Function("count", ())
    assert found.group == (Path(("l", "a")),)
    assert found.order[0].descending


def test_new_map_names_its_parts() -> None:
    made = parse("select new map(i.name as n, i.id as x) from Image i").items[0].value
    assert isinstance(made, Constructor)
    assert [part.alias for part in made.items] == ["n", "x"]


def test_a_select_may_stand_for_a_value() -> None:
    assert isinstance(parse("select (select count(r.id) from Roi r) from Image i").items[0].value, Subselect)


@pytest.mark.parametrize(
    "text",
    [
        "select from where",
        "select d from",
        "select d from Dataset d where (d.name = 'x'",
        "select d.id from Dataset d; select 1 from Dataset",
        "select * from dataset",
        "select d from Dataset d order by d.name limit 1",
        "select d.id from Dataset d where d.id = 1 nonsense",
        "from Dataset d where d.name = 'open",
        "select w.wellSamples[1].image.name from Well w",
        "from Dataset d where",
    ],
)
def test_what_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(HqlSyntaxError):
        parse(text)


@pytest.mark.parametrize("text", ["delete from Dataset d", "update Dataset d set d.name = 'x'", "insert into X y"])
def test_statements_that_change_data_are_told_apart(text: str) -> None:
    with pytest.raises(HqlSyntaxError) as caught:
        parse(text)
    assert caught.value.is_dml

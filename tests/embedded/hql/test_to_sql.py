"""HQL into SQL: joins, filters, types of parameters."""

from __future__ import annotations

import sqlite3

import omero
import omero.all
import pytest
from omero.rtypes import rint, rlist, rlong, rstring

from omero_pixclf.embedded.database.schema import create_statements
from omero_pixclf.embedded.hql.to_sql import HqlError, translate
from omero_pixclf.embedded.users.access_rights import Caller

ADMIN = Caller(0, "root", None, True, frozenset({0}), frozenset(), frozenset())
MEMBER = Caller(5, "u", 3, False, frozenset({3}), frozenset(), frozenset())


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:")
    for statement in create_statements():
        made.execute(statement)
    image = "INSERT INTO image (id, owner_id, group_id, name, series) VALUES (?, ?, ?, ?, 0)"
    made.executemany(image, [(1, 5, 3, "a"), (2, 6, 3, "b"), (3, 5, 4, "c")])
    made.execute("INSERT INTO roi (id, owner_id, group_id, image) VALUES (1, 5, 3, 1)")
    shape = "INSERT INTO shape (id, owner_id, group_id, kind, roi, roi_index, points) VALUES (?, 5, 3, ?, 1, ?, ?)"
    made.executemany(shape, [(1, "Polygon", 0, "0,0 1,1"), (2, "Mask", 1, None)])
    return made


def rows(database: sqlite3.Connection, text: str, caller: Caller = ADMIN, **given: object) -> list[tuple[object, ...]]:
    found = translate(text, caller, given)
    return database.execute(found.sql, found.parameters).fetchall()


def test_paths_across_references_join(database: sqlite3.Connection) -> None:
    assert rows(database, "select s.roi.image.name from Shape s where s.roi.image.id = :i", i=rlong(1)) == [("a",)] * 2


def test_ids_of_references_need_no_join(database: sqlite3.Connection) -> None:
    assert "JOIN" not in translate("select r.image.id from Roi r", ADMIN, {}).sql
    assert rows(database, "select i.name from Image i where i.fileset.id is null order by i.name") == [
        ("a",),
        ("b",),
        ("c",),
    ]


def test_subclasses_are_ranged_over_alone(database: sqlite3.Connection) -> None:
    assert rows(database, "select p.points from Polygon p") == [("0,0 1,1",)]
    assert rows(database, "select count(s) from Shape s") == [(2,)]
    assert rows(database, "select s.id from Shape s where type(s) = Mask") == [(2,)]


def test_a_member_sees_own_objects_in_a_private_group(database: sqlite3.Connection) -> None:
    assert rows(database, "select i.id from Image i", MEMBER) == [(1,)]
    everywhere = Caller(5, "u", None, False, frozenset({3, 4}), frozenset(), frozenset())
    assert rows(database, "select i.id from Image i", everywhere) == [(1,), (3,)]


def test_a_leader_sees_the_whole_group(database: sqlite3.Connection) -> None:
    leader = Caller(9, "l", 3, False, frozenset({3}), frozenset({3}), frozenset())
    assert rows(database, "select i.id from Image i", leader) == [(1,), (2,)]


def test_collections_are_joined_in_their_order(database: sqlite3.Connection) -> None:
    text = "select index(s), s.id from Roi r join r.shapes s where r.id = 1 order by index(s) desc"
    assert rows(database, text) == [(1, 2), (0, 1)]


def test_lists_stand_for_any_of_their_values(database: sqlite3.Connection) -> None:
    given = rlist([rlong(1), rlong(3)])
    assert rows(database, "select i.name from Image i where i.id in (:ids) order by i.id", ids=given) == [
        ("a",),
        ("c",),
    ]


def test_correlated_selects(database: sqlite3.Connection) -> None:
    text = "select i.id from Image i where not exists (select r.id from Roi r where r.image.id = i.id) order by i.id"
    assert rows(database, text) == [(2,), (3,)]
    assert rows(database, "select i.id from Image i where i.rois is not empty") == [(1,)]


def test_details_have_aliases_of_their_own(database: sqlite3.Connection) -> None:
    spelled_out = rows(database, "select i.id, i.details.owner.id from Image i order by i.id")
    assert spelled_out
    assert rows(database, "select i.id, d.owner.id from Image i join i.details as d order by i.id") == spelled_out
    joined = "select count(o.id) from Image i join i.details d left join d.owner as o"
    assert rows(database, joined) == rows(database, "select count(o.id) from Image i left join i.details.owner as o")
    inner = "select i.id from Image i join i.details d where exists (select j.id from Image j where j.id = i.id and "
    assert rows(database, f"{inner}d.owner.id >= 0) order by i.id") == [row[:1] for row in spelled_out]
    behind = "select count(i.id) from Image i join i.fileset.details as d"
    assert rows(database, behind) == rows(database, "select count(i.id) from Image i where i.fileset is not null")


def test_a_comparison_with_null_asks_whether_there_is_a_value(database: sqlite3.Connection) -> None:
    every = rows(database, "select i.id from Image i order by i.id")
    assert rows(database, "select i.id from Image i where i.fileset <> null or null = i.fileset order by i.id") == every
    without = rows(database, "select i.id from Image i where i.fileset is null order by i.id")
    assert without
    assert rows(database, "select i.id from Image i where i.fileset = null order by i.id") == without


def test_nulls_come_last_and_first_when_descending(database: sqlite3.Connection) -> None:
    assert rows(database, "select s.points from Shape s order by s.points") == [("0,0 1,1",), (None,)]
    assert rows(database, "select s.points from Shape s order by s.points desc") == [(None,), ("0,0 1,1",)]


@pytest.mark.parametrize("value", [rint(1), rstring("1")])
def test_a_parameter_of_another_type_is_an_internal_error(value: object) -> None:
    with pytest.raises(omero.InternalException):
        translate("select i from Image i where i.id = :i", ADMIN, {"i": value})


def test_missing_parameters_and_empty_lists_are_misuse() -> None:
    with pytest.raises(omero.ApiUsageException):
        translate("select i from Image i where i.id = :i", ADMIN, {})
    with pytest.raises(omero.ApiUsageException):
        translate("select i from Image i where i.id in (:i)", ADMIN, {"i": rlist([])})


@pytest.mark.parametrize(
    "text",
    [
        "select n from Nonsense n",
        "select d from dataset d",
        "select d.nothing from Dataset d",
        "select d.name.first from Dataset d",
        "select x.name from Dataset d",
        "select nosuch(d.name) from Dataset d",
        "select d.imageLinks.child from Dataset d",
        "select a.mapValue from MapAnnotation a",
        "select d.name from Dataset d join fetch d.imageLinks",
        "select e.config from Experimenter e",
    ],
)
def test_what_is_not_there_is_an_error(text: str) -> None:
    with pytest.raises(HqlError):
        translate(text, ADMIN, {})


def test_values_never_stand_in_the_sql() -> None:
    text = "from Image i where i.name = 'x'' or 1=1 --' and i.name = :n"
    found = translate(text, ADMIN, {"n": rstring("'; drop table image")})
    assert "drop" not in found.sql
    assert "--" not in found.sql


def test_a_selected_collection_gives_its_elements(database: sqlite3.Connection) -> None:
    assert rows(database, "select i.rois from Image i where i.id = 1") == [(1,)]
    assert rows(database, "select i.rois from Image i where i.id = 2") == []


def test_ungrouped_columns_and_foreign_orders_of_distinct_rows_are_refused() -> None:
    for text in (
        "select i.name, count(r) from Image i left join i.rois r",
        "select distinct i.name from Image i order by lower(i.name)",
    ):
        with pytest.raises(omero.ApiUsageException):
            translate(text, ADMIN, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select locate('o', 'foo'), locate('o', 'foo', 3), locate('x', 'foo') from Roi r", (2, 3, 0)),
        ("select bit_length(i.name) from Image i where i.id = 1", (8,)),
        ("select r.id from Roi r where current_timestamp > r.details.creationEvent.time", None),
        ("select i.id from Image i where exists elements(i.rois)", (1,)),
        ("select elements(i.rois) from Image i", (1,)),
        ("select maxindex(r.shapes), minindex(r.shapes), r.shapes.size from Roi r", (1, 0, 2)),
    ],
)
def test_functions_of_texts_times_and_collections(
    database: sqlite3.Connection, text: str, found: tuple[object, ...] | None
) -> None:
    assert rows(database, text) == ([] if found is None else [found])


def test_a_files_size_is_no_number_of_elements(database: sqlite3.Connection) -> None:
    """OMERO.web asks so for what an image was imported from."""
    files = "select count(e), sum(e.originalFile.size) from FilesetEntry e where e.originalFile.size > 0"
    assert rows(database, files) == [(0, None)]


@pytest.mark.parametrize("term", ["size(i.rois)", "i.rois.size"])
def test_how_many_there_are_is_no_condition(term: str) -> None:
    """As on a real server, where it fails in the database."""
    with pytest.raises(omero.ValidationException):
        translate(f"select i.id from Image i where {term} > 0", ADMIN, {})


def test_a_grouped_id_stands_for_its_row(database: sqlite3.Connection) -> None:
    text = "select i.name, count(r.id) from Image i left join i.rois r group by i.id order by i.id"
    assert rows(database, text) == [("a", 1), ("b", 0), ("c", 0)]


def test_a_quantity_is_selected_whole_or_in_parts() -> None:
    found = translate("select p.physicalSizeX.value, p.physicalSizeX.unit, p.physicalSizeX from Pixels p", ADMIN, {})
    assert [c.value.kind for c in found.columns] == ["double", "string", "unit"]


def test_pages_leave_out_joins_that_only_fetch() -> None:
    fetched = translate("select r from Roi r left join fetch r.shapes s where r.image.id = 1 order by r.id", ADMIN, {})
    assert fetched.page is not None
    assert fetched.page.exact
    assert "shape" not in fetched.page.ids_sql
    asked = translate("select r from Roi r left join fetch r.shapes s where s.theZ = 1", ADMIN, {})
    assert asked.page is not None
    assert not asked.page.exact
    assert translate("select r from Roi r", ADMIN, {}).page is None


@pytest.mark.parametrize(
    ("joins", "found"),
    [
        ("join fetch i.rois r", [1]),
        ("join fetch i.rois r join fetch r.shapes s", [1]),
        ("left join fetch i.rois r left join fetch r.shapes s", [1, 2, 3]),
    ],
)
def test_collections_that_are_only_fetched_must_be_there_and_need_no_rows(
    database: sqlite3.Connection, joins: str, found: list[int]
) -> None:
    page = translate(f"select i from Image i {joins} order by i.id", ADMIN, {}).page
    assert page is not None
    assert page.exact
    assert [ident for (ident,) in database.execute(page.ids_sql)] == found


def test_what_a_fetched_collection_must_lead_to_is_looked_for(database: sqlite3.Connection) -> None:
    text = "select i from Image i join fetch i.rois r left join fetch r.shapes s join fetch s.transform t"
    page = translate(text, ADMIN, {}).page
    assert page is not None
    assert database.execute(page.ids_sql).fetchall() == []


def test_numbers_of_children_by_owner_are_fetched_with_what_has_any(database: sqlite3.Connection) -> None:
    text = "select i from Image i {} i.roisCountPerOwner order by i.id"
    assert [row[0] for row in rows(database, text.format("join fetch"))] == [1]
    assert [row[0] for row in rows(database, text.format("left join fetch"))] == [1, 2, 3]
    with pytest.raises(HqlError):
        translate("select i from Image i join fetch i.nothingCountPerOwner", ADMIN, {})


def test_pairs_are_several(database: sqlite3.Connection) -> None:
    text = "select a from MapAnnotation a join fetch a.mapValue v where v.name like 'k%' order by a.id"
    page = translate(text, ADMIN, {}).page
    assert page is not None
    assert not page.exact


def test_a_selected_reference_is_joined(database: sqlite3.Connection) -> None:
    assert rows(database, "select r.image from Roi r") == [(1,)]
    assert rows(database, "select r.image, r.image.name from Roi r where r.image.name = 'a'") == [(1, "a")]


def test_paths_of_outer_joins_are_outer(database: sqlite3.Connection) -> None:
    text = "select i.id from Image i left outer join i.fileset.usedFiles f order by i.id"
    assert rows(database, text) == [(1,), (2,), (3,)]

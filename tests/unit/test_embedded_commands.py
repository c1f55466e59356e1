"""The tables and small parts behind omero.cmd requests."""

from __future__ import annotations

import omero.api
import omero.clients
import omero.cmd
import omero.model as model
import pytest
from omero.cmd.graphs import ChildOption
from omero.rtypes import rdouble, rint, rstring

from omero_pixclf.embedded.commands import chgrp, chmod, delete, find_related, perform, rules
from omero_pixclf.embedded.commands.links import Item, annotation_links, bond, referrers
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import Refused, error_response, graph_failure
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.images.shape_statistics import shape_points
from omero_pixclf.embedded.users.access_rights import ALL, NOTHING

TAG, MAP, ROI = (Item(kind, ident, 2, 3) for ident, kind in enumerate(("TagAnnotation", "MapAnnotation", "Roi"), 1))


class NoNamespaces:
    """A transaction in which no annotation has a namespace, but for those given."""

    def __init__(self, **named: str) -> None:
        self.rows = [(int(ident[1:]), ns) for ident, ns in named.items()]

    def all(self, sql: str, values: object = ()) -> list[tuple[int, str]]:
        return self.rows


def split(options: list[ChildOption], items: list[Item], tx: object = None, rights: object = ALL) -> tuple[set, set]:
    return child_options(options).split(tx or NoNamespaces(), items, lambda item: rights)


# ---- bonds -------------------------------------------------------------------------------------------------------
def test_a_collection_is_bound_by_the_reference_of_its_elements():
    found = bond("Roi.shapes")
    assert (found.holder, found.thing, found.where) == ("Roi", "Shape", "Shape")
    assert (found.holder_column, found.thing_column) == ("roi", "id")


def test_a_reference_is_bound_by_its_own_column():
    found = bond("Image.instrument")
    assert (found.holder, found.thing) == ("Image", "Instrument")
    assert (found.holder_column, found.thing_column) == ("id", "instrument")


def test_a_link_binds_parent_and_child_and_can_be_turned_round():
    found, turned = bond("DatasetImageLink"), bond("~DatasetImageLink")
    assert (found.holder, found.thing) == ("Dataset", "Image") == (turned.thing, turned.holder)
    assert (found.holder_column, found.thing_column) == (turned.thing_column, turned.holder_column)


@pytest.mark.parametrize("text", [*rules.PARTS, *rules.SETTINGS, *(h.bond for h in (*rules.HOLDS, *rules.CONTENTS))])
def test_every_rule_names_properties_that_the_model_has(text):
    found = bond(text)
    assert found.holder in entity(found.holder).ancestors
    assert found.thing in entity(found.thing).ancestors


@pytest.mark.parametrize("names", [delete.TARGETS, chgrp.TARGETS, chmod.TARGETS, find_related.TARGETS])
def test_every_legal_target_is_a_class(names):
    assert all(entity(name).name == name for name in names if name != "AnnotationLink")


def test_every_request_has_a_function():
    assert all(callable(command.function()) for command in perform.REQUESTS.values())
    assert all(hasattr(omero.cmd, name) or hasattr(omero.api, name) for name in perform.REQUESTS)


def test_all_references_to_a_table_are_known():
    found = {(kind, name): nullable for kind, name, nullable in referrers("Roi")}
    assert found[("Shape", "roi")] is False
    assert ("RoiAnnotationLink", "parent") in found
    assert "RoiAnnotationLink" in annotation_links()


# ---- child options -----------------------------------------------------------------------------------------------
def test_without_options_nothing_is_decided():
    assert split([], [TAG, ROI]) == (set(), set())


def test_excluded_kinds_stay_and_included_ones_go():
    options = [ChildOption(["Roi"], None, None, None), ChildOption(None, ["Annotation"], None, None)]
    assert split(options, [TAG, MAP, ROI]) == ({TAG.key, MAP.key}, {ROI.key})


def test_what_may_not_be_deleted_is_not_included():
    assert split([ChildOption(["Roi"], None, None, None)], [ROI], rights=NOTHING) == (set(), set())


def test_namespaces_narrow_an_option_to_some_annotations():
    named = NoNamespaces(i1="a", i2="b")
    only = [ChildOption(None, ["Annotation"], ["a"], None)]
    but = [ChildOption(None, ["Annotation"], None, ["a"])]
    assert split(only, [TAG, MAP], named)[0] == {TAG.key}
    assert split(but, [TAG, MAP], named)[0] == {MAP.key}


def test_annotations_of_the_import_are_left_alone_unless_named():
    named = NoNamespaces(i1="openmicroscopy.org/omero/import/companionFile")
    assert split([ChildOption(None, ["Annotation"], None, None)], [TAG, MAP], named)[0] == {MAP.key}


@pytest.mark.parametrize(
    "option",
    [
        ChildOption(None, None, None, None),
        ChildOption(["Roi"], None, ["a"], ["b"]),
        ChildOption(["Nonsense"], None, None, None),
    ],
)
def test_options_that_say_nothing_or_contradict_themselves_are_refused(option):
    with pytest.raises(Refused):
        child_options([option])


# ---- failures ----------------------------------------------------------------------------------------------------
def test_a_planned_failure_answers_its_name_category_and_message():
    answer = error_response(omero.cmd.Delete2(), graph_failure("no"), "steps-cancel")
    assert isinstance(answer, omero.cmd.GraphException)
    assert (answer.category, answer.name, answer.message) == ("::omero::cmd::Delete2", "graph-fail", "no")
    assert answer.parameters["message"] == "no"


def test_an_unplanned_failure_answers_a_plain_err_with_its_trace():
    answer = error_response(omero.cmd.Delete2(), ZeroDivisionError("x"), "graph-fail")
    assert type(answer) is omero.cmd.ERR
    assert "ZeroDivisionError" in answer.parameters["stacktrace"]


def test_a_part_of_several_requests_names_itself():
    refused = graph_failure("no")
    refused.request = omero.cmd.Chgrp2()
    assert error_response(omero.cmd.DoAll(), refused, "x").category == "::omero::cmd::Chgrp2"


# ---- how requests run --------------------------------------------------------------------------------------------
def test_a_dry_run_writes_nothing_and_takes_fewer_steps():
    wet, dry = omero.cmd.Delete2(dryRun=False), omero.cmd.Delete2(dryRun=True)
    assert (perform.writes(wet), perform.writes(dry)) == (True, False)
    assert (perform.step_count(wet), perform.step_count(dry)) == (6, 4)


def test_several_requests_write_when_one_of_them_does():
    dry, wet = omero.cmd.Delete2(dryRun=True), omero.cmd.Chgrp2()
    assert not perform.writes(omero.cmd.DoAll([dry, dry], None))
    assert perform.writes(omero.cmd.DoAll([dry, wet], None))
    assert perform.writes(omero.cmd.SkipHead(request=wet, startFrom=["Image"]))


def test_graph_requests_look_at_all_groups():
    assert perform.context_of(omero.cmd.Delete2(), {"omero.group": "5"})["omero.group"] == "-1"
    assert perform.context_of(omero.cmd.Duplicate(), {"omero.group": "5"})["omero.group"] == "5"


# ---- pixels below shapes -----------------------------------------------------------------------------------------
def shape(kind: str, **fields: object) -> object:
    made = getattr(model, kind + "I")()
    for name, value in fields.items():
        setattr(made, name, rstring(value) if isinstance(value, str) else rdouble(value))
    return made


def pixels(found: object) -> set[tuple[int, int]]:
    x, y = shape_points(found)
    return set(zip(x.tolist(), y.tolist(), strict=True))


def test_a_rectangle_covers_width_times_height_pixels():
    assert pixels(shape("Rectangle", x=1, y=2, width=3, height=2)) == {(x, y) for x in (1, 2, 3) for y in (2, 3)}


def test_a_triangle_covers_the_pixels_left_of_its_slope():
    assert pixels(shape("Polygon", points="0,0 4,0 0,4")) == {(x, y) for x in range(4) for y in range(4) if x + y < 4}


def test_an_ellipse_covers_about_its_area():
    found = pixels(shape("Ellipse", x=50, y=50, radiusX=20, radiusY=10))
    assert len(found) == pytest.approx(3.14159 * 200, rel=0.02)


def test_a_line_covers_every_column_once():
    assert pixels(shape("Line", x1=0, y1=0, x2=5, y2=0)) == {(x, 0) for x in range(6)}


def test_a_transform_moves_the_pixels():
    moved = shape("Rectangle", x=0, y=0, width=1, height=1)
    moved.transform = model.AffineTransformI()
    for name, value in {"a00": 1, "a10": 0, "a01": 0, "a11": 1, "a02": 7, "a12": 3}.items():
        setattr(moved.transform, name, rdouble(value))
    assert pixels(moved) == {(7, 3)}


def test_a_shape_without_values_covers_nothing():
    assert pixels(model.RectangleI()) == set()
    empty = model.PointI()
    empty.theZ = rint(0)
    assert pixels(empty) == set()

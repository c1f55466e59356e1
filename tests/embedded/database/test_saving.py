"""Saving and reading through a real client: what IUpdate and IQuery promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
import omero.model as model
import omero.sys
import pytest
from omero.rtypes import rdouble, rint, rlist, rlong, rstring

from tests.integration.conftest import Endpoint, Lab, Person


@pytest.fixture
def user_session(user: Person) -> Any:
    return user.client().getSession()


def named(kind: str, name: str) -> Any:
    made = getattr(model, kind + "I")()
    made.name = rstring(name)
    return made


def params(**values: int) -> Any:
    made = omero.sys.ParametersI()
    for name, value in values.items():
        made.addLong(name, value)
    return made


def test_a_graph_is_saved_in_one_call_and_comes_back_with_ids(user_session: Any) -> None:
    project, dataset, image = named("Project", "p"), named("Dataset", "d"), named("Image", "i")
    project.linkDataset(dataset)
    dataset.linkImage(image)
    saved = user_session.getUpdateService().saveAndReturnObject(project)
    below = saved.linkedDatasetList()[0].linkedImageList()[0]
    rows = user_session.getQueryService().projection(
        "select q.name, i.id from Project q join q.datasetLinks a join a.child d join d.imageLinks b join b.child i",
        None,
    )
    assert [[c.val for c in row] for row in rows] == [["p", below.id.val]]


def test_quantities_keep_value_and_unit(user_session: Any) -> None:
    roi, shape = model.RoiI(), model.RectangleI()
    shape.strokeWidth = model.LengthI(2.5, omero.model.enums.UnitsLength.MICROMETER)
    shape.x = rdouble(float("nan"))
    roi.addShape(shape)
    ident = user_session.getUpdateService().saveAndReturnIds([roi])[0]
    query = user_session.getQueryService()
    [found] = query.findAllByQuery("select s from Rectangle s where s.roi.id = :i", params(i=ident))
    assert (found.strokeWidth.getValue(), str(found.strokeWidth.getUnit())) == (2.5, "MICROMETER")
    assert found.x.val != found.x.val
    text = (
        "select s.id from Shape s where s.strokeWidth.value > 2 and s.strokeWidth.unit = 'MICROMETER' and s.roi.id = :i"
    )
    assert len(query.projection(text, params(i=ident))) == 1


def test_external_information_is_kept(user_session: Any) -> None:
    dataset, external = named("Dataset", "d"), model.ExternalInfoI()
    external.entityId, external.entityType, external.lsid = rlong(5), rstring("thing"), rstring("urn:x")
    dataset.details.externalInfo = external
    ident = user_session.getUpdateService().saveAndReturnObject(dataset).id.val
    text = "select d from Dataset d join fetch d.details.externalInfo where d.id = :i"
    found = user_session.getQueryService().findByQuery(text, params(i=ident))
    assert found.details.externalInfo.lsid.val == "urn:x"


def test_a_reference_to_nothing_is_an_error_that_stores_nothing(user_session: Any) -> None:
    link = model.DatasetImageLinkI()
    link.parent, link.child = named("Dataset", "never"), model.ImageI(999999999, False)
    with pytest.raises(omero.ValidationException):
        user_session.getUpdateService().saveObject(link)
    rows = user_session.getQueryService().projection("select count(d) from Dataset d where d.name = 'never'", None)
    assert rows[0][0].val == 0


def test_changes_of_a_stale_copy_are_refused(user_session: Any) -> None:
    update, query = user_session.getUpdateService(), user_session.getQueryService()
    ident = update.saveAndReturnObject(named("Dataset", "zero")).id.val
    mine, stale = query.get("Dataset", ident), query.get("Dataset", ident)
    mine.name = rstring("one")
    update.saveObject(mine)
    stale.name = rstring("two")
    with pytest.raises(omero.OptimisticLockException):
        update.saveObject(stale)
    assert query.get("Dataset", ident).name.val == "one"


def test_pages_count_objects_and_not_the_rows_of_their_collections(user_session: Any) -> None:
    rois = []
    for number in range(6):
        roi = model.RoiI()
        roi.name = rstring(f"r{number}")
        for _ in range(3):
            roi.addShape(model.PointI())
        rois.append(roi)
    user_session.getUpdateService().saveArray(rois)
    page = omero.sys.ParametersI().page(2, 3)
    text = "select distinct r from Roi r left outer join fetch r.shapes order by r.id desc"
    found = user_session.getQueryService().findAllByQuery(text, page)
    assert [(r.name.val, r.sizeOfShapes()) for r in found] == [("r3", 3), ("r2", 3), ("r1", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "select d.name, count(l) from Dataset d left join d.imageLinks l",
        "select distinct d.name from Dataset d order by d.id",
        "select d.id from Dataset d where d.name = 5",
        "select d.id from Dataset d where d.id like '1%'",
        "select lower(d.id) from Dataset d",
    ],
)
def test_what_postgresql_refuses_is_refused(user_session: Any, text: str) -> None:
    with pytest.raises(omero.ApiUsageException):
        user_session.getQueryService().projection(text, None)


def test_grouping_by_an_id_lets_its_row_be_selected(user_session: Any) -> None:
    user_session.getUpdateService().saveObject(named("Dataset", "only"))
    text = "select d.id, d.name, count(l.id) from Dataset d left outer join d.imageLinks l group by d.id"
    [[_, name, count]] = user_session.getQueryService().projection(text, None)
    assert (name.val, count.val) == ("only", 0)


def test_a_colleague_may_annotate_but_not_rename_in_a_read_annotate_group(
    endpoint: Endpoint, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(endpoint, "rwra--")
    alice, bob = lab.member("alice").client().getSession(), lab.member("bob").client().getSession()
    ident = alice.getUpdateService().saveAndReturnObject(named("Dataset", "hers")).id.val
    link = model.DatasetAnnotationLinkI()
    link.parent, link.child = model.DatasetI(ident, False), model.TagAnnotationI()
    link.child.textValue = rstring("his")
    bob.getUpdateService().saveObject(link)
    found = bob.getQueryService().get("Dataset", ident)
    assert (found.details.permissions.canAnnotate(), found.details.permissions.canEdit()) == (True, False)
    found.name = rstring("taken")
    with pytest.raises(omero.SecurityViolation):
        bob.getUpdateService().saveObject(found)


def test_private_objects_are_seen_by_owner_and_leader_only(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(endpoint, "rw----")
    alice, bob = lab.member("alice"), lab.member("bob")
    ident = alice.client().getSession().getUpdateService().saveAndReturnObject(named("Dataset", "secret")).id.val
    query = bob.client().getSession().getQueryService()
    with pytest.raises(omero.SecurityViolation):
        query.get("Dataset", ident)
    listed = omero.sys.ParametersI()
    listed.map = {"ids": rlist([rlong(ident)])}
    assert query.projection("select d.id from Dataset d where d.id in (:ids)", listed) == []
    root = lab.root().client().getSession()
    context = {"omero.group": str(lab.group)}
    assert root.getQueryService().get("Dataset", ident, context).name.val == "secret"


def test_plain_users_cannot_make_enumerations_or_users(user_session: Any) -> None:
    update = user_session.getUpdateService()
    image = named("Image", "i")
    image.format = model.FormatI()
    image.format.value = rstring("my own format")
    with pytest.raises(omero.ValidationException):
        update.saveObject(image)
    person = model.ExperimenterI()
    person.omeName, person.firstName, person.lastName = (rstring("x") for _ in range(3))
    person.ldap = omero.rtypes.rbool(False)
    with pytest.raises(omero.SecurityViolation):
        update.saveObject(person)


def test_wells_and_fields_keep_their_order(user_session: Any) -> None:
    plate, well = named("Plate", "p"), model.WellI()
    well.row, well.column = rint(0), rint(1)
    plate.addWell(well)
    for number in range(3):
        sample = model.WellSampleI()
        sample.image = named("Image", f"field {number}")
        well.addWellSample(sample)
    ident = user_session.getUpdateService().saveAndReturnObject(plate).id.val
    text = "select index(s), s.image.name from Well w join w.wellSamples s where w.plate.id = :i order by index(s)"
    rows = user_session.getQueryService().projection(text, params(i=ident))
    assert [(r[0].val, r[1].val) for r in rows] == [(0, "field 0"), (1, "field 1"), (2, "field 2")]


def test_a_place_on_a_plate_holds_one_well(user_session: Any) -> None:
    update = user_session.getUpdateService()
    plate = update.saveAndReturnObject(named("Plate", "p")).id.val
    other = update.saveAndReturnObject(named("Plate", "q")).id.val

    def well(row: int, column: int, on: int = plate) -> Any:
        made = model.WellI()
        made.plate, made.row, made.column = model.PlateI(on, False), rint(row), rint(column)
        return made

    update.saveObject(well(0, 1))
    moved = update.saveAndReturnObject(well(1, 0))
    update.saveObject(well(0, 1, other))
    with pytest.raises(omero.ValidationException):
        update.saveObject(well(0, 1))
    with pytest.raises(omero.ValidationException):
        update.saveArray([well(2, 2), well(2, 2)])
    moved.row, moved.column = rint(0), rint(1)
    with pytest.raises(omero.ValidationException):
        update.saveObject(moved)
    rows = user_session.getQueryService().projection(
        "select w.row, w.column from Well w where w.plate.id = :i order by w.row", params(i=plate)
    )
    assert [(r[0].val, r[1].val) for r in rows] == [(0, 1), (1, 0)]


# ---- links of saved objects --------------------------------------------------------------------------------------
def tagged(update: Any, project: Any) -> int:
    """Link a new tag to a project, past the object that a client holds; the link's id."""
    link = model.ProjectAnnotationLinkI()
    link.parent, link.child = model.ProjectI(project.id.val, False), model.TagAnnotationI()
    return int(update.saveAndReturnObject(link).id.val)


def test_a_saved_object_that_is_saved_again_loses_what_was_linked_since(user: Person) -> None:
    session = user.client().sf
    update, query = session.getUpdateService(), session.getQueryService()
    project = model.ProjectI()
    project.name = rstring("p")
    project = update.saveAndReturnObject(project)
    link = tagged(update, project)
    stored = query.get("Project", project.id.val)  # its collections are not loaded
    stored.description = rstring("x")
    update.saveObject(stored)
    assert query.find("ProjectAnnotationLink", link) is not None
    held = query.findByQuery(
        "select p from Project p left join fetch p.annotationLinks l left join fetch l.child where p.id = :id",
        omero.sys.ParametersI().addId(project.id.val),
    )
    assert held.sizeOfAnnotationLinks() == 1
    held.clearAnnotationLinks()
    update.saveObject(held)
    assert query.find("ProjectAnnotationLink", link) is None


def test_a_colleagues_link_is_not_cut_by_who_may_not_delete_it(new_lab: Any, endpoint: Any) -> None:
    lab = new_lab(endpoint, "rwra--")
    owner, colleague = (lab.member().client().sf.getUpdateService() for _ in range(2))
    project = model.ProjectI()
    project.name = rstring("p")
    project = owner.saveAndReturnObject(project)
    tagged(colleague, project)
    with pytest.raises(omero.SecurityViolation):
        owner.saveObject(project)


def test_what_was_saved_says_who_saved_it_and_when(user: Person) -> None:
    update = user.client().sf.getUpdateService()
    note = update.saveAndReturnObject(model.TagAnnotationI())
    note.textValue = rstring("changed")
    details = update.saveAndReturnObject(note).details
    assert details.updateEvent.session.userAgent.val
    assert details.updateEvent.session.uuid.val == "********"
    assert details.getEventContext().userId == user.ident
    assert details.getEventContext().sessionUuid == "*********"

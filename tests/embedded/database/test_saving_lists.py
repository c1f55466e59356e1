"""Collections and fixed values of saved objects, as a real OMERO.server was seen to treat them."""

from __future__ import annotations

import omero
import omero.model as model
import omero.sys
import pytest
from omero.rtypes import rdouble, rint, rstring

from tests.integration.commands import Client
from tests.integration.conftest import Endpoint, Person


def roi(image: int, shapes: int) -> model.RoiI:
    made = model.RoiI()
    made.image = model.ImageI(image, False)
    for x in range(shapes):
        made.addShape(model.PointI())
        made.getShape(x).x = rdouble(x)
    return made


def shape_counts(client: Client, image: int) -> list[int]:
    found = client.sf.getRoiService().findByImage(image, None).rois
    return [r.sizeOfShapes() for r in found]


def test_an_element_stays_in_its_list_until_the_list_is_saved(client: Client) -> None:
    image = client.named("Image")
    first, second = client.save(roi(image, 2)), client.save(roi(image, 1))
    text = f"select s from Shape s where s.roi.id = {first} order by s.id"
    shape = client.query.findAllByQuery(text, None)[0]
    shape.roi = model.RoiI(second, False)
    client.save(shape)
    assert shape_counts(client, image) == [2, 1]


def test_an_element_added_to_another_list_moves_there(client: Client) -> None:
    image = client.named("Image")
    first, second = client.save(roi(image, 2)), client.save(roi(image, 1))
    query = "select r from Roi r join fetch r.shapes where r.id = :i"
    found = [client.query.findByQuery(query, omero.sys.ParametersI().addLong("i", i)) for i in (first, second)]
    moved = found[0].getShape(1)
    found[1].addShape(moved)
    client.save(found[1])
    assert shape_counts(client, image) == [1, 2]


def test_empty_collections_without_links_come_back_unloaded_from_a_change(client: Client) -> None:
    plate = model.PlateI()
    plate.name, plate.rows = rstring("p"), rint(8)
    update = client.sf.getUpdateService()
    saved = update.saveAndReturnObject(plate)
    assert saved.isWellsLoaded()
    saved.rows = None
    changed = update.saveAndReturnObject(saved)
    assert not changed.isWellsLoaded()
    assert not changed.isPlateAcquisitionsLoaded()
    assert changed.isScreenLinksLoaded()
    assert changed.isAnnotationLinksLoaded()


def test_an_offset_without_a_limit_counts_shapes_and_not_regions(client: Client) -> None:
    image = client.named("Image")
    for _ in range(3):
        client.save(roi(image, 2))
    options = omero.api.RoiOptions()
    options.offset = rint(3)
    found = client.sf.getRoiService().findByImage(image, options).rois
    assert [len([s for s in r.copyShapes() if s is not None]) for r in found] == [1, 2]


def test_plain_users_cannot_change_an_enumeration_and_administrators_can(client: Client, team) -> None:
    found = client.sf.getTypesService().getEnumeration("Medium", "Glycerol")
    found.value = rstring("Honey")
    with pytest.raises(omero.SecurityViolation, match="Medium"):
        client.save(found)
    assert client.query.get("Medium", found.id.val).value.val == "Glycerol"
    root = team("rw----", 0)[0]
    root.sf.getTypesService().updateEnumeration(found)
    assert client.query.get("Medium", found.id.val).value.val == "Honey"
    found.value = rstring("Glycerol")
    root.sf.getTypesService().updateEnumeration(found)


@pytest.mark.parametrize(("kind", "number"), [("Binning", 4), ("Correction", 15), ("Immersion", 8)])
def test_enumerations_have_the_values_of_a_real_server(client: Client, kind: str, number: int) -> None:
    assert len(client.sf.getTypesService().allEnumerations(kind)) == number


@pytest.mark.parametrize(
    ("text", "exact", "names"),
    [
        ("RED", False, ["Red", "red", "reddish"]),
        ("red", True, ["red", "reddish"]),
        ("e%h", True, ["reddish"]),
        ("_ed", True, ["Red", "red", "reddish"]),
        ("none", False, []),
    ],
)
def test_objects_are_found_by_a_text_anywhere_in_a_name(
    client: Client, text: str, exact: bool, names: list[str]
) -> None:
    for name in ("Red", "red", "reddish", "blue"):
        client.named("Screen", name=rstring(name))
    found = client.query.findAllByString("Screen", "name", text, exact, None)
    assert sorted(s.name.val for s in found) == names


def test_no_client_may_call_refresh(client: Client) -> None:
    dataset = client.query.get("Dataset", client.named("Dataset"))
    with pytest.raises(omero.SecurityViolation, match="no remote access"):
        client.query.refresh(dataset)


def test_a_gateway_that_names_a_foreign_group_ends_in_its_users_own(endpoint: Endpoint, user: Person, new_lab) -> None:
    foreign = new_lab(endpoint)
    gateway = omero.gateway.BlitzGateway(
        user.name, user.password, host=endpoint.host, port=endpoint.port, secure=True, group=foreign.name
    )
    try:
        assert gateway.connect()
        assert gateway.getEventContext().groupId == user.group
    finally:
        gateway.close()

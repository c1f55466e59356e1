"""Chgrp2: what moves to another group with an object, and what is lost or forbidden on the way."""

from __future__ import annotations

import omero.clients
import omero.cmd
import omero.model as model
import pytest
from omero.rtypes import rstring

from tests.integration.commands import ALL, Client, of, plate_with_field, tag, wait_for


@pytest.fixture
def mover(endpoint, new_lab):
    """A user in two groups, and the second group's id."""

    def make(first: str = "rwrw--", second: str = "rw----") -> tuple[Client, int, Client]:
        lab, other = new_lab(endpoint, first), new_lab(endpoint, second)
        person, colleague = lab.member(), lab.member()
        admin = lab._root.getSession().getAdminService()
        admin.addGroups(model.ExperimenterI(person.ident, False), [model.ExperimenterGroupI(other.group, False)])
        return (
            Client(person, person.client().getSession()),
            other.group,
            Client(colleague, colleague.client().getSession()),
        )

    return make


def test_a_dataset_moves_with_its_images_but_not_with_shared_ones(mover):
    alice, group, _bob = mover()
    here, moves = alice.named("Dataset"), alice.named("Dataset")
    own, shared = alice.named("Image"), alice.named("Image")
    alice.link("DatasetImageLink", moves, own)
    alice.link("DatasetImageLink", moves, shared)
    alice.link("DatasetImageLink", here, shared)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Dataset": [moves]}, groupId=group))
    assert of(answer, "includedObjects") == {"Dataset": 1, "Image": 1, "DatasetImageLink": 1}
    assert of(answer) == {"DatasetImageLink": 1}
    assert alice.group_of("Image", own) == group
    assert alice.group_of("Image", shared) != group


def test_a_tag_that_stays_in_use_is_left_behind(mover):
    alice, group, _bob = mover()
    moves, stays = alice.named("Image"), alice.named("Image")
    note = alice.annotate(("Image", moves), tag())
    alice.annotate(("Image", stays), model.TagAnnotationI(note, False))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [moves]}, groupId=group))
    assert of(answer, "includedObjects") == {"Image": 1}
    assert of(answer) == {"ImageAnnotationLink": 1}


def test_others_regions_are_lost_on_the_way_into_a_private_group(mover):
    alice, group, bob = mover("rwra--")
    image = alice.named("Image")
    own, his = alice.roi(image), bob.roi(image)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert of(answer, "includedObjects") == {"Image": 1, "Roi": 1, "Point": 1}
    assert alice.group_of("Roi", own) == group
    assert not bob.there("Roi", his)


def test_others_regions_come_along_into_a_shared_group(mover):
    alice, group, bob = mover("rwra--", "rwra--")
    image = alice.named("Image")
    his = bob.roi(image)
    alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert alice.group_of("Roi", his) == group


def test_a_region_cannot_move_without_its_image(mover):
    alice, group, _bob = mover()
    roi = alice.roi(alice.named("Image"))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Roi": [roi]}, groupId=group))
    assert isinstance(answer, omero.cmd.GraphException)


def test_a_plate_moves_as_a_whole(mover):
    alice, group, _bob = mover()
    plate, well, image = plate_with_field(alice)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Plate": [plate]}, groupId=group))
    assert of(answer, "includedObjects") == {"Plate": 1, "Well": 1, "WellSample": 1, "Image": 1}
    assert {alice.group_of("Well", well), alice.group_of("Image", image)} == {group}


def test_images_that_share_an_instrument_move_together_or_not_at_all(mover):
    alice, group, _bob = mover()
    instrument = alice.save(model.InstrumentI())
    images = [alice.named("Image", instrument=model.InstrumentI(instrument, False)) for _ in range(2)]
    alone = omero.cmd.Chgrp2(targetObjects={"Image": images[:1]}, groupId=group)
    assert isinstance(alice.run(alone), omero.cmd.GraphException)
    together = omero.cmd.Chgrp2(targetObjects={"Image": images}, groupId=group)
    assert of(alice.run(together), "includedObjects") == {"Image": 2, "Instrument": 1}


def test_an_instrument_that_moves_alone_is_forgotten_by_its_images(mover):
    alice, group, _bob = mover()
    instrument = alice.save(model.InstrumentI())
    image = alice.named("Image", instrument=model.InstrumentI(instrument, False))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Instrument": [instrument]}, groupId=group))
    assert of(answer, "includedObjects") == {"Instrument": 1}
    assert alice.query.get("Image", image).instrument is None


def test_a_colleagues_image_cannot_be_moved(mover):
    alice, group, bob = mover()
    image = bob.named("Image")
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert isinstance(answer, omero.cmd.GraphException)


def test_the_gateway_moves_an_image_into_a_dataset_of_the_other_group(mover):
    alice, group, _bob = mover()
    image = alice.named("Image")
    dataset = model.DatasetI()
    dataset.name = rstring("d")
    there = {"omero.group": str(group)}
    dataset = alice.sf.getUpdateService().saveAndReturnObject(dataset, there).id.val
    gateway = alice.person.gateway()
    gateway.chgrpObjects("Image", [image], group, container_id=dataset)
    wait_for(lambda: alice.group_of("Image", image) == group)
    text = f"select l.child.id from DatasetImageLink l where l.parent.id = {dataset}"
    assert [row[0].val for row in alice.query.projection(text, None, ALL)] == [image]

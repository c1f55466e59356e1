"""Chown2: what is given to another user along with an object."""

from __future__ import annotations

import omero.clients
import omero.cmd
import omero.model as model
import pytest

from tests.integration.commands import Client, of


def test_root_gives_a_project_with_everything_in_it(team):
    alice, bob, root = team("rw----")
    project, dataset, image = alice.named("Project"), alice.named("Dataset"), alice.named("Image")
    alice.link("ProjectDatasetLink", project, dataset)
    alice.link("DatasetImageLink", dataset, image)
    roi = alice.roi(image)
    answer = root.run(omero.cmd.Chown2(targetObjects={"Project": [project]}, userId=bob.person.ident))
    assert of(answer, "includedObjects") == {
        "Project": 1,
        "Dataset": 1,
        "Image": 1,
        "Roi": 1,
        "Point": 1,
        "ProjectDatasetLink": 1,
        "DatasetImageLink": 1,
    }
    assert bob.there("Roi", roi)
    with pytest.raises(omero.SecurityViolation):
        alice.query.get("Image", image)


def test_giving_an_image_cuts_it_out_of_the_former_owners_dataset(team):
    alice, bob, root = team("rwra--")
    dataset, image = alice.named("Dataset"), alice.named("Image")
    alice.link("DatasetImageLink", dataset, image)
    answer = root.run(omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=bob.person.ident))
    assert of(answer) == {"DatasetImageLink": 1}


def test_a_group_owner_gives_within_the_group_only(team):
    alice, bob, root = team("rwr---")
    stranger = team("rwr---", 1)[0]
    group = model.ExperimenterGroupI(alice.person.group, False)
    root.sf.getAdminService().setGroupOwner(group, model.ExperimenterI(alice.person.ident, False))
    owner = Client(alice.person, alice.person.client().getSession())
    image = bob.named("Image")
    outside = omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=stranger.person.ident)
    assert isinstance(owner.run(outside), omero.cmd.GraphException)
    inside = omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=alice.person.ident)
    assert of(owner.run(inside), "includedObjects") == {"Image": 1}


def test_a_region_is_not_given_out_of_its_image_in_a_read_only_group(team):
    alice, bob, root = team("rwr---")
    roi = alice.roi(alice.named("Image"))
    answer = root.run(omero.cmd.Chown2(targetObjects={"Roi": [roi]}, userId=bob.person.ident))
    assert isinstance(answer, omero.cmd.GraphException)

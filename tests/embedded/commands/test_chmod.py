"""Chmod2: what a new level cuts."""

from __future__ import annotations

import omero.clients
import omero.cmd
import omero.model as model
import pytest

from tests.integration.commands import of, tag


def test_making_a_group_private_cuts_what_connects_its_members(team):
    alice, bob, root = team("rwrw--")
    image = alice.named("Image")
    his_roi = bob.roi(image)
    his_tag = bob.annotate(("Image", image), tag())
    targets = {"ExperimenterGroup": [alice.person.group]}
    answer = root.run(omero.cmd.Chmod2(targetObjects=targets, permissions="rw----"))
    assert of(answer) == {"Roi": 1, "Point": 1, "ImageAnnotationLink": 1}
    assert not bob.there("Roi", his_roi)
    assert bob.there("TagAnnotation", his_tag)
    with pytest.raises(omero.SecurityViolation):
        bob.query.get("Image", image)


def test_the_admin_service_closes_no_group_whose_members_refer_to_each_other(team):
    alice, bob, root = team("rwra--")
    tagged = alice.named("Image")
    bob.annotate(("Image", tagged), tag())
    group = model.ExperimenterGroupI(alice.person.group, False)
    admin = root.sf.getAdminService()
    with pytest.raises(omero.SecurityViolation):
        admin.changePermissions(group, model.PermissionsI("rw----"))
    admin.changePermissions(group, model.PermissionsI("rwr---"))  # all stay visible
    assert str(admin.getGroup(alice.person.group).details.permissions) == "rwr---"

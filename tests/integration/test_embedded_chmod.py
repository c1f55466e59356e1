"""Chmod2: what a new level cuts."""

from __future__ import annotations

import omero.clients
import omero.cmd
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

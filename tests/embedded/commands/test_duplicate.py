"""Duplicate: what is copied, referred to or left out."""

from __future__ import annotations

import omero.clients
import omero.cmd

from tests.integration.commands import of, tag


def test_a_copy_refers_to_what_is_not_to_be_copied(client):
    image = client.named("Image")
    client.roi(image)
    note = client.annotate(("Image", image), tag())
    request = omero.cmd.Duplicate(targetObjects={"Image": [image]}, typesToReference=["Annotation"])
    answer = client.run(request)
    assert of(answer, "duplicates") == {"Image": 1, "Roi": 1, "Point": 1, "ImageAnnotationLink": 1}
    copy = answer.duplicates["ome.model.core.Image"][0]
    rows = client.query.projection(f"select l.child.id from ImageAnnotationLink l where l.parent.id = {copy}", None)
    assert [row[0].val for row in rows] == [note]


def test_a_copy_leaves_out_what_is_to_be_ignored(client):
    image = client.named("Image")
    client.roi(image)
    client.annotate(("Image", image), tag())
    request = omero.cmd.Duplicate(targetObjects={"Image": [image]}, typesToIgnore=["Annotation", "Roi"])
    assert of(client.run(request), "duplicates") == {"Image": 1}


def test_a_colleague_owns_the_copy_he_makes(team):
    alice, bob, _root = team("rwr---")
    image = alice.named("Image")
    answer = bob.run(omero.cmd.Duplicate(targetObjects={"Image": [image]}))
    copy = bob.query.get("Image", answer.duplicates["ome.model.core.Image"][0])
    assert copy.details.owner.id.val == bob.person.ident

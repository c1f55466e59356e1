"""Pairs of objects that belong together, named by a property or a link class of the model."""

from __future__ import annotations

from omero_pixclf.embedded.commands.links import annotation_links, referring_fields, relation


def test_a_collection_is_bound_by_the_reference_of_its_elements():
    found = relation("Roi.shapes")
    assert (found.holder, found.member, found.where) == ("Roi", "Shape", "Shape")
    assert (found.holder_column, found.member_column) == ("roi", "id")


def test_a_reference_is_bound_by_its_own_column():
    found = relation("Image.instrument")
    assert (found.holder, found.member) == ("Image", "Instrument")
    assert (found.holder_column, found.member_column) == ("id", "instrument")


def test_a_link_binds_parent_and_child_and_can_be_turned_round():
    found, turned = relation("DatasetImageLink"), relation("~DatasetImageLink")
    assert (found.holder, found.member) == ("Dataset", "Image") == (turned.member, turned.holder)
    assert (found.holder_column, found.member_column) == (turned.member_column, turned.holder_column)


def test_all_references_to_a_table_are_known():
    found = {(kind, name): nullable for kind, name, nullable in referring_fields("Roi")}
    assert found[("Shape", "roi")] is False
    assert ("RoiAnnotationLink", "parent") in found
    assert "RoiAnnotationLink" in annotation_links()

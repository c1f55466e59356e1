"""The object model as derived from omero-py's own types."""

from __future__ import annotations

from omero_pixclf.embedded.database.object_model import entities, entity, find_entity
from omero_pixclf.embedded.database.schema import create_statements, pair_table, table


def test_every_class_of_omero_model_with_an_id_is_there() -> None:
    import omero.model

    own = {n for n in vars(omero.model) if n.endswith("I") and issubclass(getattr(omero.model, n), omero.model.IObject)}
    assert {e.name + "I" for e in entities().values() if not e.abstract} == own


def test_collections_know_their_back_reference_and_order() -> None:
    image, roi = entity("Image"), entity("Roi")
    assert (image.fields["datasetLinks"].target, image.fields["datasetLinks"].inverse) == ("DatasetImageLink", "child")
    assert (roi.fields["shapes"].inverse, roi.fields["shapes"].ordered) == ("roi", True)
    assert not image.fields["annotationLinks"].ordered
    assert all(f.inverse for e in entities().values() for f in e.children.values())


def test_hierarchies_share_a_table() -> None:
    assert entity("TagAnnotation").root == "Annotation"
    assert entity("Annotation").abstract
    assert table("TagAnnotation") is table("MapAnnotation")
    assert {"kind", "textValue", "longValue", "file", "ns"} <= set(table("TagAnnotation").columns)


def test_names_of_both_sides_lead_to_the_class() -> None:
    assert find_entity("Image") is find_entity("ImageI") is find_entity("ome.model.core.Image")
    assert find_entity("omero.model.Image") is entity("Image")
    assert find_entity("image") is None
    assert find_entity("ome.model.roi.Image") is None


def test_units_and_lists_have_columns() -> None:
    columns = table("Pixels").columns
    assert columns["physicalSizeX_unit"].is_unit
    assert "pixels_index" in table("Channel").columns
    assert pair_table(entity("MapAnnotation"), entity("MapAnnotation").fields["mapValue"]) == "mapannotation_mapvalue"


def test_nullability_is_omeros() -> None:
    assert not entity("Dataset").fields["name"].nullable
    assert entity("Dataset").fields["description"].nullable


def test_every_stored_class_is_created_once() -> None:
    made = [s for s in create_statements() if s.startswith("CREATE TABLE")]
    assert len(made) == len(set(made))
    assert any(s.startswith("CREATE TABLE image ") for s in made)

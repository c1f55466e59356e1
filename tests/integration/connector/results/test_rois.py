"""Outlines onto images, as other clients see them."""

from __future__ import annotations

import ezomero
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.rois import find_marked_rois, read_outlines, save_outlines
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape, trace_outlines
from omero_pixclf.objects.rasterize import rasterize_outlines
from tests.integration.readers import reader

SHAPE = (2, 3, 60, 80)


@pytest.fixture(scope="module")
def labels():
    """Blobs in two time points and three planes, some touching the borders, some with holes."""
    from skimage.measure import label

    noise = np.random.default_rng(5).normal(size=SHAPE)
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(noise, (0, 1, 2, 2), mode="reflect")
    made = np.zeros(SHAPE, np.int32)
    for t in range(SHAPE[0]):
        made[t] = label(smooth[t] > 0.08, connectivity=1)
    return made


def save(session, image, found, mark="m"):
    return save_outlines(
        session, found, image=image, group=session.group_id, name="nuclei", color=(255, 0, 0), mark=mark
    )


def relabelled(ids, back, found):
    """Outlines read back, with the labels that their Rois were saved for."""
    of = dict(zip(ids.tolist(), (o.label for o in found), strict=True))
    return [Outline(of[roi], o.t, o.shapes) for roi, _, o in back]


@pytest.mark.parametrize("kind", ["mask", "polygon"])
def test_labels_come_back_from_the_server_as_they_were(session, labels, kind):
    found = list(trace_outlines(labels, kind=kind))
    image = upload_image(session, reader((*SHAPE, 1)))
    ids = save(session, image, found)
    back = relabelled(ids, read_outlines(session, image), found)
    assert_array_equal(rasterize_outlines(back, SHAPE), labels)


def test_another_client_sees_one_roi_per_object(session, user, labels):
    found = list(trace_outlines(labels, kind="mask"))
    image = upload_image(session, reader((*SHAPE, 1)))
    ids = save(session, image, found)
    gateway = user.gateway()
    stored = gateway.getRoiService().findByImage(image, None, gateway.SERVICE_OPTS).rois
    assert sorted(r.id.val for r in stored) == sorted(ids.tolist())
    by_id = {r.id.val: r for r in stored}
    for ident, outline in zip(ids.tolist(), found, strict=True):
        shapes = by_id[ident].copyShapes()
        assert sorted((s.theT.val, s.theZ.val) for s in shapes) == sorted((s.t, s.z) for s in outline.shapes)
        assert by_id[ident].name.val == "nuclei"


def test_ezomero_reads_the_polygons(session, user):
    square = np.array([[2.0, 3.0], [10.5, 3.0], [10.5, 9.0], [2.0, 9.0]])
    image = upload_image(session, reader((1, 1, 20, 20, 1)))
    (ident,) = save(session, image, [Outline(1, 0, (PolygonShape(0, 0, square),))])
    gateway = user.gateway()
    assert ezomero.get_roi_ids(gateway, image) == [ident]
    (shape_id,) = ezomero.get_shape_ids(gateway, int(ident))
    shape = ezomero.get_shape(gateway, shape_id)
    assert shape.points == [tuple(p) for p in square.tolist()]
    assert (shape.z, shape.c, shape.t, shape.label) == (0, None, 0, "nuclei")  # in all channels
    assert shape.stroke_color == (255, 0, 0, 255)


def test_outlines_without_shapes_have_no_roi(session):
    dot = MaskShape(0, 0, 0, 0, np.ones((1, 1), bool))
    image = upload_image(session, reader((1, 1, 20, 20, 1)))
    ids = save(session, image, [Outline(1, 0, (dot,)), Outline(2, 0, ()), Outline(3, 0, (dot,))])
    assert ids[1] == -1
    assert find_marked_rois(session, image, "m") == [ids[0], ids[2]]
    assert save(session, image, []).tolist() == []


def test_ids_are_in_the_order_of_the_outlines_over_many_batches(session):
    found = [Outline(i, 0, (MaskShape(0, 0, i % 50, i // 50, np.ones((1, 1), bool)),)) for i in range(1234)]
    image = upload_image(session, reader((1, 1, 50, 50, 1)))
    ids = save(session, image, found)
    at = {roi: (o.shapes[0].x, o.shapes[0].y) for roi, _, o in read_outlines(session, image)}
    assert [at[i] for i in ids.tolist()] == [(i % 50, i // 50) for i in range(1234)]


def test_marks_tell_runs_apart(session):
    dot = Outline(1, 0, (MaskShape(0, 0, 0, 0, np.ones((1, 1), bool)),))
    image = upload_image(session, reader((1, 1, 20, 20, 1)))
    one, two = save(session, image, [dot], mark="one"), save(session, image, [dot], mark="two")
    assert find_marked_rois(session, image, "one") == one.tolist()
    assert [roi for roi, _, _ in read_outlines(session, image, mark="two")] == two.tolist()

"""The pixels that a shape covers."""

from __future__ import annotations

import omero.model as model
import pytest
from omero.rtypes import rdouble, rint, rstring

from omero_pixclf.embedded.images.shape_statistics import shape_points


def shape(kind: str, **fields: object) -> object:
    made = getattr(model, kind + "I")()
    for name, value in fields.items():
        setattr(made, name, rstring(value) if isinstance(value, str) else rdouble(value))
    return made


def pixels(found: object) -> set[tuple[int, int]]:
    x, y = shape_points(found)
    return set(zip(x.tolist(), y.tolist(), strict=True))


def test_a_rectangle_covers_width_times_height_pixels():
    assert pixels(shape("Rectangle", x=1, y=2, width=3, height=2)) == {(x, y) for x in (1, 2, 3) for y in (2, 3)}


def test_a_triangle_covers_the_pixels_left_of_its_slope():
    assert pixels(shape("Polygon", points="0,0 4,0 0,4")) == {(x, y) for x in range(4) for y in range(4) if x + y < 4}


def test_an_ellipse_covers_about_its_area():
    found = pixels(shape("Ellipse", x=50, y=50, radiusX=20, radiusY=10))
    assert len(found) == pytest.approx(3.14159 * 200, rel=0.02)


def test_a_line_covers_every_column_once():
    assert pixels(shape("Line", x1=0, y1=0, x2=5, y2=0)) == {(x, 0) for x in range(6)}


def test_a_transform_moves_the_pixels():
    moved = shape("Rectangle", x=0, y=0, width=1, height=1)
    moved.transform = model.AffineTransformI()
    for name, value in {"a00": 1, "a10": 0, "a01": 0, "a11": 1, "a02": 7, "a12": 3}.items():
        setattr(moved.transform, name, rdouble(value))
    assert pixels(moved) == {(7, 3)}


def test_a_shape_without_values_covers_nothing():
    assert pixels(model.RectangleI()) == set()
    empty = model.PointI()
    empty.theZ = rint(0)
    assert pixels(empty) == set()

"""Large images and many numbers: written as a real server takes them, and in messages below its limit of 64 MB."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import omero
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.rois import read_outlines, save_outlines
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.tables import OBJECTS_NS, read_table, write_table
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.image import ArrayReader, ImageInfo, Region
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import Column, Table
from tests.integration.readers import reader
from tests.integration.recorded import recording
from tests.integration.results import ENCODE, record

LARGEST_PLANE = 3192 * 3192
LIMIT = 40 << 20  # of a message's contents, well below a server's 64 MB
RUN = "20261121T053001-0000c2"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A server that refuses planes that are too large, as OMERO.server does."""
    with recording(tmp_path_factory.mktemp("recorded") / "data") as made, made.watched_by(refuse_large_planes):
        yield made


def refuse_large_planes(seen, arguments):
    if seen.operation in ("setPlane", "setStack", "setTimepoint") and len(arguments[0]) > LARGEST_PLANE:
        raise omero.ApiUsageException(None, None, "UnsupportedOperationException: Non-tile based writing unsupported")


@pytest.fixture
def session(recorded, new_lab):
    recorded.calls.clear()
    recorded.largest_answer = 0
    return new_lab(recorded.endpoint).member().session()


def largest(recorded):
    return max(max(c.size for c in recorded.calls), recorded.largest_answer)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 1, 3300, 3500, 1), "uint8"),  # a pyramid, with tiles cut off at both borders
        ((2, 1, 3200, 3200, 2), "uint16"),
        ((1, 2, 520, 20_000, 1), "int32"),
        ((1, 1, 4100, 4100, 2), "float32"),  # a plane of 67 MB: no pyramid, since of floating point
        ((1, 2, 3000, 3000, 1), "float64"),
    ],
)
def test_a_large_result_image_is_stored_pixel_for_pixel(recorded, session, shape, dtype):
    dataset = create_container(session, "Dataset", "data")
    (info,) = OmeroSource(session).images(
        [f"Image:{upload_image(session, reader((1, 1, 4, 4, 1), name='a.tif'), dataset=dataset)}"]
    )
    random = np.random.default_rng(1)
    pixels = random.integers(0, 200, shape, np.uint8).astype(dtype)
    said = record(RUN)
    with OmeroSink(session, encode=ENCODE).begin(info, said) as out:
        out.save_image(ResultImage("labels", pixels, channels=[str(c) for c in range(shape[4])], form="image"))
        out.complete(replace(said, finished=said.started))
    (made,) = [i for i in OmeroSource(session).images([f"Dataset:{dataset}"]) if i.shape == shape]
    with OmeroSource(session).open(made) as opened:
        assert_array_equal(opened.read(Region.whole(shape)), pixels)
    assert largest(recorded) < LIMIT
    rows = session.query_rows(
        "select index(c), s.globalMin, s.globalMax from Pixels p join p.channels c join c.statsInfo s "
        "where p.image.id = :id",
        id=int(made.key[6:]),
    )
    assert sorted(rows) == [[c, pixels[..., c].min(), pixels[..., c].max()] for c in range(shape[4])]


def test_a_large_file_is_uploaded_in_bounded_memory_of_messages(recorded, session):
    info = ImageInfo("", "large", (1, 1, 5000, 4000, 1), "uint16", ("c",))
    pixels = np.arange(20_000_000, dtype=np.uint16).reshape(info.shape)
    (made,) = OmeroSource(session).images([f"Image:{upload_image(session, ArrayReader(info, pixels))}"])
    with OmeroSource(session).open(made) as opened:
        assert_array_equal(opened.read(Region.whole(info.shape)), pixels)
    assert largest(recorded) < LIMIT


def test_masks_larger_than_a_message_are_saved_and_read_in_parts(recorded, session):
    image = upload_image(session, reader((1, 1, 8, 8, 1)))
    bits = np.zeros((24_000, 25_000), bool)  # 75 MB as a mask
    bits[::101, ::7] = True
    small = Outline(2, 0, (MaskShape(0, 0, 3, 4, np.ones((5, 6), bool)),))
    huge = Outline(1, 0, (MaskShape(0, 0, 1, 2, bits),))
    saved = save_outlines(
        session, [small, huge, small], image=image, group=session.group_id, name="n", color=(255, 0, 0), mark="m"
    )
    back = {roi: outline for roi, _, outline in read_outlines(session, image)}
    assert sorted(back) == sorted(saved.tolist())
    parts = back[int(saved[1])].shapes
    assert len(parts) > 1
    assert_array_equal(np.concatenate([p.bits for p in parts]), bits)
    assert [(p.x, p.y) for p in parts] == [(1, 2 + sum(len(q.bits) for q in parts[:i])) for i in range(len(parts))]
    assert largest(recorded) < LIMIT


def test_an_object_of_many_large_polygons_is_one_roi_with_all_of_them(recorded, session):
    image = upload_image(session, reader((1, 5, 8, 8, 1)))
    turns = np.linspace(0, 2 * np.pi, 250_000, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1).round(6) * 1e5
    planes = [PolygonShape(0, z, ring + z) for z in range(4)] + [MaskShape(0, 4, 0, 0, np.ones((2, 2), bool))]
    saved = save_outlines(
        session,
        [Outline(1, 0, tuple(planes))],
        image=image,
        group=session.group_id,
        name="n",
        color=(255, 0, 0),
        mark="m",
    )
    [(roi, _, back)] = read_outlines(session, image)
    assert [roi] == saved.tolist()
    assert sorted(s.z for s in back.shapes) == [0, 1, 2, 3, 4]
    assert all(len(s.points) == len(ring) for s in back.shapes if isinstance(s, PolygonShape))
    assert largest(recorded) < LIMIT


def test_tables_of_many_columns_and_long_texts_are_written_and_read_in_parts(recorded, session):
    dataset, rows = create_container(session, "Dataset", "data"), 11_000
    columns = [Column(f"C{i}", "double", np.arange(rows) + i) for i in range(20)]
    texts = np.array([f"{i:05d}" * 100 for i in range(rows)], object)
    table = Table((*columns, *(Column(f"Text{i}", "string", texts) for i in range(10))))
    annotation = write_table(
        session, f"Dataset:{dataset}", table, group=session.group_id, name="t", namespace=OBJECTS_NS, description=""
    )
    back = read_table(session, annotation)
    assert_array_equal(back["C19"], table["C19"])
    assert back["Text9"].tolist() == texts.tolist()
    assert largest(recorded) < LIMIT

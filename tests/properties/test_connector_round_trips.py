"""What goes to OMERO comes back the same."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from omero_pixclf.connector.results.ledger import format_record, parse_record
from omero_pixclf.connector.results.rois import format_points, pack_bits, parse_points, to_signed_rgba, unpack_bits
from omero_pixclf.connector.results.tables import measure_string_width, to_column, to_table
from omero_pixclf.connector.source import split_region
from omero_pixclf.image import Region
from omero_pixclf.provenance import RunRecord, new_run_id
from omero_pixclf.table import Column, Table

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda d: d.replace(microsecond=0, tzinfo=timezone.utc)
)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_masks(bits):
    packed = pack_bits(bits)
    assert len(packed) == -(-bits.size // 8)
    assert_array_equal(unpack_bits(packed, bits.shape[1], bits.shape[0]), bits)


@given(hnp.arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(0, 1e6)))
def test_points(points):
    assert_allclose(parse_points(format_points(points)), points, rtol=1e-9, atol=1e-12)


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_colours(rgba):
    signed = to_signed_rgba(rgba[:3], rgba[3])
    assert -(2**31) <= signed < 2**31
    assert tuple((signed & 0xFFFFFFFF).to_bytes(4, "big")) == rgba


@given(
    st.builds(
        RunRecord,
        run_id=st.builds(new_run_id, MOMENTS, st.binary(min_size=3, max_size=3)),
        image=st.integers(1).map("Image:{}".format),
        recipe=TEXTS,
        recipe_hash=TEXTS,
        fingerprint=TEXTS,
        project=TEXTS,
        project_sha256=TEXTS,
        version=TEXTS,
        started=MOMENTS,
        finished=st.none() | MOMENTS,
        state=st.sampled_from(["running", "complete"]),
        objects=st.dictionaries(TEXTS, st.integers(0)),
        uncertainty=st.none() | st.integers(0, 10**6).map(lambda i: i / 10**6),
        settings=st.dictionaries(TEXTS, TEXTS),
    )
)
def test_records(record):
    assert parse_record(format_record(record)) == record


@given(st.lists(st.tuples(TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True, allow_infinity=False))))
def test_tables(rows):
    strings, longs, doubles = ([row[i] for row in rows] for i in range(3))
    table = Table(
        (
            Column("S", "string", np.array(strings, dtype=object)),
            Column("L", "long", np.array(longs, dtype=np.int64)),
            Column("D", "double", np.array(doubles, dtype=float)),
        )
    )
    back = to_table([to_column(c, c.values, width=measure_string_width(c)) for c in table.columns])
    for name in table.names:
        assert_array_equal(back[name], table[name])
    assert max((len(s.encode()) for s in strings), default=1) <= measure_string_width(table.columns[0])


@given(
    st.tuples(*[st.tuples(st.integers(0, 50), st.integers(1, 60))] * 5),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 2000),
)
def test_blocks_cover_each_pixel_once(spans, itemsize, size):
    spans = [spans[0], spans[1], spans[2], spans[3], (spans[4][0] % 3, 1 + spans[4][1] % 2)]
    start, stop = (a for a, _ in spans), (a + min(n, 9) for a, n in spans)
    region = Region(tuple(start), tuple(stop))
    seen = np.zeros(region.shape, np.uint8)
    t0, z0, y0, x0, c0 = region.start
    for b in split_region(region, itemsize, tile=4, size=size):
        z, y, x = b.z - z0, b.y - y0, b.x - x0
        seen[b.t - t0, z : z + b.depth, y : y + b.height, x : x + b.width, b.c - c0] += 1
    assert_array_equal(seen, 1)

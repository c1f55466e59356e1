"""Tables and attachments of containers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.errors import OutputError
from tests.integration.readers import reader
from tests.integration.results import (
    ENCODE,
    counts,
    record,
    rois_of,
    rows_of,
    store_tables,
    write,
    write_container,
)


def test_tables_stand_on_the_container_and_are_replaced(session, user, sink, info, tmp_path):
    picture = tmp_path / "sheet.png"
    picture.write_bytes(b"png")
    write_container(sink, info, "20261121T053001-000001", attachments=[picture])
    before = counts(user)
    written = write_container(sink, info, "20261121T053002-000002", rows=4, attachments=[picture])
    assert counts(user) == before
    standing = sink.load_tables(info.place.container, "nuclei")
    assert sorted(standing) == ["objects", "summary"]
    assert_array_equal(standing["objects"]["N"], np.arange(4))
    dataset = user.gateway().getObject("Dataset", int(info.place.container[8:]))
    image = user.gateway().getObject("Image", int(info.key[6:]))
    attached = [a for o in (dataset, image) for a in o.listAnnotations() if a.OMERO_TYPE.__name__ == "FileAnnotationI"]
    files = {a.getFileName(): a for a in attached}
    assert sorted(f"FileAnnotation:{a.getId()}" for a in files.values()) == sorted(written.values())
    tables = [a.getNs() for a in files.values() if a.getFile().getMimetype() == "OMERO.tables"]
    assert sorted(tables) == ["omero_pixclf/objects", "openmicroscopy.org/omero/bulk_annotations"]
    assert b"".join(files["sheet.png"].getFileInChunks()) == b"png"


def test_a_container_without_tables_has_none(sink, info):
    assert sink.load_tables(info.place.container, "nuclei") == {}


def test_the_tables_of_an_orphan_do_not_touch_its_results(session, user, sink):
    image = upload_image(session, reader((1, 1, 20, 30, 1)))
    info = next(OmeroSource(session).images([f"Image:{image}"]))
    write(sink, info, record("20261121T053001-000001"))
    write_container(sink, info, "20261121T053001-000001")
    assert len(rois_of(user, info)) == 3
    assert len(sink.find_records(info, "nuclei")) == 1
    assert sorted(sink.load_tables(info.key, "nuclei")) == ["objects", "summary"]


def test_tables_that_changed_since_they_were_merged_are_not_overwritten(session, user, sink, two):
    container = two[0].place.container
    other = OmeroSink(user.session(), encode=ENCODE)
    for each in (sink, other):
        assert each.load_tables(container, "nuclei") == {}
    store_tables(sink, "20261121T053001-000001", two)
    before = counts(user)
    with pytest.raises(OutputError, match=f"{container}: another run stored tables of nuclei"):
        store_tables(other, "20261121T053002-000002", two[:1])
    assert counts(user) == before
    assert rows_of(other, two[0]) == [i.key for i in two]
    store_tables(other, "20261121T053002-000002", two)
    assert counts(user) == before

"""Plates that OMERO's model allows and that programs stumble over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import omero.model
import pytest

from omero_pixclf.connector.results.tables import BULK_NS, read_table
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import WellContent, create_plate, upload_image
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.e2e.conftest import PASSWORD, Omero
from tests.e2e.test_watch_service import FIELD, PROJECT


@pytest.fixture
def session(omero: Omero) -> Iterator[Session]:
    with connect(Login(omero.host, omero.port, "root"), environ={"OMERO_PASSWORD": PASSWORD}) as opened:
        yield opened


def field(name: str) -> ArrayReader:
    pixels = np.ascontiguousarray(FIELD)
    return ArrayReader(ImageInfo(name, name, pixels.shape, "uint16", ("Nuclei", "Cytoplasm")), pixels)


@pytest.fixture
def plate(session: Session) -> int:
    """Wells A1, one without row and column, and A3; A1 and A3 share an image."""
    made = create_plate(session, "odd plate", [WellContent(0, n, [field(f"field {n}")]) for n in range(3)])
    shared = upload_image(session, field("shared"))
    hql = "select w from Well w join fetch w.wellSamples where w.plate.id = :id order by w.column"
    for number, well in enumerate(session.query_objects(hql, id=made)):
        if number == 1:
            well.row = well.column = None
        else:
            sample = omero.model.WellSampleI()
            sample.image = omero.model.ImageI(shared, False)
            well.addWellSample(sample)
        session.write_once("arranging", lambda sf, w=well: sf.getUpdateService().saveObject(w), group=session.group_id)
    return made


def test_all_images_of_a_plate_get_rows_pictures_and_report(omero: Omero, session: Session, plate: int) -> None:
    target, options = f"Plate:{plate}", ("--project", str(PROJECT), "--min-size", "40", "--json")
    plan = [json.loads(line) for line in omero.command("check", target, *options).stdout.splitlines()]
    assert [line["decision"] for line in plan if "decision" in line] == ["due"] * 4
    told = [json.loads(line) for line in omero.command("run", target, *options).stdout.splitlines()]
    (container,) = [line for line in told if line["event"] == "containeroutcome"]
    assert container["reason"] == "" and {"summary", "objects", "report.html"} <= container["written"].keys()
    hql = "select l.child.id from PlateAnnotationLink l where l.parent.id = :id and l.child.ns = :ns"
    (annotation,) = session.query_ids(hql, id=plate, ns=BULK_NS)
    summary = read_table(session, annotation)
    rows = sorted(zip(summary["Image_Name"].tolist(), summary["Well_Name"].tolist(), strict=True))
    assert rows == [("field 0", "A1"), ("field 1", ""), ("field 2", "A3"), ("shared", "A1"), ("shared", "A3")]
    assert (summary["Count_Nucleus"] > 0).all() and (summary["Well"] > 0).all()
    assert "0 due" not in omero.command("check", target, *options[:-1]).stdout
    omero.command("undo", told[0]["run"], "--yes")
    assert session.query_ids(hql, id=plate, ns=BULK_NS) == []

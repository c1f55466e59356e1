"""What others have is not touched; what may not be written is refused before the work."""

from __future__ import annotations

import pytest

from omero_pixclf.connector.results.ledger import RUN_NS, find_entries
from omero_pixclf.connector.results.rois import read_outlines
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.errors import MissingError, ServerError
from tests.integration.readers import reader
from tests.integration.results import (
    ENCODE,
    counts,
    dots,
    record,
    rois_of,
    write,
    write_container,
)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [("rw----", "not visible"), ("rwr---", "read-only"), ("rwra--", None), ("rwrw--", None)],
)
def test_what_a_member_may_do_on_a_colleagues_image(endpoint, new_lab, permissions, expected):
    lab = new_lab(endpoint, permissions)
    owner, member = lab.member("owner"), lab.member("member")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    sink = OmeroSink(member.session(), encode=ENCODE)
    refused = sink.explain_refusal(info)
    if expected is not None:
        assert expected in refused
        assert info.key in refused
        with pytest.raises(ServerError), sink.begin(info, record("20261121T053001-000001")) as out:
            out.save_rois(dots(1), name="n", color=(0, 0, 0))
        return
    assert refused is None
    ids = write(sink, info, record("20261121T053001-000001"))
    write_container(sink, info, "20261121T053001-000001")
    assert sorted(r.id.val for r in rois_of(owner, info)) == sorted(ids.tolist())
    assert {r.details.owner.id.val for r in rois_of(owner, info)} == {member.ident}


def test_an_administrator_may_not_write_into_a_private_group(endpoint, new_lab):
    lab = new_lab(endpoint, "rw----")
    theirs = lab.member("owner").session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    refused = OmeroSink(lab.root().session(), encode=ENCODE).explain_refusal(info)
    assert refused.startswith(f"{info.key}: root may not annotate objects of {theirs.user_name} in the private")


def test_images_into_a_colleagues_dataset_are_refused_before_the_work(endpoint, new_lab):
    lab = new_lab(endpoint, "rwra--")
    owner, member = lab.member("owner"), lab.member("member")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    sink = OmeroSink(member.session(), encode=ENCODE, new_images=True)
    assert "may not link images into" in sink.explain_refusal(info)


@pytest.mark.parametrize("role", ["member", "root"])
def test_others_results_on_the_same_image_are_never_touched(endpoint, new_lab, role):
    """Also not by an administrator, and not with the same recipe and the same run's id."""
    lab = new_lab(endpoint, "rwra--")
    owner = lab.member("owner")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    their_sink = OmeroSink(theirs, encode=ENCODE)
    write(their_sink, info, record("20261121T053001-000001"))
    write_container(their_sink, info, "20261121T053001-000001")
    before, said = counts(owner), _everything(theirs, info)

    mine = (lab.member("member") if role == "member" else lab.root()).session()
    my_sink = OmeroSink(mine, encode=ENCODE)
    assert my_sink.find_records(info, "nuclei") == []
    for run in ("20261121T053001-000001", "20261121T053002-000002"):
        write(my_sink, info, record(run))
        write_container(my_sink, info, run)
    undo(mine, "20261121T053002-000002")
    with pytest.raises(MissingError):
        undo(mine, "20261121T053001-000001")
    assert counts(owner) == before
    assert _everything(theirs, info) == said


def _everything(session, info):
    """All that a user's runs left, with its content."""
    rois = [
        (roi, name, [s.bits.tobytes() for s in o.shapes]) for roi, name, o in read_outlines(session, int(info.key[6:]))
    ]
    tables = {
        k: list(t.rows()) for k, t in OmeroSink(session, encode={}).load_tables(info.place.container, "nuclei").items()
    }
    return rois, tables, find_entries(session)


def test_a_users_own_pairs_under_our_namespace_are_left_alone(session, user, sink, info):
    import omero.gateway

    gateway = user.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(user.group))
    pairs = omero.gateway.MapAnnotationWrapper(gateway)
    pairs.setNs(RUN_NS)
    pairs.setValue([["note", "mine"]])
    pairs.save()
    gateway.getObject("Image", int(info.key[6:])).linkAnnotation(pairs)
    write(sink, info, record("20261121T053001-000001"))
    undo(session, "20261121T053001-000001")
    (left,) = list(user.gateway().getObject("Image", int(info.key[6:])).listAnnotations(ns=RUN_NS))
    assert left.getValue() == [("note", "mine")]

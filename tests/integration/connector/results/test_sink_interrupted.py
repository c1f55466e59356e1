"""Runs that are killed, give way, or lose an answer: nothing is left over, nothing is lost."""

from __future__ import annotations

import pytest

from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.results.ledger import RUN_NS, close_entry, find_entries_on, open_entry
from omero_pixclf.connector.results.rois import find_marked_rois
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.errors import MissingError, OutputError
from tests.integration.results import (
    counts,
    dots,
    killed_run,
    record,
    rois_of,
    start_run,
    write,
)


def test_what_a_killed_run_left_is_cleared_by_the_next(session, user, sink, info):
    with sink.begin(info, record("20261121T053002-000002")) as out:
        out.complete(record("20261121T053002-000002"))
    before = counts(user)
    killed_run(user, info, "20261121T053001-000001")
    assert counts(user) != before
    assert {r.state for r in sink.find_records(info, "nuclei")} == {"running", "complete"}
    with sink.begin(info, record("20261121T053003-000003")) as out:
        assert len(sink.find_records(info, "nuclei")) == 2
        out.complete(record("20261121T053003-000003"))
    assert counts(user) == before


def test_an_interrupted_replacement_shows_and_is_ended_by_the_next_run(session, user, sink, info):
    write(sink, info, record("20261121T053001-000001"))
    before = counts(user)
    entry = open_entry(session, RUN_NS, record("20261121T053002-000002", image=info.key))
    close_entry(session, entry, record("20261121T053002-000002", image=info.key, state="complete"))
    assert [(r.run_id, r.state) for r in sink.find_records(info, "nuclei")] == [
        ("20261121T053002-000002", "complete"),
        ("20261121T053001-000001", "complete"),
    ]
    write(sink, info, record("20261121T053003-000003"))
    assert [r.run_id for r in sink.find_records(info, "nuclei")] == ["20261121T053003-000003"]
    assert counts(user) == before


def test_a_resumed_run_takes_over_its_own_debris(session, user, sink, info):
    before = counts(user)
    killed_run(user, info, "20261121T053001-000001")
    write(sink, info, record("20261121T053001-000001"))
    assert len(rois_of(user, info)) == 3
    undo(session, "20261121T053001-000001")
    assert counts(user) == before


def test_a_run_gives_way_to_another_process_at_work_on_the_image(session, user, sink, info):
    before = counts(user)
    process = start_run(user, info, "20261121T053001-000001")
    try:
        with (
            pytest.raises(OutputError, match=f"{info.key}: run 20261121T053001-000001 .* at this moment"),
            sink.begin(info, record("20261121T053002-000002")),
        ):
            pass
        assert len(rois_of(user, info)) == 4
        assert [r.run_id for r in sink.find_records(info, "nuclei")] == ["20261121T053001-000001"]
    finally:
        process.kill()
        process.communicate()
    write(sink, info, record("20261121T053002-000002"))
    undo(session, "20261121T053002-000002")
    assert counts(user) == before


def test_a_roi_of_a_lost_answer_is_found_before_completing(session, sink, info):
    """What a server carried out after the connection broke is not left over."""
    with sink.begin(info, record("20261121T053001-000001")) as out:
        ids = out.save_rois(dots(2), name="nuclei", color=(0, 0, 0))
        (entry,) = find_entries_on(session, RUN_NS, info.key)
        OmeroSinkGhost(session, info, entry.mark).save()
        assert len(find_marked_rois(session, int(info.key[6:]), entry.mark)) == 3
        out.complete(record("20261121T053001-000001"))
    assert find_marked_rois(session, int(info.key[6:]), entry.mark) == ids.tolist()


class OmeroSinkGhost:
    """A request that arrives late."""

    def __init__(self, session, info, mark):
        self.session, self.info, self.mark = session, info, mark

    def save(self):
        from omero_pixclf.connector.results.rois import save_outlines

        save_outlines(
            self.session,
            dots(1),
            image=int(self.info.key[6:]),
            group=self.session.group_id,
            name="ghost",
            color=(0, 0, 0),
            mark=self.mark,
        )


def test_an_entry_that_another_run_cleared_away_fails_the_image(session, sink, info, user):
    before = counts(user)
    with pytest.raises(MissingError), sink.begin(info, record("20261121T053001-000001")) as out:
        out.save_rois(dots(2), name="nuclei", color=(0, 0, 0))
        (entry,) = find_entries_on(session, RUN_NS, info.key)
        session.write("x", lambda sf: _delete(sf, entry.annotation), group=session.group_id)
        out.complete(record("20261121T053001-000001"))
    assert counts(user) == before


def _delete(factory, annotation):
    from omero_pixclf.connector.results.delete import _submit_delete

    _submit_delete(factory, "MapAnnotation", [annotation])


def test_rois_of_an_image_that_was_removed_meanwhile_are_not_left(session, sink, info, user):
    with pytest.raises(MissingError, match=info.key), sink.begin(info, record("20261121T053001-000001")) as out:
        delete_objects(session, "Image", [int(info.key[6:])], group=session.group_id)
        out.save_rois(dots(2), name="nuclei", color=(0, 0, 0))
        out.complete(record("20261121T053001-000001"))
    assert counts(user)["Roi"] == 0

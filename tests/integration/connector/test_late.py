"""A server that carries out a dead client's request late: whenever that is, nothing of it is left over."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import omero
import pytest

from omero_pixclf.connector.results import rois
from omero_pixclf.connector.results.rois import save_outlines
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.errors import PixclfError, ServerError
from omero_pixclf.runs.protocols import ResultImage
from tests.integration.readers import reader
from tests.integration.recorded import recording
from tests.integration.results import ENCODE, counts, dots, record, summary

CHANGES = ("save", "newTable", "initialize", "addData", "submit", "setPlane", "write")
FIRST, SECOND, THIRD = (f"20261121T05300{n}-00000{n}" for n in (1, 2, 3))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    with recording(tmp_path_factory.mktemp("recorded") / "data") as made:
        yield made


@pytest.fixture
def made(recorded, new_lab, monkeypatch):
    """A user, their session, and an image in a dataset; ROIs are saved in small batches."""
    monkeypatch.setattr(rois, "BATCH", 4)
    person = new_lab(recorded.endpoint).member()
    session = person.session()
    dataset = create_container(session, "Dataset", "data")
    image = upload_image(session, reader((1, 1, 32, 32, 1), name="a.tif"), dataset=dataset)
    return person, session, next(OmeroSource(session).images([f"Image:{image}"]))


def write_image(out, said):
    out.save_rois(dots(6), name="nuclei", color=(255, 0, 0))
    maps = np.zeros((1, 1, 4, 5, 2), np.float32)
    out.save_image(ResultImage("probabilities", maps, channels=["a", "b"], form="attachment-h5"))
    out.save_image(ResultImage("probabilities", maps, channels=["a", "b"], form="image"))


def whole_run(session, info, run_id, *, begun=lambda: None, completed=lambda: None):
    sink, said = OmeroSink(session, encode=ENCODE), record(run_id)
    finished = replace(said, finished=said.started)
    with sink.begin(info, said) as out:
        begun()
        write_image(out, said)
        out.complete(finished)
    completed()
    sink.finish(info.place.container, finished, {"summary": summary(info), "objects": summary(info)}, [])


class Dying:
    """A client that dies while the server has its n-th request for a change, which is carried out when released."""

    def __init__(self, session, info, run_id, number):
        self.key, self.number, self.seen = session.key, number, 0
        self.has_died, self.may_go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(session, info, run_id))

    def _run(self, session, info, run_id):
        try:
            whole_run(session, info, run_id)
        except PixclfError:
            return

    def before(self, seen, arguments):
        if seen.session != self.key:
            return
        if self.has_died.is_set():
            raise omero.ApiUsageException(None, None, "the dead do not ask")
        if seen.operation.startswith(CHANGES):
            self.seen += 1
            if self.seen == self.number:
                self.has_died.set()
                assert self.may_go_on.wait(120)

    def die(self):
        """Run until then; False where the run had fewer requests and is complete."""
        self.thread.start()
        while self.thread.is_alive() and not self.has_died.wait(0.01):
            pass
        return self.has_died.is_set()

    def let_the_server_go_on(self):
        self.may_go_on.set()
        self.thread.join()


@pytest.mark.parametrize("late", ["while the next run works", "before the container is finished", "after the end"])
def test_a_dead_clients_request_leaves_nothing_whichever_it_was_and_whenever_it_is_carried_out(recorded, made, late):
    person, session, info = made
    clean = counts(person)
    whole_run(session, info, FIRST)
    expected = counts(person)
    number, died = 0, True
    while died:
        number += 1
        dying = Dying(person.session(waits=()), info, SECOND, number)
        again = SECOND if number % 2 else THIRD
        with recorded.watched_by(dying.before):
            died = dying.die()
            release = dying.let_the_server_go_on
            if late == "while the next run works":
                whole_run(session, info, again, begun=release)
            elif late == "before the container is finished":
                whole_run(session, info, again, completed=release)
            else:
                whole_run(session, info, again)
                release()
                whole_run(session, info, again)
        assert counts(person) == expected, f"request {number} of the dead client"
    assert number > 15
    undo(session, again)
    assert counts(person) == clean


def test_late_rois_of_a_removed_entry_are_refused(made):
    _, session, info = made
    image, lost = int(info.key[6:]), 10**6
    with pytest.raises(ServerError):
        save(session, image, "m", entry=lost)
    assert session.query_ids("select r.id from Roi r where r.image.id = :id", id=image) == []


def save(session, image, mark, **more):
    facts = {"image": image, "group": session.group_id, "name": "n", "color": (0, 0, 0), "mark": mark}
    return save_outlines(session, dots(2), **facts, **more)


def test_what_has_lost_its_entry_is_removed_by_the_next_run_and_by_undo(made):
    """As versions before this one could leave it: ROIs that no entry speaks of."""
    person, session, info = made
    clean = counts(person)
    whole_run(session, info, FIRST)
    expected = counts(person)
    mark = f"omero_pixclf/run {SECOND} #{10**6}"
    save(session, int(info.key[6:]), mark)
    whole_run(session, info, THIRD)
    assert counts(person) == expected
    save(session, int(info.key[6:]), mark)
    assert undo(session, SECOND).removed == {"Roi": 2}
    undo(session, THIRD)
    assert counts(person) == clean


def test_texts_that_only_look_like_marks_are_left_alone(made):
    person, session, info = made
    whole_run(session, info, FIRST)
    expected = counts(person)
    for text in (
        "omero_pixclf/run",
        "omero_pixclf/run of Ada #5",
        "omero_pixclf/run a #5",
        f"omeroXpixclf/run {SECOND} #5",
    ):
        kept = save(session, int(info.key[6:]), text)
        whole_run(session, info, FIRST)
        undo(session, FIRST)
        whole_run(session, info, FIRST)
        found = session.query_ids("select r.id from Roi r where r.description = :text order by r.id", text=text)
        assert found == kept.tolist()
        from omero_pixclf.connector.results.delete import delete_objects

        delete_objects(session, "Roi", found, group=session.group_id)
        assert counts(person) == expected

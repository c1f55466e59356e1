"""Connections that break, servers that go away and sessions that end, in the middle of the work."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.rois import read_outlines
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.errors import UnreachableError
from omero_pixclf.image import Region
from omero_pixclf.runs.protocols import ResultImage
from tests.integration.conftest import ROOT_PASSWORD, Endpoint
from tests.integration.readers import reader
from tests.integration.results import ENCODE, counts, dots, record, summary

WAITS = (0.3,) * 60


@pytest.fixture
def person(own_server, new_lab):
    """A user of a server that may be killed."""
    return new_lab(Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD)).member()


@pytest.fixture
def made(person):
    """A session that waits for its server, and an image in a dataset."""
    session = person.session(waits=WAITS)
    dataset = create_container(session, "Dataset", "data")
    image = upload_image(session, reader((4, 4, 128, 128, 1), name="a.tif"), dataset=dataset)
    return session, next(OmeroSource(session).images([f"Image:{image}"]))


def killing(server, delay):
    """Kill the server after a while and start it again, in a thread."""

    def run():
        time.sleep(delay)
        server.kill()
        time.sleep(0.2)
        server.start()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def whole_run(session, info, run_id, objects):
    sink = OmeroSink(session, encode=ENCODE)
    said = record(run_id)
    maps = np.random.default_rng(0).random((1, 1, 64, 64, 2)).astype(np.float32)
    with sink.begin(info, said) as out:
        ids = out.save_rois(dots(objects), name="nuclei", color=(255, 0, 0))
        out.save_image(ResultImage("probabilities", maps, channels=["a", "b"], form="attachment-h5"))
        out.save_image(ResultImage("probabilities", maps, channels=["a", "b"], form="image"))
        out.complete(replace(said, finished=said.started))
    finished = replace(said, finished=said.started)
    sink.finish(info.place.container, finished, {"summary": summary(info), "objects": summary(info)}, [])
    return ids


def test_pixels_are_read_across_a_restart_of_the_server(own_server, made):
    session, info = made
    with OmeroSource(session).open(info) as opened:
        first = opened.read(Region.whole(info.shape))
        own_server.kill()
        threading.Timer(0.5, own_server.start).start()
        again = opened.read(Region.whole(info.shape))
    assert_array_equal(again, first)
    assert session.generation >= 1


def test_a_session_that_was_ended_is_opened_again(person, made):
    import omero.model
    from omero.rtypes import rstring

    session, info = made
    other = person.gateway()
    ended = omero.model.SessionI()
    ended.uuid = rstring(session.key)
    while other.c.sf.getSessionService().closeSession(ended) > 0:
        pass
    assert session.query_rows("select i.name from Image i where i.id = :id", id=int(info.key[6:])) == [["a.tif"]]
    assert session.generation == 1


def test_a_server_that_does_not_come_back_is_given_up(own_server, person):
    session = person.session(waits=(0.1, 0.1))
    own_server.kill()
    with pytest.raises(UnreachableError):
        session.query_rows("select i.name from Image i")
    own_server.start()


def test_a_run_ends_the_same_however_the_server_is_killed(own_server, person, made):
    session, info = made
    whole_run(session, info, "20261121T053000-000000", 1500)
    expected = counts(person)
    undo(session, "20261121T053000-000000")
    clean = counts(person)
    start = time.monotonic()
    whole_run(session, info, "20261121T053001-000001", 1500)
    took = time.monotonic() - start
    undo(session, "20261121T053001-000001")
    chance = random.Random(1)
    for attempt in range(4):
        run_id = f"20261121T053002-{attempt:06d}"
        killer = killing(own_server, chance.uniform(0, took))
        ids = whole_run(session, info, run_id, 1500)
        killer.join()
        assert counts(person) == expected
        at = {roi: (o.shapes[0].x, o.shapes[0].y) for roi, _, o in read_outlines(session, int(info.key[6:]))}
        assert [at[i] for i in ids.tolist()] == [(i, i) for i in range(1500)]
        undo(session, run_id)
        assert counts(person) == clean


_RUN = """
import sys
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.errors import OutputError
from tests.integration.connector.test_faults import whole_run

host, port, name, image, run = sys.argv[1:]
with connect(Login(host, port=int(port), user=name)) as session:
    info = next(OmeroSource(session).images([image]))
    print("begun", flush=True)
    sys.stdin.readline()
    try:
        whole_run(session, info, run, 700)
        print("done", flush=True)
    except OutputError as error:
        print(error, flush=True)
"""


def start_run(person, info, run_id):
    """A whole run in a process of its own, which waits for a line to begin."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, person.endpoint.host, str(person.endpoint.port), person.name, info.key, run_id],
        env={**os.environ, "OMERO_PASSWORD": person.password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    return process


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def shared_made(user):
    """As `made`, on the server that most tests share."""
    session = user.session()
    dataset = create_container(session, "Dataset", "data")
    image = upload_image(session, reader((1, 1, 32, 32, 1), name="a.tif"), dataset=dataset)
    return session, next(OmeroSource(session).images([f"Image:{image}"]))


def test_a_run_killed_at_any_moment_is_resumed_without_leftovers(user, shared_made):
    session, info = shared_made
    clean = counts(user)
    start = time.monotonic()
    whole_run(session, info, "20261121T053000-000000", 700)
    took = time.monotonic() - start
    expected = counts(user)
    undo(session, "20261121T053000-000000")
    chance = random.Random(2)
    for attempt in range(5):
        process = start_run(user, info, f"20261121T053000-{attempt + 1:06d}")
        begin(process)
        time.sleep(chance.uniform(0, took))
        process.kill()
        process.communicate()
        whole_run(session, info, f"20261121T053000-{attempt + 1:06d}", 700)
        assert counts(user) == expected
    undo(session, "20261121T053000-000005")
    assert counts(user) == clean


def test_two_runs_at_once_leave_the_results_of_one(user, shared_made):
    session, info = shared_made
    whole_run(session, info, "20261121T053000-000000", 700)
    expected = counts(user)
    for attempt in range(3):
        both = [start_run(user, info, f"20261121T053000-{attempt:05d}{side}") for side in "ab"]
        for process in both:
            begin(process)
        said = [process.communicate()[0].strip() for process in both]
        assert "done" in said
        assert all(s == "done" or "at this moment" in s or "merged again" in s for s in said)
        assert counts(user) == expected

"""Questions, requests made of others, and the handles by which clients follow them."""

from __future__ import annotations

import threading
import time

import omero.clients
import omero.cmd
import pytest
from Ice import ObjectNotExistException
from omero.rtypes import rlong, unwrap

from tests.integration.commands import Client, of


# ---- questions -----------------------------------------------------------------------------------------------
def test_parents_and_children_are_found_over_several_levels(client):
    project, dataset, image = client.named("Project"), client.named("Dataset"), client.named("Image")
    client.link("ProjectDatasetLink", project, dataset)
    client.link("DatasetImageLink", dataset, image)
    roi = client.roi(image)
    up = client.run(omero.cmd.FindParents(targetObjects={"Roi": [roi]}, typesOfParents=["Project", "Image"]))
    assert of(up, "parents") == {"Project": 1, "Image": 1}
    down = client.run(omero.cmd.FindChildren(targetObjects={"Project": [project]}, typesOfChildren=["Shape"]))
    assert of(down, "children") == {"Point": 1}
    stopped = omero.cmd.FindChildren(
        targetObjects={"Project": [project]}, typesOfChildren=["Roi"], stopBefore=["Image"]
    )
    assert of(client.run(stopped), "children") == {}


def test_several_requests_are_undone_together(client):
    images = [client.named("Image") for _ in range(2)]
    parts = [omero.cmd.Delete2(targetObjects={"Image": [i]}) for i in (*images, 10**9)]
    answer = client.run(omero.cmd.DoAll(parts, None))
    assert isinstance(answer, omero.cmd.GraphException)
    assert all(client.there("Image", i) for i in images)


def test_a_skipped_head_stays_with_its_dataset(client):
    project, dataset, image = client.named("Project"), client.named("Dataset"), client.named("Image")
    client.link("ProjectDatasetLink", project, dataset)
    client.link("DatasetImageLink", dataset, image)
    request = omero.cmd.SkipHead(
        targetObjects={"Project": [project]}, startFrom=["Image"], request=omero.cmd.Delete2(dryRun=False)
    )
    assert of(client.run(request)) == {"Image": 1, "DatasetImageLink": 1}
    assert client.there("Dataset", dataset)


def test_a_copy_below_a_skipped_head_is_loose(client):
    project, dataset = client.named("Project"), client.named("Dataset")
    client.link("ProjectDatasetLink", project, dataset)
    request = omero.cmd.SkipHead(
        targetObjects={"Project": [project]}, startFrom=["Dataset"], request=omero.cmd.Duplicate()
    )
    answer = client.run(request)
    assert isinstance(answer, omero.cmd.DuplicateResponse)
    (copied,) = answer.duplicates["ome.model.containers.Dataset"]
    assert list(answer.duplicates) == ["ome.model.containers.Dataset"]
    links = client.query.findAllByQuery(f"from ProjectDatasetLink l where l.child.id = {copied}", None)
    assert links == [] and client.there("Project", project)


def test_a_request_of_an_unknown_kind_answers_an_err(client):
    answer = client.run(omero.cmd.SendEmailRequest(subject="a", body="b"))
    assert isinstance(answer, omero.cmd.Unknown)


# ---- handles -------------------------------------------------------------------------------------------------
def test_a_waiting_client_is_called_back(user):
    client = user.client()
    image = Client(user, client.getSession()).named("Image")
    began = time.monotonic()
    callback = client.submit(omero.cmd.Delete2(targetObjects={"Image": [image]}), loops=2, ms=60_000)
    assert isinstance(callback.getResponse(), omero.cmd.Delete2Response)
    assert time.monotonic() - began < 30  # the callback came before the first wait was over
    callback.close(True)


def test_a_long_request_does_not_hold_up_its_client(client):
    handle = client.sf.submit(omero.cmd.Timing(5, 200))
    assert handle.getResponse() is None
    assert client.named("Image") > 0
    deadline = time.monotonic() + 10
    while handle.getResponse() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert isinstance(handle.getResponse(), omero.cmd.OK)
    handle.close()
    with pytest.raises(ObjectNotExistException):
        handle.getResponse()


def test_a_running_request_can_be_cancelled(client):
    handle = client.sf.submit(omero.cmd.Timing(6000, 10))  # a minute
    began = time.monotonic()
    assert handle.cancel() is True
    assert time.monotonic() - began < 30
    assert handle.getResponse().name in ("not-ready", "cancel-called")
    assert omero.cmd.State.CANCELLED in handle.getStatus().flags
    assert handle.cancel() is False
    handle.close()


def test_requests_of_many_clients_at_once_are_all_carried_out(user):
    clients = [Client(user, user.client().getSession()) for _ in range(4)]
    left: list[int] = []

    def work(one: Client) -> None:
        for _ in range(5):
            image = one.named("Image")
            one.roi(image)
            assert of(one.delete(Image=[image])) == {"Image": 1, "Roi": 1, "Point": 1}
        left.append(unwrap(one.query.projection("select count(r.id) from Roi r", None)[0][0]))

    threads = [threading.Thread(target=work, args=(one,)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(left) == 4
    assert min(left) == 0


def test_session_timeouts_can_be_shortened_but_not_lengthened_by_their_user(client):
    uuid = client.sf.getAdminService().getEventContext().sessionUuid
    shorter = omero.cmd.UpdateSessionTimeoutRequest(session=uuid, timeToIdle=rlong(1000_000_000))
    assert client.run(shorter).name == "non-admin-increase"
    assert isinstance(
        client.run(omero.cmd.UpdateSessionTimeoutRequest(session=uuid, timeToIdle=rlong(500_000))), omero.cmd.OK
    )
    assert client.sf.getSessionService().getSession(uuid).timeToIdle.val == 500_000

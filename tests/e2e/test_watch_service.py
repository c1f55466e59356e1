"""The watcher as a facility runs it: a settings file, a process, images that arrive, and what then stands in OMERO."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omero_pixclf.config import ClassifierSettings, ObjectSettings, Recipe
from omero_pixclf.connector.files import attach_file
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.connector.watching import WATCH_NS, queue_request
from omero_pixclf.demo.images import plate_field
from omero_pixclf.demo.readback import image_results
from omero_pixclf.embedded.storage.data_paths import pixels_path
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.e2e.conftest import PASSWORD, PROGRAM, Omero
from tests.integration.postgres import MISSING, PROGRAMS, postgres

PROJECT = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo" / "plate.ilp"
FIELD = plate_field("A2", 3).pixels[:, :, :160, :160]


@pytest.fixture(scope="module")
def session(omero: Omero) -> Iterator[Session]:
    with connect(Login(omero.host, omero.port, "root"), environ={"OMERO_PASSWORD": PASSWORD}) as opened:
        yield opened


def put(session: Session, dataset: int, name: str, pixels: np.ndarray = FIELD) -> int:
    channels = ("Nuclei", "Cytoplasm")[: pixels.shape[4]]
    info = ImageInfo(name, name, pixels.shape, "uint16", channels)
    return int(upload_image(session, ArrayReader(info, np.ascontiguousarray(pixels)), dataset=dataset))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Writes a watcher's settings with quick times; ``settings("[[watches]]…", settle=1)``."""

    def write(text: str = "", **service: object) -> Path:
        here = {"state": f"sqlite:///{tmp_path}/state/watch.sqlite", "runs": f"{tmp_path}/runs"}
        given = {"every": 1, "settle": 0, "grace": 20, "opt_in": False, "requests": False, **here, **service}
        lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
        recipe = f'[classifier]\nproject = "{PROJECT}"\n[objects]\nmin_size = 40\n'
        (tmp_path / "nuclei.toml").write_text(recipe)
        head = f'[service]\n{chr(10).join(lines)}\n[status]\nenabled = false\n[recipes]\nnuclei = "nuclei.toml"\n'
        path = tmp_path / "watch.toml"
        path.write_text(head + text)
        return path

    return write


def watched(*targets: str) -> str:
    return f'[[watches]]\nname = "tests"\ntargets = {json.dumps(targets)}\nrecipe = "nuclei"\n'


@contextmanager
def running(omero: Omero, config: Path, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A watcher that runs; it must be ended by the test."""
    log = (config.parent / "watch.log").open("a")
    command = [str(PROGRAM), "watch", str(config), *options]
    process = subprocess.Popen(command, env={**omero.environment, **variables}, stderr=log, text=True)
    try:
        yield process
    finally:
        log.close()
        if process.poll() is None:
            process.kill()
        process.wait(10)


def until(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


def complete(client: Any, image: int) -> bool:
    return image_results(client, image).run.get("State") == "complete"


def ledger_entries(session: Session, image: int) -> int:
    hql = "select count(l) from ImageAnnotationLink l where l.parent.id = :i and l.child.ns = 'omero_pixclf/run'"
    return int(session.query_rows(hql, i=image)[0][0])


def test_one_pass_does_what_is_due_and_a_second_one_nothing(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "watched by id")
    images = [put(session, dataset, name) for name in ("one", "two")]
    config = str(settings(watched(f"Dataset:{dataset}")))
    first = omero.command("watch", config, "--once")
    assert "2 images done, 0 failed" in first.stdout
    results = [image_results(second_client, image) for image in images]
    assert all(r.run["State"] == "complete" and r.rois["Nucleus"] > 3 for r in results)
    again = omero.command("watch", config, "--once")
    assert "0 images done, 0 failed" in again.stdout
    third = put(session, dataset, "three")
    container, end = map(json.loads, omero.command("watch", config, "--once", "--json").stdout.splitlines())
    assert (container["container"], container["due"], container["standing"]) == (f"Dataset:{dataset}", 1, 2)
    assert (end["done"], end["failed"], end["problems"], end["error"]) == (1, 0, [], "")
    assert complete(second_client, third)


def test_an_image_waits_until_its_import_has_settled(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "settling")
    image = put(session, dataset, "one")
    config = settings(watched(f"Dataset:{dataset}"), settle=4)
    with running(omero, config):
        time.sleep(3)
        assert not complete(second_client, image)
        until(lambda: complete(second_client, image))


def test_the_service_finds_containers_by_name_and_stops_on_a_signal(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    text = '[[watches]]\nname = "p"\nkind = "Dataset"\npattern = "screen ? *_DAPI"\nrecipe = "nuclei"\n'
    config = settings(text)
    with running(omero, config) as process:
        fits = create_container(session, "Dataset", "screen 7 left_DAPI")
        other = create_container(session, "Dataset", "screen 7 left_GFP")
        image, left_alone = put(session, fits, "one"), put(session, other, "two")
        until(lambda: complete(second_client, image))
        told = json.loads(omero.command("watch", str(config), "--check", "--json").stdout)
        assert told["healthy"] and told["pid"] == process.pid
        assert omero.command("watch", str(config), "--check").stdout.startswith(f"healthy: process {process.pid} on ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert ledger_entries(session, left_alone) == 0
    lines = [json.loads(line) for line in (config.parent / "watch.log").read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert PASSWORD not in (config.parent / "watch.log").read_text()
    assert "no watcher is running" in omero.command("watch", str(config), "--check", code=1).stderr


def test_images_completed_just_before_a_kill_get_their_rows(
    omero: Omero, session: Session, settings: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = create_container(session, "Dataset", "cut off")
    images = [put(session, dataset, name) for name in ("one", "two")]
    config = str(settings(watched(f"Dataset:{dataset}")))
    omero.command("watch", config, "--once")
    hql = "select l.child.id from DatasetAnnotationLink l where l.parent.id = :d"
    delete_objects(
        session, "Annotation", session.query_ids(hql, d=dataset), group=session.group_id
    )  # as before it had any tables
    (manifest,) = (tmp_path / "runs").glob("*/manifest.sqlite")
    change(manifest, "update image set state = 'running'", "delete from finished")
    change(tmp_path / "state" / "watch.sqlite", "update run set state = 'running', done = 0")
    assert "0 images done, 0 failed" in omero.command("watch", config, "--once").stdout
    assert rows_of(session, dataset) == 2 and [ledger_entries(session, i) for i in images] == [1, 1]


def change(database: Path, *statements: str) -> None:
    """Change a database as a process that ended at some moment would have left it."""
    with closing(sqlite3.connect(database)) as db, db:
        for statement in statements:
            db.execute(statement)


def test_systemd_is_told_when_it_is_ready_that_it_is_well_and_that_it_stops(
    omero: Omero, settings: Callable[..., Path], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        heard = []
        with running(omero, settings(), NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            while not any("WATCHDOG=1" in text for text in heard) or "READY=1" not in heard:
                heard.append(systemd.recv(4096).decode())
            process.send_signal(signal.SIGTERM)
            while heard[-1] != "STOPPING=1":
                heard.append(systemd.recv(4096).decode())
            assert process.wait(20) == 0
    assert any("STATUS=" in text for text in heard)


def test_a_stop_within_the_grace_leaves_no_half_written_image(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "stopped")
    large = np.tile(FIELD, (1, 1, 12, 12, 1))
    image = put(session, dataset, "large", large)
    config = settings(watched(f"Dataset:{dataset}"))
    with running(omero, config, "--grace", "1") as process:
        until(lambda: ledger_entries(session, image) == 1)
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        process.wait(30)
        assert time.monotonic() - begin < 25
    with running(omero, config):
        until(lambda: complete(second_client, image), seconds=300)
    results = image_results(second_client, image)
    assert ledger_entries(session, image) == 1
    assert results.rois["Nucleus"] == int(results.run["Objects: Nucleus"])


def test_a_session_that_ends_under_the_watcher_is_replaced_by_a_new_one(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "session ends")
    first = put(session, dataset, "one")
    with running(omero, settings(watched(f"Dataset:{dataset}"))) as process:
        until(lambda: complete(second_client, first))
        service = session.client.sf.getSessionService()
        kept = {session.key, second_client.c.getSessionId()}
        ended = [one for one in service.getMyOpenSessions() if one.uuid.val not in kept]
        for one in ended:
            while service.closeSession(one) > 0:
                pass
        assert ended
        second = put(session, dataset, "two")
        until(lambda: complete(second_client, second))
        assert process.poll() is None


def annotate(session: Session, kind: str, ident: int, namespace: str, **pairs: str) -> int:
    """Key-values as a person puts them on a container."""
    import omero.model
    from omero.rtypes import rstring

    annotation = omero.model.MapAnnotationI()
    annotation.ns = rstring(namespace)
    annotation.setMapValue([omero.model.NamedValue(k.replace("__", "."), v) for k, v in pairs.items()])
    link = getattr(omero.model, f"{kind}AnnotationLinkI")()
    link.parent, link.child = getattr(omero.model, f"{kind}I")(ident, False), annotation
    return int(session.client.sf.getUpdateService().saveAndReturnObject(link).child.id.val)


def test_a_dataset_is_opted_in_by_an_annotation_and_its_attached_project(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "opted in")
    image = put(session, dataset, "one")
    attach_file(session, f"Dataset:{dataset}", PROJECT)
    annotate(session, "Dataset", dataset, WATCH_NS, Project="plate.ilp", objects__min_size="40")
    named = create_container(session, "Dataset", "opted in by a recipe's name")
    second = put(session, named, "two")
    annotate(session, "Dataset", named, WATCH_NS, Recipe="nuclei")
    spying = create_container(session, "Dataset", "wants files of the host")
    annotate(session, "Dataset", spying, WATCH_NS, Project="/etc/passwd")
    done = omero.command("watch", str(settings(opt_in=True)), "--once", code=1)
    results = image_results(second_client, image)
    assert results.run["Recipe"] == "plate" and results.run["Param_objects.min_size"] == "40"
    assert image_results(second_client, second).run["Param_objects.min_size"] == "40"
    assert f"Dataset:{spying}" in done.stderr and "is a path" in done.stderr


def answer(session: Session, annotation: int) -> dict[str, str]:
    hql = "select v.name, v.value from MapAnnotation a join a.mapValue v where a.id = :a"
    return dict(session.query_rows(hql, a=annotation))


def test_a_request_is_served_once_and_answered(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "requested")
    good, bad = put(session, dataset, "good"), put(session, dataset, "one channel", FIELD[..., :1])
    number = attach_file(session, f"Dataset:{dataset}", PROJECT)
    recipe = Recipe(
        name="asked",
        classifier=ClassifierSettings(project=f"FileAnnotation:{number}"),
        objects=ObjectSettings(min_size=40, label="Nucleus"),
    )
    request = queue_request(session, f"Dataset:{dataset}", recipe).annotation
    assert answer(session, request)["State"] == "queued"
    config = str(settings(requests=True))
    omero.command("watch", config, "--once", code=1)
    told = answer(session, request)
    assert told["State"] == "done" and "1 of 2 images" in told["Message"] and "trained on 2 channels" in told["Message"]
    assert told["Requested by"] == "root" and complete(second_client, good) and not complete(second_client, bad)
    assert "0 images done, 0 failed" in omero.command("watch", config, "--once").stdout
    other = recipe.model_copy(update={"name": "b", "objects": ObjectSettings(label="X")})
    wrong = queue_request(session, f"Dataset:{dataset}", other).annotation
    omero.command("watch", config, "--once", code=1)
    assert answer(session, wrong)["State"] == "failed" and "'X'" in answer(session, wrong)["Message"]


def test_a_poison_image_is_set_aside_with_its_reason_and_the_others_go_on(
    omero: Omero, session: Session, second_client: Any, settings: Callable[..., Path]
) -> None:
    dataset = create_container(session, "Dataset", "with poison")
    good = put(session, dataset, "good")
    poison = put(session, dataset, "poison")
    pixels = session.query_ids("select p.id from Pixels p where p.image.id = :i", i=poison)[0]
    damaged = pixels_path(Path(omero.environment["HOME"]) / "server", pixels)
    damaged.unlink()
    damaged.mkdir()  # reading it is an error of the server's disk
    config = str(settings(watched(f"Dataset:{dataset}"), backoff=0, attempts=2))
    for _ in range(2):
        omero.command("watch", config, "--once", code=1)
    last = omero.command("watch", config, "--once")
    assert "1 set aside" in last.stdout and "0 failed" in last.stdout
    assert complete(second_client, good) and ledger_entries(session, poison) == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_state(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where two watchers keep what they must both know."""
    if request.param == "sqlite":
        yield {}
        return
    if not (PROGRAMS or os.environ.get("OMERO_PIXCLF_TEST_POSTGRES")):
        pytest.skip(MISSING)
    with postgres() as url:
        yield {"state": url}


def test_two_watchers_and_a_kill_leave_every_image_done_exactly_once(
    omero: Omero,
    session: Session,
    second_client: Any,
    settings: Callable[..., Path],
    shared_state: dict[str, str],
) -> None:
    datasets = [create_container(session, "Dataset", f"shared {n}") for n in range(2)]
    images = [put(session, d, f"{d} {n}") for d in datasets for n in range(6)]
    config = settings(watched(*(f"Dataset:{d}" for d in datasets)), **shared_state)
    with running(omero, config) as one, running(omero, config) as two:
        until(lambda: sum(complete(second_client, i) for i in images) >= 2)
        assert one.poll() is None and two.poll() is None
        one.kill()
        one.wait()  # until it is reaped, its number counts as alive
        until(lambda: all(complete(second_client, i) for i in images), seconds=300)
        time.sleep(3)
        two.send_signal(signal.SIGTERM)
        assert two.wait(30) == 0
    assert [ledger_entries(session, i) for i in images] == [1] * len(images)
    hql = (
        "select count(l) from DatasetAnnotationLink l where l.parent.id = :d "
        "and l.child.ns = 'openmicroscopy.org/omero/bulk_annotations'"
    )
    assert [session.query_rows(hql, d=d)[0][0] for d in datasets] == [1, 1]
    assert [rows_of(session, d) for d in datasets] == [6, 6]


def rows_of(session: Session, dataset: int) -> int:
    """Rows of a dataset's summary table."""
    from omero_pixclf.connector.results.tables import BULK_NS, read_table

    hql = "select l.child.id from DatasetAnnotationLink l where l.parent.id = :d and l.child.ns = :ns"
    (annotation,) = session.query_ids(hql, d=dataset, ns=BULK_NS)
    return len(read_table(session, annotation))

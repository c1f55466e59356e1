"""Importing many images at once: how long it takes, whom it keeps waiting, and how it is stopped."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import omero
import omero.constants.namespaces
import omero.grid
import omero.model
import pytest
from omero.rtypes import rstring

from omero_pixclf.connector.importing import ImportResult, import_file_set
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.embedded.imports import import_handle
from omero_pixclf.embedded.imports.import_saving import IMAGES_PER_TRANSACTION
from omero_pixclf.embedded.series.reading import find_file_set
from omero_pixclf.embedded.server import glacier_router
from omero_pixclf.embedded.server.server import Server, start
from omero_pixclf.embedded.services import managed_repository
from omero_pixclf.errors import UnreachableError
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess

pytestmark = pytest.mark.skipif("OMERO_HOST" in os.environ, reason="looks into the embedded server itself")
PROGRAM = Path(sys.executable).with_name("omero-pixclf")
PASSWORD = "pw"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with start(tmp_path / "omero", password=PASSWORD) as running:
        yield running


def session_of(port: int, password: str = PASSWORD) -> Any:
    return connect(Login("127.0.0.1", port=port, user="root"), environ={"OMERO_PASSWORD": password})


def imported(session: Session, folder: Path, name: str) -> ImportResult:
    path = folder / name
    path.touch()
    return import_file_set(session, find_file_set(path).files)


def many(count: int, name: str = "m") -> str:
    return f"{name}&series={count}&sizeX=8&sizeY=8&sizeC=2&pixelType=uint16.fake"


def wait_for(fulfilled: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def work_of(server: Server) -> Iterator[Callable[[], int]]:
    """Counts work, which is the same on a busy machine: calls in this thread, and steps of the writer's database."""
    counted = [0]

    def count(*_: object) -> None:
        counted[0] += 1

    server.database._writer.set_progress_handler(count, 100)
    sys.setprofile(count)
    try:
        yield lambda: counted[0]
    finally:
        sys.setprofile(None)
        server.database._writer.set_progress_handler(None, 0)


def test_the_work_of_an_import_grows_with_the_number_of_images(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[int] = []
    run = import_handle.ImportHandle._import

    def counted(self: import_handle.ImportHandle) -> Any:
        with work_of(server) as work:
            try:
                return run(self)
            finally:
                spent.append(work())

    monkeypatch.setattr(import_handle.ImportHandle, "_import", counted)
    with session_of(server.port) as session:
        for count in (10, 60, 360):
            assert len(imported(session, tmp_path, many(count, f"n{count}")).images) == count
    assert spent[2] / spent[1] < 10  # six times as many; their square would be 36 times


def test_the_work_to_begin_grows_with_the_number_of_files(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked for by an index: those of a plate in Zarr are ten thousands, and a server keeps all of them."""
    spent: list[int] = []
    begin = managed_repository.start_import

    def counted(*given: Any) -> Any:
        with work_of(server) as work:
            begun = begin(*given)
            spent.append(work())
        return begun

    monkeypatch.setattr(managed_repository, "start_import", counted)
    settings = omero.grid.ImportSettings()
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = rstring("SHA1-160")
    with session_of(server.port) as session:
        for count in (10, 200, 1600):
            fileset = omero.model.FilesetI()
            for number in range(count):
                entry = omero.model.FilesetEntryI()
                entry.clientPath = rstring(f"data/p.zarr/A/{number // 5}/0/{number % 5}/0.0")
                fileset.addFilesetEntry(entry)
            fileset.linkJob(omero.model.UploadJobI())
            session.client.getManagedRepository().importFileset(fileset, settings)
    assert spent[2] / spent[1] < 16  # eight times as many; their square would be 64 times


def test_an_import_writes_some_images_at_a_time(server: Server, tmp_path: Path) -> None:
    """Others see its images come, and their own requests get their turn."""
    seen: list[int] = []
    opened = server.database.writing

    def watched(*given: Any, **named: Any) -> Any:
        with server.database.reading() as tx:
            seen.append(tx.one("SELECT count(*) FROM image")[0])
        return opened(*given, **named)

    server.database.writing = watched
    with session_of(server.port) as session:
        made = imported(session, tmp_path, many(3 * IMAGES_PER_TRANSACTION + 1))
    steps = sorted(set(seen))
    assert len(made.images) == steps[-1] == 3 * IMAGES_PER_TRANSACTION + 1
    assert max(after - before for before, after in itertools.pairwise(steps)) == IMAGES_PER_TRANSACTION


def test_images_of_a_plate_are_no_part_of_it_before_all_are_there(server: Server, tmp_path: Path) -> None:
    with session_of(server.port) as session:
        name = "p&plates=1&plateRows=4&plateCols=6&fields=5&sizeX=8&sizeY=8.fake"
        made = imported(session, tmp_path, name)
        hql = "select count(distinct w.id), count(s.id) from Well w join w.wellSamples s where w.plate.id = :id"
        assert session.query_rows(hql, id=made.plates[0]) == [[24, 120]]
        hql = "select s.image.id from WellSample s where s.well.plate.id = :id order by s.id"
        assert session.query_ids(hql, id=made.plates[0]) == list(made.images)


def test_a_failure_half_way_leaves_no_images(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = import_handle.save_images, []

    def failing(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return save(*given)

    monkeypatch.setattr(import_handle, "save_images", failing)
    with session_of(server.port) as session:
        with pytest.raises(Exception, match="space"):
            imported(session, tmp_path, many(4 * IMAGES_PER_TRANSACTION))
        assert session.query_ids("select i.id from Image i") == []
        assert session.query_ids("select r.id from RenderingDef r") == []
        assert len(session.query_ids("select f.id from Fileset f")) == 1  # with its log, as where the first image fails
        assert session.query_rows("select j.status.value from MetadataImportJob j") == [["Error"]]
    assert len(list((server.folder / "ManagedRepository").rglob("*.fake"))) == 1
    assert not [p for p in (server.folder / "Pixels").rglob("*") if p.is_file()]


def importing(port: int, path: Path, password: str = ROOT_PASSWORD, *more: str) -> subprocess.Popen[bytes]:
    path.touch()
    return subprocess.Popen(
        [str(PROGRAM), "embedded", "import", str(path), "-s", f"root@127.0.0.1:{port}", *more],
        env={**os.environ, "OMERO_PASSWORD": password}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def folders_of_imports(folder: Path) -> list[Path]:
    """What lies in ``USER_ID/YEAR-MONTH/DAY``."""
    return list((folder / "ManagedRepository").glob("*/*/*/*"))


def test_an_import_ends_with_its_client(own_server: EmbeddedProcess, tmp_path: Path) -> None:
    client = importing(own_server.port, tmp_path / many(1500))
    with session_of(own_server.port, ROOT_PASSWORD) as session:

        def images() -> int:
            return len(session.query_ids("select i.id from Image i"))

        wait_for(lambda: images() >= IMAGES_PER_TRANSACTION, 60, "no image came")
        client.kill()
        client.wait()
        wait_for(
            lambda: not images() and not session.query_ids("select f.id from Fileset f"), 30, "it goes on, or left some"
        )
        time.sleep(0.5)
        assert not images()
        assert not list((own_server.folder / "ManagedRepository").rglob("*.fake"))
        assert not folders_of_imports(own_server.folder)
        depths = session.query_rows("select o.path from OriginalFile o where o.mimetype = 'Directory'")
        assert max(str(path).strip("/").count("/") for (path,) in depths) == 1  # month and day, for imports to come


def test_an_import_ends_with_its_client_though_the_session_goes_on(own_server: EmbeddedProcess, tmp_path: Path) -> None:
    """As after `omero login`, whose session many clients join."""
    path = tmp_path / many(1500)
    path.touch()
    code = (
        "import sys; from pathlib import Path; from omero_pixclf.connector.sessions.login import Login\n"
        "from omero_pixclf.connector.sessions.session import connect\n"
        "from omero_pixclf.connector.importing import import_file_set\n"
        "with connect(Login('127.0.0.1', port=int(sys.argv[1]), key=sys.argv[2])) as session:\n"
        "    import_file_set(session, [Path(sys.argv[3])])\n"
    )
    with session_of(own_server.port, ROOT_PASSWORD) as session:
        arguments = [sys.executable, "-c", code, str(own_server.port), session.key, str(path)]
        client = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: bool(session.query_ids("select i.id from Image i")), 60, "no image came")
        client.kill()
        client.wait()
        gone = lambda: not session.query_ids("select f.id from Fileset f")  # noqa: E731
        wait_for(gone, 30, "it goes on")
        assert session.query_ids("select i.id from Image i") == []


def test_an_import_goes_on_alone_where_its_client_wants_that(server: Server, tmp_path: Path) -> None:
    """As `omero import` with auto-close, which leaves after the upload."""
    name = many(200)
    with session_of(server.port) as session:
        client = session.client
        fileset, entry = omero.model.FilesetI(), omero.model.FilesetEntryI()
        entry.clientPath = rstring(f"data/{name}")
        fileset.addFilesetEntry(entry)
        fileset.linkJob(omero.model.UploadJobI())
        settings, alone = omero.grid.ImportSettings(), omero.model.CommentAnnotationI()
        settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
        settings.checksumAlgorithm.value = rstring("SHA1-160")
        alone.ns = rstring(omero.constants.namespaces.NSAUTOCLOSE)
        settings.userSpecifiedAnnotationList = [alone]
        process = client.getManagedRepository().importFileset(fileset, settings)
        store = process.getUploader(0)
        store.write(b"", 0, 0)
        store.close()
        process.verifyUpload([hashlib.sha1(b"").hexdigest()])
    with session_of(server.port) as session:
        counted = "select count(j.id) from MetadataImportJob j where j.status.value = 'Finished'"
        wait_for(lambda: session.query_rows(counted) == [[1]], 60, "it ended with its client")
        assert len(session.query_ids("select i.id from Image i")) == 200


def test_a_server_that_is_told_to_stop_stops_within_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def serve() -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [str(PROGRAM), "embedded", "start", "--folder", str(folder), "--port", "0", "--json"],
            env={**os.environ, "OMERO_PASSWORD": PASSWORD}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return process, json.loads(process.stdout.readline())["port"]

    process, port = serve()
    client = importing(port, tmp_path / many(1500), PASSWORD)
    with session_of(port) as session:
        wait_for(lambda: bool(session.query_ids("select i.id from Image i")), 60, "no image came")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert time.monotonic() - begun < 40
    client.kill()
    client.wait()
    process, port = serve()
    try:
        with session_of(port) as session:  # what the stop left half done is gone
            assert (
                session.query_ids("select i.id from Image i") == session.query_ids("select f.id from Fileset f") == []
            )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_a_login_that_waits_too_long_says_that_the_server_is_busy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glacier_router, "_LONGEST_WAIT_S", 0.2)
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with server.database.writing():
            holds.set()
            done.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    holds.wait(10)
    try:
        with pytest.raises(UnreachableError, match=r"the server is busy.*try again later"), session_of(server.port):
            pass
    finally:
        done.set()
        other.join()
    with session_of(server.port) as session:
        assert session.user_name == "root"

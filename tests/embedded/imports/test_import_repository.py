"""The repository that imports go to: checksums, failed and interrupted imports, and whose files are whose."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import omero
import omero.cmd
import omero.grid
import omero.model
import pytest
from omero.rtypes import rstring

from omero_pixclf.checksums import CHECKSUM_ALGORITHMS, file_checksum
from omero_pixclf.connector.importing import import_file_set
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.embedded.database.sqlite import SCHEMA_VERSION
from omero_pixclf.embedded.series.reading import find_file_set
from omero_pixclf.embedded.server.server import start
from omero_pixclf.errors import InputError
from tests.embedded.imports.import_client import (
    answer,
    begun,
    fake,
    imported,
    left_of,
    prefix_of,
    pyramid,
    upload,
)
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess, Endpoint, Lab, Person
from tests.unit.files.test_references import store, two_files

pytestmark = pytest.mark.skipif("OMERO_HOST" in os.environ, reason="looks into the embedded server's own folder")


@pytest.mark.parametrize("algorithm", CHECKSUM_ALGORITHMS)
def test_every_checksum_is_verified(user: Person, tmp_path: Path, algorithm: str) -> None:
    path = pyramid(tmp_path / "c.ome.tif", np.zeros((1, 8, 8), np.uint8), 1)
    process = begun(user.client(), [path], algorithm)
    upload(process, 0, path.read_bytes())
    assert process.getUploadOffset(0) == path.stat().st_size
    with pytest.raises(omero.ChecksumValidationException) as refused:
        process.verifyUpload(["0" * 40])
    assert refused.value.failingChecksums == {0: file_checksum(path, algorithm)}
    handle = process.verifyUpload([file_checksum(path, algorithm)])  # a second look with the right one goes on
    assert isinstance(answer(handle), omero.grid.ImportResponse)
    process.close()


@pytest.mark.parametrize("end", ["close", "vanish"])
def test_what_was_not_verified_is_taken_back(
    user: Person, session: Session, folder: Path, tmp_path: Path, end: str
) -> None:
    client = omero.client(host=user.endpoint.host, port=user.endpoint.port)
    client.createSession(user.name, user.password)
    process = begun(client, [tmp_path / "b/one.tif", tmp_path / "b/c/two.tif"])
    upload(process, 0, b"something")
    with pytest.raises(omero.ChecksumValidationException):
        process.verifyUpload(["1", "2"])
    hql = "select f.templatePrefix from Fileset f where f.details.owner.id = :o"
    ((prefix,),) = session.query_rows(hql, o=user.ident)
    assert left_of(folder, prefix)
    if end == "close":
        process.close()
    client.closeSession()  # detached sessions are not left: all of it ends
    counts = "select count(o.id) from {} o where o.details.owner.id = :o"
    assert session.query_rows(counts.format("Fileset"), o=user.ident) == [[0]]
    assert session.query_rows(counts.format("Job"), o=user.ident) == [[0]]
    assert not left_of(folder, prefix.rstrip("/"))
    assert session.query_rows(counts.format("OriginalFile"), o=user.ident) == [[2]]  # month and day


def test_what_cannot_be_read_fails_as_an_import(user: Person, session: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 and no more")
    with pytest.raises(InputError, match="import-file-exception"):
        import_file_set(session, [broken])
    unknown = tmp_path / "notes.txt"
    unknown.write_text("no image")
    with pytest.raises(InputError, match="import-unknown-format"):
        import_file_set(session, [unknown])
    assert session.query_ids("select i.id from Image i where i.details.owner.id = :o", o=user.ident) == []
    hql = "select distinct j.status.value from MetadataImportJob j where j.details.owner.id = :o"
    assert session.query_rows(hql, o=user.ident) == [["Error"]]


def test_a_failure_tells_nothing_of_the_servers_folders(
    user: Person, session: Session, folder: Path, tmp_path: Path
) -> None:
    """Files are told by where they lie in their import: in the answer, in its stack trace, job and log."""
    own = store(tmp_path / "up.zarr", "../../x", tmp_path / "written.zarr")
    process = begun(user.client(), [own / ".zgroup", own / ".zattrs"])
    sums = []
    for number, part in enumerate((".zgroup", ".zattrs")):
        data = (own / part).read_bytes()
        upload(process, number, data)
        sums.append(hashlib.sha1(data).hexdigest())
    found = answer(process.verifyUpload(sums))
    assert found.name == "import-file-exception"
    assert found.parameters["message"].startswith("up.zarr: names '../../x', which is outside")
    ((prefix, message),) = session.query_rows(
        "select f.templatePrefix, j.message from Fileset f join f.jobLinks l join l.child j "
        "where f.details.owner.id = :o and j.class = MetadataImportJob",
        o=user.ident,
    )
    log = (folder / "ManagedRepository" / f"{prefix.rstrip('/')}.log").read_text()
    for text in (*found.parameters.values(), message, log):
        assert "up.zarr: names" in text
        assert str(folder) not in text and "ManagedRepository/" not in text


def test_an_import_reads_no_file_of_another_one(
    endpoint: Endpoint, new_lab: Callable[..., Lab], folder: Path, tmp_path: Path
) -> None:
    """A client that does not look itself sends files whose names lead into a colleague's import."""
    lab = new_lab(endpoint, "rw----")
    victim, thief = lab.member(), lab.member()
    secret = store(tmp_path / "v" / "secret.zarr", "0", tmp_path / "v" / "secret.zarr" / "0")
    (tmp_path / "v" / "secret.ome.tif").write_bytes(two_files(tmp_path / "v", "b.ome.tif").read_bytes())
    names = {}
    for path in (secret, tmp_path / "v" / "secret.ome.tif"):
        made = import_file_set(victim.session(), find_file_set(path).files)
        names[path.suffix] = folder / "ManagedRepository" / prefix_of(victim.session(), made) / path.name
    session = thief.session()
    for name in (str(names[".zarr"] / "0"), "../../../../../" + str((names[".zarr"] / "0").relative_to(folder))):
        own = store(tmp_path / str(len(name)) / "own.zarr", name, tmp_path / str(len(name)) / "written.zarr")
        with pytest.raises(InputError, match="is outside"):
            import_file_set(session, [own / ".zgroup", own / ".zattrs"])
    own_tiff = tmp_path / "own.ome.tif"
    text = two_files(tmp_path / "t", "X" * len(str(names[".tif"]))).read_bytes()
    own_tiff.write_bytes(text.replace(b"X" * len(str(names[".tif"])), str(names[".tif"]).encode()))
    with pytest.raises(InputError, match="is outside"):
        import_file_set(session, [own_tiff])
    assert session.query_ids("select i.id from Image i where i.details.owner.id = :o", o=thief.ident) == []


def test_a_killed_server_leaves_whole_imports(own_server: EmbeddedProcess, tmp_path: Path) -> None:
    login = Login("127.0.0.1", port=own_server.port, user="root")
    client = omero.client(host="127.0.0.1", port=own_server.port)
    client.createSession("root", ROOT_PASSWORD)
    path = fake(tmp_path / "k&sizeX=2000&sizeY=2000&sizeZ=20&series=4.fake")
    process = begun(client, [path])
    upload(process, 0, b"")
    process.verifyUpload([hashlib.sha1(b"").hexdigest()])
    time.sleep(0.3)
    own_server.kill()
    client.__del__()
    first, later = (own_server.folder / "Pixels" / name for name in ("1.2", "Dir-002/2001"))
    for stray in (first, later):  # as if it had died between renaming and committing
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.touch()
    own_server.start()
    with connect(login, environ={"OMERO_PASSWORD": ROOT_PASSWORD}) as session:
        images = session.query_ids("select i.id from Image i")
        assert len(images) in (0, 4)
        assert not list((own_server.folder / "tmp").glob("import-*"))
        assert first.exists() == bool(images)
        assert not later.exists()
        made = imported(session, fake(tmp_path / "after&sizeX=8&sizeY=8.fake"))
        assert len(made.images) == 1


def test_an_upload_that_a_kill_cut_off_is_taken_back(own_server: EmbeddedProcess, tmp_path: Path) -> None:
    client = omero.client(host="127.0.0.1", port=own_server.port)
    client.createSession("root", ROOT_PASSWORD)
    upload(begun(client, [tmp_path / "half.tif"]), 0, b"half of it")
    own_server.kill()
    client.__del__()
    assert list((own_server.folder / "ManagedRepository").rglob("half.tif"))
    own_server.start()
    login = Login("127.0.0.1", port=own_server.port, user="root")
    with connect(login, environ={"OMERO_PASSWORD": ROOT_PASSWORD}) as session:
        assert session.query_ids("select f.id from Fileset f") == []
        assert not list((own_server.folder / "ManagedRepository").rglob("half.tif"))


def test_the_repository_shows_what_was_imported(user: Person, session: Session, tmp_path: Path) -> None:
    made = imported(session, fake(tmp_path / "t&sizeX=8&sizeY=8.fake"))
    prefix = prefix_of(session, made)
    repository = user.client().getManagedRepository()
    assert repository.list(prefix) == [f"{prefix}t&sizeX=8&sizeY=8.fake"]
    tree = omero.rtypes.unwrap(repository.treeList(prefix))
    (top,) = tree.values()
    assert list(top["files"]) == ["t&sizeX=8&sizeY=8.fake"]
    files = session.query_ids("select e.originalFile.id from FilesetEntry e where e.fileset.id = :id", id=made.fileset)
    assert repository.verifyChecksums(files) == []
    other = omero.model.ChecksumAlgorithmI()
    other.value = rstring("MD5-128")
    assert repository.setChecksumAlgorithm(other, files) == files
    rows = session.query_rows("select o.hash, o.hasher.value from OriginalFile o where o.id = :id", id=files[0])
    assert rows == [[hashlib.md5(b"").hexdigest(), "MD5-128"]]
    with pytest.raises(omero.ValidationException):
        repository.fileExists("../omero.sqlite")


def test_nobody_writes_into_others_folders(endpoint: Endpoint, new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = new_lab(endpoint, "rwra--")
    owner, other = lab.member(), lab.member()
    made = imported(owner.session(), fake(tmp_path / "o&sizeX=8&sizeY=8.fake"))
    prefix = prefix_of(owner.session(), made)
    repository = other.client().getManagedRepository()
    with pytest.raises(omero.SecurityViolation):
        repository.makeDir(f"{prefix}mine", False)
    with pytest.raises(omero.SecurityViolation):
        repository.file(f"{prefix}o&sizeX=8&sizeY=8.fake", "rw")


def test_a_changed_path_does_not_lead_to_other_files(
    user: Person, session: Session, folder: Path, tmp_path: Path
) -> None:
    """Clients may edit a row's path (renaming does); where the bytes lie is the server's to know."""
    path = pyramid(tmp_path / "own.ome.tif", np.zeros((1, 8, 8), np.uint8), 1)
    made = imported(session, path)
    client = user.client()
    (ident,) = session.query_ids(
        "select e.originalFile.id from FilesetEntry e where e.fileset.id = :id", id=made.fileset
    )
    file = client.sf.getQueryService().get("OriginalFile", ident)
    file.path, file.name = rstring("../"), rstring("omero.sqlite")
    client.sf.getUpdateService().saveObject(file)
    store = client.sf.createRawFileStore()
    store.setFileId(ident)
    assert store.read(0, path.stat().st_size) == path.read_bytes()


def test_folders_of_an_older_version_are_brought_up_to_date(tmp_path: Path) -> None:
    with start(tmp_path / "old", password="pw"):
        pass
    database = sqlite3.connect(tmp_path / "old" / "omero.sqlite")
    database.executescript("DROP TABLE resolution; DROP TABLE managed; PRAGMA user_version = 1;")
    database.close()
    with (
        start(tmp_path / "old") as server,
        connect(Login("127.0.0.1", port=server.port, user="root"), environ={"OMERO_PASSWORD": "pw"}) as session,
    ):
        assert len(imported(session, fake(tmp_path / "n&sizeX=8&sizeY=8&resolutions=2.fake")).images) == 1
    database = sqlite3.connect(tmp_path / "old" / "omero.sqlite")
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    database.close()

"""Importing files into the embedded OMERO by its protocol: what stands afterwards, and what is refused."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.cmd
import omero.grid
import omero.model
import pytest
import tifffile
from numpy.typing import NDArray
from omero.rtypes import rstring
from omero.testlib import AbstractRepoTest

from omero_pixclf.checksums import CHECKSUM_ALGORITHMS, file_checksum
from omero_pixclf.connector.importing import ImportOptions, ImportResult, import_file_set, is_imported, resolve_target
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import create_container
from omero_pixclf.embedded.database.sqlite import SCHEMA_VERSION
from omero_pixclf.embedded.series.reading import find_file_set
from omero_pixclf.embedded.server import servant
from omero_pixclf.embedded.server.server import start
from omero_pixclf.errors import InputError, UsageError
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess, Endpoint, Lab, Person
from tests.unit.files.test_references import store, two_files

pytestmark = pytest.mark.skipif("OMERO_HOST" in os.environ, reason="looks into the embedded server's own folder")
SAME = np.random.default_rng(5)


def pyramid(path: Path, data: NDArray[Any], levels: int = 3) -> Path:
    """An OME-TIFF of (c, y, x) with smaller copies of every plane in SubIFDs."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        facts = {
            "axes": "CYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "Channel": {"Name": ["red", "green"][: len(data)]},
        }
        tiff.write(data, subifds=levels - 1, tile=(32, 32), metadata=facts, photometric="minisblack")
        for level in range(1, levels):
            tiff.write(data[:, :: 2**level, :: 2**level], subfiletype=1, tile=(32, 32))
    return path


def fake(path: Path) -> Path:
    path.touch()
    return path


def imported(session: Session, path: Path, **options: Any) -> ImportResult:
    return import_file_set(session, find_file_set(path).files, ImportOptions(**options))


def begun(client: Any, files: Sequence[Path], algorithm: str = "SHA1-160") -> Any:
    """An import process of a client that speaks the protocol by itself."""
    fileset = omero.model.FilesetI()
    for file in files:
        entry = omero.model.FilesetEntryI()
        entry.clientPath = rstring(str(file).lstrip("/"))
        fileset.addFilesetEntry(entry)
    fileset.linkJob(omero.model.UploadJobI())
    settings = omero.grid.ImportSettings()
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = rstring(algorithm)
    return client.getManagedRepository().importFileset(fileset, settings)


def upload(process: Any, index: int, data: bytes) -> None:
    store = process.getUploader(index)
    store.write(data, 0, len(data))
    store.close()


def answer(handle: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while (found := handle.getResponse()) is None:
        assert time.monotonic() < end, "no answer"
        time.sleep(0.02)
    return found


def prefix_of(session: Session, made: ImportResult) -> str:
    """The folder of an import within the repository, with a slash at its end."""
    ((found,),) = session.query_rows("select f.templatePrefix from Fileset f where f.id = :id", id=made.fileset)
    return str(found)


def left_of(folder: Path, process_folder: str) -> list[Path]:
    root = folder / "ManagedRepository"
    return [p for p in root.rglob("*") if process_folder in str(p)]


# ---- what stands -------------------------------------------------------------------------------------------------
def test_an_independent_client_imports(user: Person) -> None:
    """omero-py's own test library speaks the protocol; two made-up files, of which the first is opened."""
    helper = AbstractRepoTest.__new__(AbstractRepoTest)
    helper.client = user.client()
    found = helper.full_import(helper.client)
    image = helper.client.sf.getQueryService().get("Image", found.pixels[0].image.id.val)
    assert image.name.val in ("a.fake", "b.fake")
    assert found.objects[0].id.val == image.id.val


def test_pyramids_are_served_level_by_level(user: Person, session: Session, tmp_path: Path) -> None:
    data = SAME.integers(0, 60000, (2, 96, 128)).astype(np.uint16)
    made = imported(session, pyramid(tmp_path / "p.ome.tif", data))
    store = user.client().sf.createRawPixelsStore()
    store.setPixelsId(made.pixels[0], False)
    sizes = [(d.sizeX, d.sizeY) for d in store.getResolutionDescriptions()]
    assert sizes == [(128, 96), (64, 48), (32, 24)]
    assert (store.getResolutionLevels(), store.getResolutionLevel(), store.requiresPixelsPyramid()) == (3, 2, False)
    for level, step in ((2, 1), (1, 2), (0, 4)):
        store.setResolutionLevel(level)
        expected = data[1, ::step, ::step]
        assert np.array_equal(np.frombuffer(store.getPlane(0, 1, 0), ">u2").reshape(expected.shape), expected)
        tile = np.frombuffer(store.getTile(0, 0, 0, 3, 2, 10, 5), ">u2").reshape(5, 10)
        assert np.array_equal(tile, data[0, ::step, ::step][2:7, 3:13])
    for wrong in (-1, 3):
        with pytest.raises(omero.ApiUsageException):
            store.setResolutionLevel(wrong)
    store.close()


def test_levels_are_rendered(user: Person, session: Session, tmp_path: Path) -> None:
    data = np.zeros((1, 96, 128), np.uint8)
    data[0, :, 64:] = 200
    made = imported(session, pyramid(tmp_path / "p.ome.tif", data))
    engine = user.client().sf.createRenderingEngine()
    engine.lookupPixels(made.pixels[0])
    assert engine.lookupRenderingDef(made.pixels[0])  # made with the thumbnails
    engine.load()
    engine.setResolutionLevel(0)
    plane = omero.romio.PlaneDef(0, 0, 0, 0, 0, None, 0)
    drawn = np.array(engine.renderAsPackedInt(plane)).reshape(24, 32) & 255
    assert drawn[0, 0] == 0 and drawn[0, 31] == 255
    engine.close()
    picture = user.gateway().getObject("Image", made.images[0]).getThumbnail((32, 24))
    assert picture[:2] == b"\xff\xd8"


def test_rows_agree_with_the_disk(user: Person, session: Session, folder: Path, tmp_path: Path) -> None:
    path = pyramid(tmp_path / "two words.ome.tif", SAME.integers(0, 255, (1, 40, 40)).astype(np.uint8), 1)
    made = imported(session, path)
    hql = (
        "select o.path, o.name, o.size, o.hash, o.hasher.value, o.mimetype, r.name, e.clientPath, f.templatePrefix, "
        "i.series, p.physicalSizeX.value, p.physicalSizeX.unit, l.name, s.globalMax, p.sha1, o.id from Image i join "
        "i.fileset f join f.usedFiles e join e.originalFile o join i.pixels p join p.channels c join "
        "c.logicalChannel l left join c.statsInfo s, OriginalFile r where r.hash = o.repo and i.id = :id"
    )
    (row,) = session.query_rows(hql, id=made.images[0])
    place = folder / "ManagedRepository" / row[0] / row[1]
    data = path.read_bytes()
    assert place.read_bytes() == data
    assert row[0].startswith(f"{user.name}_{user.ident}/") and row[0] == row[8]
    assert row[1:7] == [
        path.name,
        len(data),
        hashlib.sha1(data).hexdigest(),
        "SHA1-160",
        "OMETiff",
        "ManagedRepository",
    ]
    assert "/" + row[7] == str(path.resolve())
    assert row[9:13] == [0, 0.25, "MICROMETER", "red"]
    pixels = tifffile.imread(path)
    assert row[13] == pixels.max()
    assert row[14] == hashlib.sha1(pixels.tobytes()).hexdigest()
    store = user.client().sf.createRawFileStore()
    store.setFileId(row[15])
    assert store.read(0, len(data)) == data
    with pytest.raises(omero.SecurityViolation):
        store.write(b"x", 0, 1)
    exported = tmp_path / "exported.ome.tif"
    exported.write_bytes(b"".join(user.gateway().getObject("Image", made.images[0]).exportOmeTiff(bufsize=1 << 16)[1]))
    assert np.array_equal(tifffile.imread(exported), tifffile.imread(path))
    jobs = session.query_rows(
        "select j.class, j.status.value from FilesetJobLink l join l.child j where l.parent.id = :id order by l.id",
        id=made.fileset,
    )
    kinds = ["UploadJob", "MetadataImportJob", "PixelDataJob", "ThumbnailGenerationJob", "IndexingJob"]
    assert [(kind.rsplit(".", 1)[-1], status) for kind, status in jobs] == [(kind, "Finished") for kind in kinds]


def test_every_image_of_a_file_becomes_one(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "many.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number in range(3):
            tiff.write(np.full((8, 8 + number), number, np.uint8), metadata={"Name": f"scene {number}"})
    made = imported(session, path)
    hql = "select i.name, i.series, p.sizeX from Image i join i.pixels p where i.fileset.id = :id order by i.id"
    rows = session.query_rows(hql, id=made.fileset)
    assert rows == [[f"many.ome.tif [scene {n}]", n, 8 + n] for n in range(3)]


def test_wishes_are_fulfilled(session: Session, tmp_path: Path) -> None:
    dataset = create_container(session, "Dataset", "target")
    made = imported(
        session,
        fake(tmp_path / "w&sizeX=20&sizeY=10&sizeC=2&series=2.fake"),
        target=f"Dataset:{dataset}",
        name="mine",
        description="told",
        statistics=False,
        thumbnails=False,
        comments=(("a/ns", "text"),),
    )
    hql = (
        "select i.name, i.description, p.sha1, count(c.statsInfo) from DatasetImageLink d join d.child i "
        "join i.pixels p left join p.channels c where d.parent.id = :id "
        "group by i.name, i.description, p.sha1 order by i.name"
    )
    assert session.query_rows(hql, id=dataset) == [
        ["mine [w 2]", "told", "Pending...", 0],
        ["mine [w]", "told", "Pending...", 0],
    ]
    links = session.query_rows(
        "select count(l.id), count(distinct a.id) from ImageAnnotationLink l join l.child a where "
        "l.parent.id in (:ids) and a.ns = 'a/ns' and a.textValue = 'text'",
        ids=list(made.images),
    )
    assert links == [[2, 1]]
    assert session.query_ids("select r.id from RenderingDef r where r.pixels.id in (:ids)", ids=list(made.pixels)) == []


def test_made_up_plates_go_into_screens(session: Session, tmp_path: Path) -> None:
    screen = create_container(session, "Screen", "all")
    path = fake(tmp_path / "p&plates=2&plateRows=2&plateCols=3&fields=2&plateAcqs=1&sizeX=8&sizeY=8.fake")
    made = imported(session, path, target=f"Screen:{screen}")
    assert (len(made.plates), len(made.images)) == (2, 24)
    hql = (
        "select p.name, count(distinct w.id), count(s.id), count(distinct s.plateAcquisition.id) from "
        "ScreenPlateLink l join l.child p join p.wells w join w.wellSamples s where l.parent.id = :id "
        "group by p.name order by p.name"
    )
    assert [row[1:] for row in session.query_rows(hql, id=screen)] == [[6, 12, 1]] * 2


def test_the_screens_that_a_file_names_are_made(session: Session, tmp_path: Path) -> None:
    made = imported(session, fake(tmp_path / "p&screens=1&plates=2&sizeX=8&sizeY=8.fake"))
    hql = "select l.parent.id, l.child.id from ScreenPlateLink l where l.child.id in (:ids) order by l.child.id"
    links = session.query_rows(hql, ids=list(made.plates))
    assert len({screen for screen, _ in links}) == 1
    assert [plate for _, plate in links] == sorted(made.plates)


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


# ---- what leaves nothing behind ----------------------------------------------------------------------------------
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


def test_filesets_are_deleted_whole_and_their_files_with_them(
    user: Person, session: Session, folder: Path, tmp_path: Path
) -> None:
    made = imported(session, fake(tmp_path / "d&series=2&sizeX=16&sizeY=16&resolutions=2.fake"))
    gateway = user.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(user.group))
    prefix = prefix_of(session, made)
    pixels = [p for i in made.pixels for p in (folder / "Pixels").rglob(f"{i}*") if p.name.partition(".")[0] == str(i)]
    assert len(pixels) == 4
    with pytest.raises(omero.CmdError) as refused:
        gateway.deleteObjects("Image", list(made.images[:1]), wait=True)
    assert isinstance(refused.value.err, omero.cmd.GraphException)
    assert any(p.is_file() for p in left_of(folder, prefix))
    gateway.deleteObjects("Image", list(made.images), wait=True)
    assert session.query_ids("select f.id from Fileset f where f.id = :id", id=made.fileset) == []
    assert not any(p.is_file() for p in left_of(folder, prefix.rstrip("/")))
    assert not any(p.exists() for p in pixels)


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


# ---- the repository ----------------------------------------------------------------------------------------------
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


# ---- what the importer asks for ----------------------------------------------------------------------------------
def test_targets_are_found_or_made(session: Session) -> None:
    first, second = (create_container(session, "Dataset", "of one name") for _ in range(2))
    assert resolve_target(session, f"Dataset:{first}") == f"Dataset:{first}"
    assert resolve_target(session, "Dataset:name:of one name") == f"Dataset:{second}"
    assert resolve_target(session, "Dataset:-name:of one name") == f"Dataset:{first}"
    assert resolve_target(session, "Dataset:@name:of one name") not in (f"Dataset:{first}", f"Dataset:{second}")
    made = resolve_target(session, "Screen:name:new: with a colon")
    assert resolve_target(session, "Screen:%name:new: with a colon") == made
    for wrong in ("Dataset:%name:of one name", "Project:1", "Dataset:x", "Dataset:regex:(?<C1>.*)", "Dataset:name:"):
        with pytest.raises(UsageError, match="target"):
            resolve_target(session, wrong)


def test_what_was_imported_before_is_known(session: Session, tmp_path: Path) -> None:
    path = fake(tmp_path / "known&sizeX=8&sizeY=8.fake")
    assert not is_imported(session, path, by_path=False)
    imported(session, path)
    elsewhere = tmp_path / "elsewhere" / path.name
    assert is_imported(session, path, by_path=True) and is_imported(session, elsewhere, by_path=False)
    assert not is_imported(session, elsewhere, by_path=True)


def test_names_that_are_too_long_for_the_disk_keep_beginning_and_extension(user: Person, session: Session) -> None:
    """Other systems allow 255 letters, which take up to 765 bytes."""
    long = "日" * 240
    process = begun(user.client(), [Path(f"/data/{long}&sizeX=8&sizeY=8.fake"), Path(f"/data/{long}2.ome.tif")])
    ((first,), (second,)) = session.query_rows(
        "select e.originalFile.name from FilesetEntry e where e.details.owner.id = :o order by e.id", o=user.ident
    )
    process.close()
    assert first.startswith("日日") and first.endswith(".fake") and second.endswith(".ome.tif")
    assert max(len(name.encode()) for name in (first, second)) <= 255


# ---- what a real server wants of each call -----------------------------------------------------------------------
def test_every_call_of_an_import_names_its_session_and_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server refuses calls on its repositories without the session's uuid ("Uuid cannot be null")."""
    calls: list[tuple[str, dict[str, str]]] = []
    run = servant._run

    def recorded(*given: Any) -> Any:
        calls.append((f"{type(given[0]).__name__}.{given[2]}", dict(given[4].ctx)))
        return run(*given)

    monkeypatch.setattr(servant, "_run", recorded)
    path = fake(tmp_path / "c&sizeX=8&sizeY=8.fake")
    with (
        start(tmp_path / "omero", password="pw") as server,
        connect(Login("127.0.0.1", port=server.port, user="root"), environ={"OMERO_PASSWORD": "pw"}) as session,
    ):
        calls.clear()
        target = f"Dataset:{create_container(session, 'Dataset', 'd')}"
        imported(session, path, target=target)
        assert session.key
        without = {name for name, context in calls if context.get("omero.session.uuid") != session.key}
        assert not without
        of_import = [
            (name, context) for name, context in calls
            if name.split(".")[0] in ("ManagedRepository", "ImportProcess", "RawFileStore", "ImportHandle")
        ]  # fmt: skip
        assert len(of_import) > 8
        group = str(session.group_id)
        casts = (".ice_isA", ".ice_ping")
        assert not {n for n, c in of_import if c.get("omero.group") != group and not n.endswith(casts)}

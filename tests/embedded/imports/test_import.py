"""Importing files into the embedded OMERO by its protocol: which images, plates and rows are made of which files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.cmd
import omero.grid
import omero.model
import pytest
import tifffile
from omero.testlib import AbstractRepoTest

from omero_pixclf.connector.importing import is_imported, resolve_target
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import create_container
from omero_pixclf.embedded.server import servant
from omero_pixclf.embedded.server.server import start
from omero_pixclf.errors import UsageError
from tests.embedded.imports.import_client import (
    SAME,
    begun,
    fake,
    imported,
    left_of,
    prefix_of,
    pyramid,
)
from tests.integration.conftest import Person

pytestmark = pytest.mark.skipif("OMERO_HOST" in os.environ, reason="looks into the embedded server's own folder")


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

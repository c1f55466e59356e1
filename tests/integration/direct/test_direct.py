"""Where a server says that pixels lie, and images read from there."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing

import numpy as np
import omero.model
import pytest
import tifffile
from numpy.testing import assert_array_equal
from omero.rtypes import rint, rlong, rstring

from omero_pixclf.connector.pixel_locations import NGFF_ENTITY, OmeroStorage
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.image import Region
from omero_pixclf.pixel_location import StoredFile, legacy_repository_path
from tests.integration.readers import reader
from tests.unit.direct.image_files import in_store, planes_file


@pytest.fixture
def image(session):
    """An image that was uploaded: its facts and its pixels."""
    content = reader((2, 3, 70, 80, 2))
    ident = upload_image(session, content)
    return next(OmeroSource(session).images([f"Image:{ident}"])), content.pixels


def imported(folder, user, info, path, name, *, series=0, size=0):
    """Say of an image that it was imported from a file; in which repository that is stands in the server's database."""
    client = user.client()
    update, query = client.getSession().getUpdateService(), client.getSession().getQueryService()
    repository = next(
        d
        for d in client.getSession().sharedResources().repositories().descriptions
        if d.name.val == "ManagedRepository"
    )
    fileset, entry, file = omero.model.FilesetI(), omero.model.FilesetEntryI(), omero.model.OriginalFileI()
    file.path, file.name, file.size = rstring(path), rstring(name), rlong(size)
    file.mimetype = rstring("image/tiff")
    entry.originalFile, entry.clientPath = file, rstring(name)
    fileset.templatePrefix = rstring("")
    fileset.addFilesetEntry(entry)
    stored = query.get("Image", int(info.key[6:]))
    stored.series = rint(series)
    stored.fileset = fileset
    update.saveObject(stored)
    text = f"select e.originalFile.id from FilesetEntry e join e.fileset.images i where i.id = {info.key[6:]}"
    [[ident]] = query.projection(text, None)
    with closing(sqlite3.connect(folder / "omero.sqlite", timeout=30)) as database, database:
        database.execute("UPDATE originalfile SET repo = ? WHERE id = ?", (repository.hash.val, ident.val))
    return f"{repository.path.val.rstrip('/')}/{repository.name.val}"


def told_of_zarr(user, info, path, entity=NGFF_ENTITY):
    client = user.client()
    stored = client.getSession().getQueryService().get("Image", int(info.key[6:]))
    said = omero.model.ExternalInfoI()
    said.entityType, said.entityId, said.lsid = rstring(entity[0]), rlong(entity[1]), rstring(path)
    stored.details.externalInfo = said
    client.getSession().getUpdateService().saveObject(stored)


def read(session, info, *folders, check="sample"):
    """The image read directly where that can be; and what was told of it."""
    how = DirectSettings(tuple(map(Mount, folders)), check)
    source = DirectSource(OmeroSource(session), OmeroStorage(session).whereabouts, how)
    with source.open(info) as opened:
        return opened.read(Region.whole(info.shape)), source.tally


def test_uploaded_pixels_lie_in_a_file_of_planes(session, image, tmp_path):
    info, pixels = image
    where = OmeroStorage(session).whereabouts(info)
    number, digest = info.fingerprint.removeprefix("Pixels:").split(" sha1:")
    assert (where.kind, where.file) == (
        "planes",
        StoredFile(legacy_repository_path("Pixels", int(number)), sha1=digest),
    )
    planes_file(tmp_path / where.file.path, pixels)
    back, tally = read(session, info, tmp_path)
    assert_array_equal(back, pixels)
    assert tally.direct == 1


def test_a_copy_of_planes_with_one_other_bit_is_known_by_its_checksum(session, image, tmp_path, caplog):
    info, pixels = image
    other = pixels.copy()
    other[1, 1, 1, 1, 1] ^= 1
    planes_file(tmp_path / OmeroStorage(session).whereabouts(info).file.path, other)
    back, tally = read(session, info, tmp_path)
    assert_array_equal(back, pixels)
    assert tally.direct == 0
    assert "its SHA-1 is" in caplog.text


@pytest.mark.parametrize("path", ["lab_2/2026-11/", "/lab_2/2026-11/"])
def test_an_imported_image_lies_in_its_filesets_first_file(folder, session, user, image, tmp_path, path):
    info, pixels = image
    file = tmp_path / "lab_2" / "2026-11" / "a.ome.tif"
    file.parent.mkdir(parents=True)
    with tifffile.TiffWriter(file) as writer:
        for content in (pixels[::-1], pixels):
            writer.write(content.transpose(0, 4, 1, 2, 3), metadata={"axes": "TCZYX"})
    size = file.stat().st_size
    root = imported(folder, user, info, path, "a.ome.tif", series=1, size=size)
    where = OmeroStorage(session).whereabouts(info)
    expected = StoredFile("lab_2/2026-11/a.ome.tif", root, size)
    assert (where.kind, where.series, where.file) == ("fileset", 1, expected)
    back, tally = read(session, info, tmp_path)
    assert_array_equal(back, pixels)
    assert tally.direct == 1


def test_an_image_of_an_ome_zarr_that_the_server_was_told_of(session, user, image, tmp_path):
    info, pixels = image
    in_store(tmp_path / "a.zarr" / "0", pixels)
    root = next(r for r in OmeroStorage(session).roots.values() if r.endswith("ManagedRepository"))
    told_of_zarr(user, info, f"{root}/a.zarr/0")
    where = OmeroStorage(session).whereabouts(info)
    assert (where.kind, where.file) == ("multiscales", StoredFile(f"{root}/a.zarr/0"))
    for check in ("sample", "all"):
        back, tally = read(session, info, tmp_path, check=check)
        assert_array_equal(back, pixels)
        assert tally.direct == 1


def test_external_info_of_something_else_is_not_taken_for_a_store(session, user, image):
    info, _ = image
    told_of_zarr(user, info, "/a.zarr", ("com.example:other", NGFF_ENTITY[1]))
    assert OmeroStorage(session).whereabouts(info).kind == "planes"


@pytest.mark.parametrize(
    ("path", "name"),
    [("../", "secret.tif"), ("lab/../../", "secret.tif"), ("", "../secret.tif"), ("link/", "secret.tif")],
)
def test_what_the_server_says_does_not_lead_out_of_the_mount(
    folder, session, user, image, tmp_path, caplog, path, name
):
    info, pixels = image
    tifffile.imwrite(tmp_path / "secret.tif", pixels.transpose(0, 4, 1, 2, 3), metadata={"axes": "TCZYX"}, ome=True)
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "link").symlink_to(tmp_path)
    imported(folder, user, info, path, name, size=(tmp_path / "secret.tif").stat().st_size)
    with caplog.at_level(logging.WARNING):
        back, tally = read(session, info, tmp_path / "mount")
    assert_array_equal(back, pixels)
    assert tally.direct == 0
    assert "out of its folder" in caplog.text or "outside the mounted folders" in caplog.text


def test_another_users_client_finds_the_repositories(session):
    roots = OmeroStorage(session).roots
    assert any(root.endswith("/ManagedRepository") for root in roots.values())
    assert np.unique(list(roots)).size == len(roots)

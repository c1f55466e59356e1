"""What a folder source lists for files and stores of several images, and for images of several files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import tifffile

from omero_pixclf.files.opening import open_image
from omero_pixclf.folder.backend import FolderSource
from omero_pixclf.image import Region
from tests.unit.files.test_several_images import FIRST, image, write_plate, write_series, zipped
from tests.unit.files.tiff.test_multi_file_ome_tiff import PLANES, ome_xml, write_set


def listed(*targets: Path | str) -> dict[str, str]:
    """Names of images, and why they cannot be read."""
    return {info.name: info.problem for info in FolderSource().images([str(t) for t in targets])}


def test_an_image_of_several_files_is_listed_once(tmp_path):
    write_set(tmp_path)
    assert listed(tmp_path) == {"f0.ome.tif": ""}
    assert len(listed(tmp_path / "f3.ome.tif", tmp_path / "f1.ome.tif")) == 1


def test_files_without_metadata_are_no_images_beside_the_set_that_they_belong_to(tmp_path):
    names = ["plane_a.tif", "plane_b.tif", "z_master.ome.tif"]
    ids = [f"urn:uuid:{n}" for n in range(3)]
    planes = PLANES[:1]
    for name, plane in zip(names[:2], planes[0], strict=False):
        tifffile.imwrite(tmp_path / name, plane, metadata=None)
    text = ome_xml(f'UUID="{ids[2]}"', ids, names, planes).encode()
    tifffile.imwrite(tmp_path / names[2], planes[0, 2], description=text, metadata=None, ome=False)
    assert listed(tmp_path) == {"z_master.ome.tif": ""}
    with open_image(tmp_path / names[2]) as found:
        assert found.info.shape == (1, 3, 40, 50, 1)


def test_a_file_of_a_set_that_changes_makes_another_image_of_it(tmp_path):
    paths = write_set(tmp_path)
    (before,) = FolderSource().images([str(tmp_path)])
    os.utime(paths[4], ns=(1, 1))
    (after,) = FolderSource().images([str(tmp_path)])
    assert (before.key, before.shape) == (after.key, after.shape)
    assert before.fingerprint != after.fingerprint


def test_images_of_a_plate_are_listed_with_their_wells_and_missing_wells_are_told(tmp_path, caplog):
    store = write_plate(tmp_path / "p.zarr")
    found = list(FolderSource().images([str(tmp_path)]))
    assert [(i.name, i.place.well, i.place.field) for i in found] == [
        ("p.zarr/A/1/0", "A1", 1),
        ("p.zarr/A/1/1", "A1", 2),
        ("p.zarr/B/12/0", "B2", 1),
    ]
    assert {i.place.container for i in found} == {str(store)}
    assert "wells A/12 are listed, but not there" in caplog.text
    for info in found:
        with FolderSource().open(info) as reader:
            assert reader.info.fingerprint == info.fingerprint


def test_a_field_of_a_plate_that_cannot_be_read_is_listed_with_the_reason(tmp_path):
    store = write_plate(tmp_path / "p.zarr")
    (store / "A/1/1/0/.zarray").write_text("{")
    found = list(FolderSource().images([str(store)]))
    assert [bool(i.problem) for i in found] == [False, True, False]
    assert {i.place.container for i in found} == {str(store)}


def test_all_images_of_stores_zip_files_and_tiff_files_are_listed(tmp_path):
    store = write_series(tmp_path / "b.zarr")
    zipped(store, tmp_path / "c.ozx")
    with tifffile.TiffWriter(tmp_path / "d.ome.tif", ome=True) as writer:
        writer.write(FIRST)
        writer.write(FIRST[:20])
    image(tmp_path / "e.zarr", FIRST)
    assert list(listed(tmp_path)) == [
        *("b.zarr/0", "b.zarr/1", "c.ozx/0", "c.ozx/1", "d.ome.tif#0", "d.ome.tif#1", "e.zarr"),
    ]
    assert list(listed(f"{tmp_path}/d.ome.tif#1", tmp_path / "d.ome.tif", store / "0")) == [
        *("d.ome.tif#1", "d.ome.tif#0", "b.zarr/0"),
    ]


def test_folders_that_are_called_like_stores_are_searched(tmp_path):
    for name in ("exports.zarr", "exports.h5"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", FIRST)
    assert [i.key for i in FolderSource().images([str(tmp_path)])] == [
        str(tmp_path / "exports.h5" / "a.tif"),
        str(tmp_path / "exports.zarr" / "a.tif"),
    ]


def test_chunks_folders_and_metadata_of_a_store_tell_whether_it_is_the_same(tmp_path):
    image(tmp_path / "a.zarr", FIRST)

    def known() -> str:
        (info,) = FolderSource().images([str(tmp_path / "a.zarr")])
        return info.fingerprint

    seen = [known(), known()]
    assert seen[0] == seen[1]
    chunk = tmp_path / "a.zarr/0/1.2"
    for change in (
        lambda: os.utime(chunk, ns=(1, 1)),
        lambda: chunk.write_bytes(chunk.read_bytes() + b"x"),
        lambda: (shutil.copy(chunk, tmp_path / "t"), chunk.unlink(), os.replace(tmp_path / "t", chunk)),  # noqa: PTH105
        lambda: (tmp_path / "a.zarr/.zattrs").write_text((tmp_path / "a.zarr/.zattrs").read_text() + " "),
    ):
        change()
        seen.append(known())
    assert len(set(seen)) == 5


def test_a_store_of_many_chunks_is_opened_without_looking_at_each(tmp_path, monkeypatch):
    store = tmp_path / "a.zarr"
    image(store, FIRST)
    described = json.loads((store / "0/.zarray").read_text())
    described |= {"shape": [16 * 300, 16 * 300]}
    (store / "0/.zarray").write_text(json.dumps(described))
    for n in range(300):
        (store / f"0/7.{n}").write_bytes(b"x")
    looked = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *a, **k: (looked.append(path), stat(path, *a, **k))[1])
    with open_image(store) as found:
        assert found.info.shape[2:4] == (4800, 4800)
    assert len(looked) < 300


def test_stacked_files_are_all_part_of_what_an_image_is(tmp_path):
    for n in range(3):
        np.save(tmp_path / f"s_{n}.npy", FIRST)
    with open_image(str(tmp_path / "s_*.npy")) as found:
        before = found.info.fingerprint
    os.utime(tmp_path / "s_2.npy", ns=(1, 1))
    with open_image(str(tmp_path / "s_*.npy")) as found:
        assert found.info.fingerprint != before


def test_an_image_of_many_is_opened_without_the_files_of_the_others(tmp_path, monkeypatch):
    """A plate in a file for each field: each open would look through all of them."""
    count = 5
    ids = [f"urn:uuid:{n}" for n in range(count)]
    names = [f"f{n}.ome.tif" for n in range(count)]
    texts = [ome_xml("", [ids[n]], [names[n]], PLANES[:1, :1]) for n in range(count)]
    images = "".join("<Image " + text.partition("<Image ")[2].removesuffix("</OME>") for text in texts)
    head = ome_xml('UUID="{}"', ids[:1], names[:1], PLANES[:1, :1]).partition("<Image ")[0]
    for n in range(count):
        text = head.replace("{}", ids[n]) + images + "</OME>"
        tifffile.imwrite(tmp_path / names[n], PLANES[0, 0] + n, description=text.encode(), metadata=None, ome=False)
    looked = []
    opened = tifffile.TiffFile.__init__
    monkeypatch.setattr(
        tifffile.TiffFile, "__init__", lambda self, file, **k: (looked.append(str(file)), opened(self, file, **k))[1]
    )
    found = list(FolderSource().images([str(tmp_path)]))
    assert [i.name for i in found] == [f"f0.ome.tif#{n}" for n in range(count)]
    assert len(looked) <= 2 * count + 2
    looked.clear()
    with FolderSource().open(found[3]) as reader:
        assert np.array_equal(reader.read(Region.whole(reader.info.shape))[0, 0, :, :, 0], PLANES[0, 0] + 3)
        assert reader.info.fingerprint == found[3].fingerprint
    assert len(looked) <= 2

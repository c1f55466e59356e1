"""No output may be a file that is read, however it is called."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import UsageError
from omero_pixclf.files.protection import ProtectedFiles
from tests.unit.files.tiff.test_multi_file_ome_tiff import write_set


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "raw.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def protected(*files: Path) -> ProtectedFiles:
    found = ProtectedFiles()
    for file in files:
        found.add("image", file)
    return found


def refused(found: ProtectedFiles, output: Path, array: str | None = None) -> bool:
    try:
        found.check(output, array, of="a")
    except UsageError:
        return True
    return False


@pytest.mark.parametrize(
    "spelling",
    [
        "raw.tif",
        "./raw.tif",
        "../in/raw.tif",
        "sub/../raw.tif",
        "RAW.tif",
        "raw.TIF",
        "soft.tif",
        "hard.tif",
        "../l/raw.tif",
    ],
)
def test_an_input_is_known_by_every_name(raw: Path, spelling: str) -> None:
    (raw.parent / "soft.tif").symlink_to(raw)
    (raw.parent / "hard.tif").hardlink_to(raw)
    (raw.parent.parent / "l").symlink_to(raw.parent)
    assert refused(protected(raw), raw.parent / spelling)
    assert not refused(protected(raw), raw.parent / "other.tif")
    assert not refused(protected(raw), raw.parent.parent / "raw.tif")


def test_an_input_that_is_a_link_protects_what_it_leads_to(raw: Path) -> None:
    link = raw.parent / "link.tif"
    link.symlink_to(raw)
    assert refused(protected(link), raw)
    assert refused(protected(link), link)


def test_unicode_forms_of_one_name_are_one_name(tmp_path: Path) -> None:
    (tmp_path / "Z\u00fcr.tif").write_bytes(b"")
    assert refused(protected(tmp_path / "Z\u00fcr.tif"), tmp_path / "Zu\u0308r.tif")


def test_relative_names_count_from_the_working_directory(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw.parent)
    assert refused(protected(Path("raw.tif")), raw)
    assert refused(protected(raw), Path("./raw.tif"))


def test_nothing_is_written_into_a_store_or_over_a_folder_around_an_input(raw: Path) -> None:
    store = raw.parent / "image.zarr"
    (store / "0").mkdir(parents=True)
    (raw.parent / "way").symlink_to(store)
    found = protected(store)
    for output in (store / "out.h5", store / "0" / "deep" / "x.png", store, raw.parent / "way" / "o.h5", raw.parent):
        assert refused(found, output)
    assert not refused(found, raw.parent / "image.zarr.h5")


def test_a_sequence_is_refused_where_one_of_its_files_is_an_input(tmp_path: Path) -> None:
    for name in ("t_007.png", "t_x.png"):
        (tmp_path / name).write_bytes(b"")
    assert refused(protected(tmp_path / "t_007.png"), tmp_path / "t_{slice_index}.png")
    assert not refused(protected(tmp_path / "t_x.png"), tmp_path / "t_{slice_index}.png")
    (tmp_path / "t_008.png").symlink_to(tmp_path / "t_x.png")
    assert refused(protected(tmp_path / "t_x.png"), tmp_path / "t_{slice_index:03}.png")


def hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["group/data"] = np.zeros((4, 5))
        file["group/mask"] = np.zeros((4, 5))
        file["other"] = np.zeros((4, 5))
        file["again"] = file["group/data"]
        file["way"] = h5py.SoftLink("/group")
    return path


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ("group/data", True),
        ("/group//data/", True),
        ("group", True),
        ("group/data/below", True),
        ("again", True),
        ("way/data", True),
        ("group/mask", False),
        ("other", False),
        ("new/one", False),
    ],
)
def test_of_an_hdf5_file_the_array_that_is_read_is_protected(tmp_path: Path, array: str, expected: bool) -> None:
    path = hdf5(tmp_path / "a.h5")
    found = ProtectedFiles()
    found.add_images("image", [f"{path}/group/data"])
    (tmp_path / "b.h5").symlink_to(path)
    assert refused(found, path, array) == expected
    assert refused(found, tmp_path / "b.h5", array) == expected


def test_an_array_that_is_not_named_is_the_only_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volume/data"] = np.zeros((4, 5))
    found = ProtectedFiles()
    found.add_images("image", [str(tmp_path / "a.h5")])
    assert refused(found, tmp_path / "a.h5", "volume/data")
    assert not refused(found, tmp_path / "a.h5", "exported_data")


def test_the_project_is_protected_as_a_whole(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "project.h5")
    found = ProtectedFiles()
    found.add("project", path)
    assert refused(found, path, "new")


def test_files_that_an_array_is_stored_in_are_protected(tmp_path: Path) -> None:
    hdf5(tmp_path / "source.h5")
    (tmp_path / "pixels.bin").write_bytes(bytes(160))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("source.h5", "/group")
        file.create_dataset("outside", (4, 5), "f8", external=[("pixels.bin", 0, 160)])
        layout = h5py.VirtualLayout((4, 5), "f8")
        layout[...] = h5py.VirtualSource("source.h5", "other", (4, 5))
        file.create_virtual_dataset("virtual", layout)
    outputs = {"linked/data": "source.h5", "outside": "pixels.bin", "virtual": "source.h5"}
    for array, file in outputs.items():
        found = ProtectedFiles()
        found.add_images("image", [f"{tmp_path}/a.h5/{array}"])
        assert refused(found, tmp_path / file, "other" if file.endswith("h5") else None)
    assert not refused(found, tmp_path / "source.h5", "new")


def virtual(path: Path, source: str) -> None:
    layout = h5py.VirtualLayout((4, 5), "f8")
    layout[...] = h5py.VirtualSource(source, "data", (4, 5))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)


def linked(path: Path, source: str) -> None:
    with h5py.File(path, "w") as file:
        file["far"] = h5py.ExternalLink(source, "/")
        file["data"] = h5py.SoftLink("/far/data")


def test_files_behind_several_links_and_virtual_arrays_are_protected(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for steps in itertools.product((virtual, linked), repeat=3):
        with h5py.File(tmp_path / "deep" / "raw.h5", "w") as file:
            file["data"] = np.ones((4, 5))
        for n, step in enumerate(steps):
            step(tmp_path / f"s{n}.h5", f"s{n - 1}.h5" if n else "deep/raw.h5")
        found = ProtectedFiles()
        found.add_images("image", [f"{tmp_path}/s2.h5/data"])
        for name in ("deep/raw.h5", "s0.h5", "s1.h5", "s2.h5"):
            assert refused(found, tmp_path / name, "data"), (steps, name)
        assert not refused(found, tmp_path / "s2.h5", "new")


def test_links_in_a_circle_end_and_a_file_that_cannot_be_opened_is_protected_whole(tmp_path: Path) -> None:
    linked(tmp_path / "a.h5", "b.h5")
    linked(tmp_path / "b.h5", "a.h5")
    virtual(tmp_path / "c.h5", "broken.h5")
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    found = ProtectedFiles()
    found.add_images("image", [f"{tmp_path}/a.h5/data", f"{tmp_path}/c.h5/data"])
    assert refused(found, tmp_path / "b.h5", "data")
    assert refused(found, tmp_path / "broken.h5", "new")


def test_globs_and_lists_protect_each_of_their_files(tmp_path: Path) -> None:
    for name in ("a_1.tif", "a_2.tif", "b.tif"):
        (tmp_path / name).write_bytes(b"")
    found = ProtectedFiles()
    found.add_images("image", [f"{tmp_path}/a_*.tif"])
    found.add_images("mask", [os.pathsep.join((f"{tmp_path}/b.tif", f"{tmp_path}/gone.tif"))])
    assert refused(found, tmp_path / "a_2.tif")
    found.add_images("mask", [f"{tmp_path}/b.tif"])
    assert refused(found, tmp_path / "b.tif")


def test_the_message_says_which_input_and_what_to_do(raw: Path) -> None:
    with pytest.raises(UsageError, match=r"^x\.tif: its result would overwrite the image .*raw\.tif .*; nothing was"):
        protected(raw).check(raw, of="x.tif")
    with pytest.raises(UsageError, match=r"would overwrite the image itself.*--output_filename_format"):
        protected(raw).check(raw, of=str(raw))


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
def test_every_file_of_an_ome_tiff_is_protected(tmp_path: Path, kind: dict[str, bool]) -> None:
    members = write_set(tmp_path, **kind)
    found = ProtectedFiles()
    found.add_images("image", [str(members[2])])
    assert all(refused(found, member) for member in members)
    assert not refused(found, tmp_path / "other.ome.tif")

"""``omero import`` of omero-py's unmodified command line, with the stand-in for Java, and ``embedded import``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr

from omero_pixclf.embedded.importer.arguments import IMPORTER_CLASS, parse_importer_arguments
from omero_pixclf.embedded.importer.run_import import run_java
from omero_pixclf.embedded.server.server import Server, start
from omero_pixclf.embedded.storage.data_paths import pixels_path
from omero_pixclf.errors import UsageError
from tests.unit.files.test_plates import metadata, ome_plate, sample, zarr_image, zarr_plate, zipped
from tests.unit.files.test_references import two_files

PROGRAM = Path(sys.executable).with_name("omero-pixclf")
# What bin/omero does, but for its refusal to run as the superuser, who runs tests in containers.
OMERO = [sys.executable, "-c", "import sys; from omero.cli import argv; sys.exit(argv(['omero', *sys.argv[1:]]))"]
PASSWORD = "pw-import"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("importer") / "omero", password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Somebody with a home of their own, the stand-in first in PATH and in omero-py's cache, and a session."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OMERO_")}
    java = home / "java"
    made = {**kept, "HOME": str(home), "OMERO_USERDIR": str(home / "user")}
    done = subprocess.run(
        [str(PROGRAM), "embedded", "importer", "--folder", str(java), "--user-cache"],
        env=made, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "not OME's importer" in done.stdout
    made["PATH"] = f"{java}{os.pathsep}{made['PATH']}"
    omero(made, "login", f"root@{server.host}:{server.port}", "-w", PASSWORD)
    return made


def omero(environment: dict[str, str], *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*OMERO, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_omero_import_works_without_java(environment: dict[str, str], server: Server, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", np.arange(200, dtype=np.uint16).reshape(10, 20))
    (tmp_path / "p&plates=1&sizeX=8&sizeY=8.fake").touch()
    (tmp_path / "broken.tif").write_bytes(b"no TIFF")
    done = omero(environment, "import", "--output", "yaml", "-T", "Dataset:name:new one", str(tmp_path / "a.ome.tif"))
    (made,) = yaml.safe_load(done.stdout)
    assert sorted(made) == ["Fileset", "Image"] and len(made["Image"]) == 1
    assert "1 file uploaded, 1 fileset created, 1 image imported, 0 errors in" in done.stderr
    with server.database.reading() as tx:
        sql = "SELECT l.child FROM dataset d JOIN datasetimagelink l ON l.parent = d.id WHERE d.name = 'new one'"
        assert tx.all(sql) == [(made["Image"][0],)]
    omero(environment, "download", f"Fileset:{made['Fileset']}", str(tmp_path / "back"))
    assert (tmp_path / "back" / "a.ome.tif").read_bytes() == (tmp_path / "a.ome.tif").read_bytes()
    assert omero(environment, "fs", "ls", f"Fileset:{made['Fileset']}").stdout.strip().endswith("/a.ome.tif")
    both = omero(environment, "import", "-c", "--depth", "1", str(tmp_path), code=2)
    assert [line.partition(":")[0] for line in both.stdout.splitlines()] == ["Image", "Plate"]
    assert "broken.tif" in both.stderr and "1 error in" in both.stderr


def test_a_mark_in_a_path_is_kept_for_those_who_look_for_what_follows_it(
    environment: dict[str, str], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "plate").mkdir()
    tifffile.imwrite(tmp_path / "plate" / "a.tif", np.zeros((8, 8), np.uint8))
    named = f"{tmp_path}/./plate/a.tif"
    omero(environment, "import", named)
    with server.database.reading() as tx:
        ((told,),) = tx.all("SELECT clientpath FROM filesetentry ORDER BY id DESC LIMIT 1")
    assert f"/{told}" == f"{tmp_path.resolve()}/./plate/a.tif"
    again = omero(environment, "import", "--exclude", "clientpath", named)
    assert "1 image imported" not in again.stderr and "imported before" in again.stderr


def test_files_keep_their_format_and_arrays_their_pixels(server: Server, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((8, 8), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((8, 9), np.uint8))
    done = subprocess.run(
        [str(PROGRAM), "embedded", "import", str(tmp_path / "a.ome.tif"), str(tmp_path / "b.npy"), "-s",
         f"root@{server.host}:{server.port}"],
        env={**os.environ, "OMERO_PASSWORD": PASSWORD}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = (line.split("\t")[0].removeprefix("Image:") for line in done.stdout.splitlines())
    with server.database.reading() as tx:
        filesets = [tx.one("SELECT fileset FROM image WHERE id = ?", (int(i),))[0] for i in (first, second)]
    assert filesets[0] is not None and filesets[1] is None


def embedded_import(server: Server, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(PROGRAM), "embedded", "import", *map(str, arguments), "-s", f"root@{server.host}:{server.port}"],
        env={**os.environ, "OMERO_PASSWORD": PASSWORD}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def images_of(server: Server, dataset: str) -> list[str]:
    with server.database.reading() as tx:
        sql = (
            "SELECT i.name FROM dataset d JOIN datasetimagelink l ON l.parent = d.id JOIN image i ON i.id = l.child "
            "WHERE d.name = ? ORDER BY i.id"
        )
        return [name for (name,) in tx.all(sql, (dataset,))]


def test_a_bad_file_keeps_no_other_from_being_imported(server: Server, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8))
    tifffile.imwrite(tmp_path / "f16.tif", np.zeros((8, 8), np.float16))
    (tmp_path / "broken.png").write_bytes(b"no PNG")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    names = ("f16.tif", "a.tif", "missing.tif", "broken.png", "notes.txt", "empty", "b.tif")
    files = [tmp_path / name for name in names]
    done = embedded_import(server, *files, "--dataset", "some", code=1)
    assert images_of(server, "some") == ["a.tif", "b.tif"]
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == [str(files[1]), str(files[6])]
    for name in ("f16.tif", "missing.tif", "broken.png", "notes.txt", "empty"):
        assert name in done.stderr
    told = embedded_import(server, *files, "--dataset", "some", "--json", code=1)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [Path(line["file"]).name for line in lines if line.get("error")] == [
        n for n in names if n not in ("a.tif", "b.tif")
    ]


def test_a_folder_is_imported_with_each_set_of_files_once(server: Server, tmp_path: Path) -> None:
    two_files(tmp_path / "in", "b.ome.tif")
    tifffile.imwrite(tmp_path / "in" / "c.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    embedded_import(server, tmp_path / "in", "--dataset", "folder")
    assert images_of(server, "folder") == ["a.ome.tif", "c.tif"]
    members = [tmp_path / "in" / name for name in ("a.ome.tif", "b.ome.tif")]
    done = embedded_import(server, *members, "--dataset", "members")
    assert images_of(server, "members") == ["a.ome.tif"]
    ident = int(done.stdout.split("\t")[0].removeprefix("Image:"))
    with server.database.reading() as tx:
        (pixels,) = tx.one("SELECT id FROM pixels WHERE image = ?", (ident,))
    planes = np.fromfile(pixels_path(server.folder, pixels), np.uint8).reshape(2, 8, 9)
    assert [set(plane.ravel()) for plane in planes] == [{7}, {8}]


def test_incomplete_files_are_not_imported(server: Server, tmp_path: Path) -> None:
    path = two_files(tmp_path, "b.ome.tif")
    (tmp_path / "b.ome.tif").unlink()
    stack = np.arange(8 * 64 * 64, dtype=np.uint16).reshape(8, 64, 64)
    for name, options in (("imagej.tif", {"imagej": True}), ("c.ome.tif", {}), ("d.tif", {"compression": "zlib"})):
        tifffile.imwrite(tmp_path / name, stack, **options)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 7 // 10])
    files = [path, *(tmp_path / name for name in ("imagej.tif", "c.ome.tif", "d.tif"))]
    done = embedded_import(server, *files, "--dataset", "incomplete", code=1)
    assert images_of(server, "incomplete") == [] and done.stdout == ""
    for file in files:
        assert f"{file} is incomplete" in done.stderr


def test_a_plate_in_an_ome_tiff_is_imported_as_one(server: Server, tmp_path: Path) -> None:
    plates = (
        '<Plate ID="Plate:0" Name="P" Rows="8" Columns="12">'
        f'<Well ID="Well:0" Row="1" Column="2">{sample("WS:0", "Image:0")}{sample("WS:1", "Image:1", 1)}</Well>'
        '<Well ID="Well:1" Row="3" Column="4"/></Plate>'
    )
    done = embedded_import(server, ome_plate(tmp_path / "p.ome.tif", plates, 3), "--dataset", "off plate")
    kinds = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert kinds == ["Plate", "Image"] and "note: " in done.stderr
    assert images_of(server, "off plate") == ["p.ome.tif [i2]"]
    plate = int(done.stdout.split("\t")[0].removeprefix("Plate:"))
    with server.database.reading() as tx:
        sql = (
            'SELECT w."row", w."column", i.name FROM well w LEFT JOIN wellsample s ON s.well = w.id '
            "LEFT JOIN image i ON i.id = s.image WHERE w.plate = ? ORDER BY 1, 2, s.id"
        )
        rows = tx.all(sql, (plate,))
        assert tx.one('SELECT name, "rows", "columns" FROM plate WHERE id = ?', (plate,)) == ("P", 8, 12)
    assert rows == [(1, 2, "p.ome.tif [i0]"), (1, 2, "p.ome.tif [i1]"), (3, 4, None)]


NAMES = {  # bytes of a name, and what the image is called
    b"latin\xe9.tif": "latiné.tif",
    "ünïcode_日本_\U0001f642.tif".encode(): "ünïcode_日本_\U0001f642.tif",
    b"n" * 251 + b".tif": "n" * 251 + ".tif",
    b"back\\slash.tif": "back_slash.tif",
    b"..\\up.tif": ".._up.tif",
    b"new\nline.tif": "new_line.tif",
    b"$x$ %s {y} ~.tif": "$x$ %s {y} ~.tif",
    b"a.tif#1.tif": "a.tif#1.tif",
    b" .tif": " .tif",
}


@pytest.mark.parametrize(
    "locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["UTF-8", "ASCII"]
)
def test_files_are_imported_whatever_bytes_their_names_have(
    server: Server, tmp_path: Path, locale: dict[str, str]
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8), np.uint8))
    np.save(tmp_path / "x.npy", np.zeros((8, 8), np.uint8))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(tmp_path / "x.tif", os.fsencode(folder) + b"/" + name)
    array = os.fsencode(tmp_path) + b"/l\xe9.npy"
    shutil.move(tmp_path / "x.npy", array)
    dataset = f"names {len(locale)}"
    done = subprocess.run(
        [str(PROGRAM), "embedded", "import", str(folder), array, "--dataset", dataset, "-s",
         f"root@{server.host}:{server.port}"],
        env={**os.environ, "OMERO_PASSWORD": PASSWORD, **locale}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(images_of(server, dataset)) == sorted([*NAMES.values(), "lé.npy"])


def test_links_keep_their_own_names(server: Server, tmp_path: Path) -> None:
    """Work flow engines give inputs as links to files of other names."""
    tifffile.imwrite(tmp_path / "0a1b2c", np.zeros((8, 8), np.uint8))
    (tmp_path / "image.tif").symlink_to(tmp_path / "0a1b2c")
    zarr_plate(tmp_path / "0d1e2f")
    (tmp_path / "plate.zarr").symlink_to(tmp_path / "0d1e2f")
    done = embedded_import(server, tmp_path / "image.tif", tmp_path / "plate.zarr", "--dataset", "links")
    assert images_of(server, "links") == ["image.tif"]
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["Image", "Plate"]


def test_bits_are_0_and_1_whatever_file_they_come_from(server: Server, tmp_path: Path) -> None:
    bits = np.eye(8, 9, dtype=bool)
    tifffile.imwrite(tmp_path / "b.tif", bits)
    np.save(tmp_path / "b.npy", bits)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"] = bits
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(8, 9), chunks=(8, 9), dtype="bool", zarr_format=2)[:] = bits
    done = embedded_import(server, *(tmp_path / f"b.{kind}" for kind in ("tif", "npy", "h5", "zarr")))
    ids = [int(line.split("\t")[0].removeprefix("Image:")) for line in done.stdout.splitlines()]
    assert len(ids) == 4
    with server.database.reading() as tx:
        sql = "SELECT p.id, k.value FROM pixels p JOIN pixelstype k ON k.id = p.pixelsType WHERE p.image = ?"
        found = [tx.one(sql, (ident,)) for ident in ids]
    assert {kind for _, kind in found} == {"uint8"}
    for pixels, _ in found:
        assert np.array_equal(np.fromfile(pixels_path(server.folder, pixels), np.uint8).reshape(8, 9), bits)


@pytest.mark.parametrize("ending", ["p.zarr", "p.ozx", "p.zarr.zip"])
def test_a_plate_in_an_ome_zarr_is_imported_as_one(server: Server, tmp_path: Path, ending: str) -> None:
    path = zarr_plate(tmp_path / "p.zarr")
    if ending != "p.zarr":
        path = zipped(path, tmp_path / ending)
    done = embedded_import(server, path, "--dataset", "none")
    assert len(done.stdout.splitlines()) == 1 and "well A/2: listed, but not in the store" in done.stderr
    plate = int(done.stdout.split("\t")[0].removeprefix("Plate:"))
    with server.database.reading() as tx:
        sql = (
            'SELECT w."row", w."column", p.id FROM well w JOIN wellsample s ON s.well = w.id '
            "JOIN pixels p ON p.image = s.image WHERE w.plate = ? ORDER BY 1, 2, s.id"
        )
        rows = tx.all(sql, (plate,))
    assert [row[:2] for row in rows] == [(0, 0), (0, 0), (1, 2), (1, 2)]
    found = [set(np.fromfile(pixels_path(server.folder, row[2]), np.uint8)) for row in rows]
    assert found == [{10}, {11}, {20}, {21}]


def test_all_images_of_an_ome_zarr_are_imported(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "several.zarr"
    metadata(path, {"bioformats2raw.layout": 3})
    for number in range(2):
        zarr_image(path / str(number), number)
    embedded_import(server, path, "--dataset", "several")
    assert images_of(server, "several") == ["several.zarr [0]", "several.zarr [1]"]


@pytest.mark.shared
def test_the_shared_plates_and_series_are_imported_whole(server: Server, shared: Path) -> None:
    cases = shared / "cases" / "plate-and-series-files"
    for name, kinds in (
        ("plate.zarr", ["Plate"]),
        ("plate.ome.tif", ["Plate", "Image"]),
        ("b2r.zarr", ["Image", "Image"]),
        ("two.ome.tif", ["Image", "Image"]),
    ):
        done = embedded_import(server, cases / name, "--dataset", "shared")
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == kinds


@pytest.mark.parametrize("folder", ["afile/x", "afile"])
def test_a_folder_that_cannot_be_the_servers_is_told_in_one_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / "afile").write_text("no folder")
    done = subprocess.run(
        [str(PROGRAM), "embedded", "start", "--folder", str(tmp_path / folder), "--port", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr and str(tmp_path / folder) in done.stderr


def test_a_database_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "omero.sqlite").write_text("no database, though it is called so")
    with pytest.raises(UsageError, match=r"not a database.*choose a new folder"):
        start(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [["--transfer=ln_s", "a.tif"], ["-l", "readers.txt", "a.tif"], ["--output=xml"], ["-d", "x"], ["--nothing"]],
)
def test_what_only_the_real_importer_can_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse_importer_arguments(arguments)
    assert run_java(["-Xmx1024M", "-cp", "x.jar", IMPORTER_CLASS, *arguments]) == 1
    assert "not OME's" in capsys.readouterr().err


def test_it_is_no_java(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_java(["-version"]) == 0
    assert run_java(["-jar", "game.jar"]) == 1
    assert "this is not Java" in capsys.readouterr().err


def test_the_folder_of_a_real_java_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\nthe real one\n")
    done = subprocess.run(
        [str(PROGRAM), "embedded", "importer", "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the real one" in (tmp_path / "java").read_text()

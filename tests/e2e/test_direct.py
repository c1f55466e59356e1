"""A run whose pixels come straight from the server's files: the same results as through the server, whoever works."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from omero_pixclf.demo.images import plate_field
from omero_pixclf.pixel_location import legacy_repository_path
from tests.benchmarks.stand import PROJECT, Stand, plate, results, session, stand
from tests.unit.direct.image_files import in_store

SIZES = {"rows": 2, "columns": 1, "fields": 2, "side": 96}
IMAGES = 4


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("stand")) as made:
        yield made


@pytest.fixture(scope="module")
def expected(at: Stand) -> dict[str, object]:
    """What a run through the server leaves."""
    number = plate(at, "plain", **SIZES)
    run(at, number)
    return results(at, number)


def run(at: Stand, number: int, *options: str) -> str:
    """The log of a run, which must do all images."""
    out, err = said(
        at, "-v", "run", f"Plate:{number}", "--project", str(PROJECT), "--min-size", "40", "--json", *options
    )
    assert json.loads(out.splitlines()[-1])["done"] == IMAGES
    return err


def said(at: Stand, *arguments: str) -> tuple[str, str]:
    with at.start(*arguments) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


def mounted(at: Stand, number: int, folder: Path) -> list[Path]:
    """A copy of the server's data directory, with the files of a plate's pixels."""
    with session(at) as opened:
        ids = opened.query_ids(
            "select p.id from WellSample s join s.image i join i.pixels p where s.well.plate.id = :p", p=number
        )
    files = []
    for ident in ids:
        path = legacy_repository_path("Pixels", ident)
        files.append(folder / path)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(at.folder / "server" / path, files[-1])
        os.utime(files[-1], ns=(0, 10**18))  # never read
    return files


def direct(log: str) -> int:
    return sum(int(n) for n in re.findall(r"(\d+) images? read directly", log))


@pytest.mark.parametrize(
    "options", [["--workers", "1"], ["--workers", "2"], ["--workers", "1", "--direct-check", "all"]]
)
def test_results_are_the_same(at, expected, tmp_path, options):
    number = plate(at, f"direct {tmp_path.name}", **SIZES)
    mounted(at, number, tmp_path)
    log = run(at, number, "--direct", str(tmp_path), *options)
    assert direct(log) == IMAGES, log
    assert results(at, number) == expected


def test_results_are_the_same_where_files_are_missing_or_damaged(at, expected, tmp_path):
    number = plate(at, "damaged", **SIZES)
    missing, short, other, *_ = mounted(at, number, tmp_path)
    for file in (short, other):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[:-2] if file == short else bytes(2) + content[2:])
    missing.unlink()
    log = run(at, number, "--direct", str(tmp_path), "--workers", "1")
    assert direct(log) == IMAGES - 3
    warnings = [line for line in log.splitlines() if line.startswith("WARNING")]
    assert len([w for w in warnings if "not found locally" in w]) == 1, log
    assert len([w for w in warnings if "its SHA-1 is" in w]) == 2, log
    assert results(at, number) == expected


def test_shares_read_directly_where_it_is_mounted(at, expected, tmp_path):
    number = plate(at, "shares", **SIZES)
    mounted(at, number, tmp_path)
    runs = []
    for n, folder in ((1, tmp_path), (2, tmp_path / "not here")):
        base = ["-v", "run", f"Plate:{number}", "--project", str(PROJECT), "--min-size", "40", "--json"]
        out, err = said(at, *base, "--shard", f"{n}/2", "--direct", str(folder))
        runs.append(json.loads(out.splitlines()[0])["run"])
        assert direct(err) == (IMAGES // 2 if n == 1 else 0), err
        assert ("no such folder on this machine" in err) == (n == 2)
    said(at, "runs", "merge", *runs)
    assert results(at, number) == expected


def test_a_second_run_with_or_without_it_has_nothing_to_do(at, tmp_path):
    """What is read where does not change what the run is."""
    number = plate(at, "again", **SIZES)
    mounted(at, number, tmp_path)
    run(at, number, "--direct", str(tmp_path))
    out, _ = said(at, "run", f"Plate:{number}", "--project", str(PROJECT), "--min-size", "40", "--json")
    assert json.loads(out.splitlines()[-1])["skipped"] == IMAGES


def test_check_tells_what_could_be_read(at, tmp_path):
    number = plate(at, "check", **SIZES)
    first, *_ = mounted(at, number, tmp_path)
    first.unlink()
    base = ["check", f"Plate:{number}", "--project", str(PROJECT), "--direct", str(tmp_path)]
    out, _ = said(at, *base)
    assert "tried: 3 images read directly, 1 through the server" in out
    machine, _ = said(at, *base, "--json")
    assert any("3 images read directly" in json.loads(line).get("direct", "") for line in machine.splitlines())


def test_dask_workers_read_directly(at, expected, tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed (extra: dask)")
    from tests.benchmarks.scaling import dask_workers

    if not noted_when_read(tmp_path):
        pytest.skip("this file system does not say when a file was read")
    number = plate(at, "dask", **SIZES)
    files = mounted(at, number, tmp_path)
    with dask_workers(at) as cluster:
        run(at, number, "--direct", str(tmp_path), "--dask", cluster.address, "--threads", "1")
    assert results(at, number) == expected
    assert all(was_read(file) for file in files)


def noted_when_read(folder: Path) -> bool:
    file = folder / "try"
    file.write_bytes(b"x")
    os.utime(file, ns=(0, 10**18))
    file.read_bytes()
    return was_read(file)


def was_read(file: Path) -> bool:
    return file.stat().st_atime_ns >= file.stat().st_mtime_ns


def imported(at: Stand, folder: Path) -> str:
    """A dataset of imported files of several formats, seven images in all."""
    folder.mkdir()
    fields = [plate_field("A1", n).pixels[:, :, :96, :96] for n in range(7)]
    with tifffile.TiffWriter(folder / "two.ome.tif") as file:
        for pixels in fields[:2]:
            file.write(pixels[0, 0].transpose(2, 0, 1), metadata={"axes": "CYX"}, compression="zlib")
    tifffile.imwrite(folder / "pages.tif", fields[2][0, 0].transpose(2, 0, 1), metadata={"axes": "CYX"}, imagej=True)
    eight = (fields[3][0, 0] >> 4).astype("uint8").transpose(2, 0, 1)
    tifffile.imwrite(folder / "jpeg.ome.tif", eight, compression="jpeg", metadata={"axes": "CYX"})
    in_store(folder / "store.ome.zarr", fields[4])
    with tifffile.TiffWriter(folder / "pyramid.ome.tif", ome=True) as file:
        content = fields[5][0, 0].transpose(2, 0, 1)
        file.write(content, subifds=1, metadata={"axes": "CYX"}, tile=(32, 32))
        file.write(np.ascontiguousarray(content[:, ::2, ::2]), subfiletype=1, tile=(32, 32))
    np.save(folder / "planes.npy", fields[6])  # no format of OMERO's: uploaded
    name = f"imported {folder.parent.name}"
    files = [str(path) for path in sorted(folder.iterdir()) if path.suffix != ".npy"]
    said(at, "embedded", "import", *files, "--dataset", name)
    said(at, "embedded", "import", str(folder / "planes.npy"), "--axes", "tzyxc", "--dataset", name)
    with session(at) as opened:
        (dataset,) = opened.query_ids("select d.id from Dataset d where d.name = :name", name=name)
    return f"Dataset:{dataset}"


def test_imported_files_are_read_from_the_managed_repository(at, tmp_path):
    base = ["--project", str(PROJECT), "--min-size", "40", "--json", "--workers", "1"]
    counted = []
    for folder, options in ((tmp_path / "plain", []), (tmp_path / "direct", ["--direct", str(at.folder / "server")])):
        (folder).mkdir()
        dataset = imported(at, folder / "files")
        out, err = said(at, "-v", "run", dataset, *base, *options)
        events = [json.loads(line) for line in out.splitlines()]
        counted.append({e["name"]: e["objects"] for e in events if e["event"] == "outcome"})
    assert counted[0] == counted[1]
    assert len(counted[0]) == 7 and sum(counts["Nucleus"] > 0 for counts in counted[0].values()) == 6
    assert direct(err) == 6, err
    assert "JPEG compression" in err
    assert "WARNING" not in err


@pytest.mark.parametrize("options", [["--direct", "=x"], ["--direct", "x", "--out", "y"]])
def test_what_cannot_be_meant_is_refused(at, options):
    with at.start("run", "Image:1", "--project", str(PROJECT), *options) as process:
        _, err = process.communicate()
    assert process.returncode == 2, err
    assert "--direct" in err

"""The same run by one process, by two and in shares: equal files, to the byte; and over OMERO, equal results."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.demo.images import plate_field
from tests.e2e.conftest import PROGRAM, Omero

DEMO = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo"


def command(*arguments: str) -> list[dict[str, object]]:
    done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def put(folder: Path, count: int) -> None:
    folder.mkdir()
    for n in range(count):
        pixels = plate_field(f"A{n % 3 + 1}", n).pixels[:, :, :120, : 100 + 8 * n]
        np.save(folder / f"field{n}.npy", pixels)


def found(results: Path) -> dict[str, bytes]:
    """Labels, outlines and tables of a results folder by image, without the run's name."""
    wanted = [p for p in sorted(results.rglob("*")) if p.suffix in (".h5", ".geojson", ".csv")]
    return {f"{p.parents[1].name}/{p.name}": _content(p) for p in wanted}


def _content(path: Path) -> bytes:
    if path.suffix != ".h5":
        return path.read_bytes()
    from omero_pixclf.files.opening import open_image
    from omero_pixclf.image import Region

    with open_image(path) as reader:
        return reader.read(Region.whole(reader.info.shape)).tobytes()


def test_one_process_two_processes_and_shares_give_the_same_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(data, 7)
    base = [
        "run",
        str(data),
        "--project",
        str(DEMO / "plate.ilp"),
        "--axes",
        "tzyxc",
        "--labels",
        "attachment",
        "--json",
    ]
    command(*base, "--out", str(tmp_path / "one"), "--workers", "1")
    command(*base, "--out", str(tmp_path / "two"), "--workers", "2")
    shares = [command(*base, "--out", str(tmp_path / "three"), "--shard", f"{n}/3") for n in (1, 2, 3)]
    assert not list((tmp_path / "three").rglob("summary.csv")), "a share finishes no container"
    runs = [str(events[0]["run"]) for events in shares]
    merged = command("runs", "merge", *runs, "--out", str(tmp_path / "three"), "--axes", "tzyxc", "--json")
    assert merged[-1]["done"] == 7
    one = found(tmp_path / "one")
    assert sum(name.endswith("labels.h5") for name in one) == 7
    assert {Path(name).name for name in one} >= {"summary.csv", "objects.csv", "objects.geojson"}
    assert found(tmp_path / "two") == one
    assert found(tmp_path / "three") == one
    undone = subprocess.run(
        [str(PROGRAM), "undo", str(merged[0]["run"]), "--yes", "--out", str(tmp_path / "three")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert undone.returncode == 0, undone.stderr
    assert found(tmp_path / "three") == {}


def put_large(folder: Path) -> list[str]:
    """An image of three blocks, and what a run over it is asked for."""
    folder.mkdir()
    field = plate_field("A1", 3).pixels[:, :, :150]
    np.save(folder / "slide.npy", np.tile(field, (1, 1, 1, 9, 1))[:, :, :, :4300])
    base = ["run", str(folder), "--project", str(DEMO / "plate.ilp"), "--axes", "tzyxc", "--labels", "attachment"]
    return [*base, "--probabilities", "attachment", "--label", "Nucleus", "--json"]


def test_an_image_that_workers_share_leaves_what_one_process_leaves_also_after_a_kill(tmp_path: Path) -> None:
    base = put_large(tmp_path / "data")
    command(*base, "--out", str(tmp_path / "one"), "--workers", "1")
    one = found(tmp_path / "one")
    assert {Path(name).name for name in one} >= {"labels.h5", "probabilities.h5", "objects.geojson", "objects.csv"}
    command(*base, "--out", str(tmp_path / "two"), "--workers", "2")
    assert found(tmp_path / "two") == one
    out = tmp_path / "three"
    killed = subprocess.Popen([str(PROGRAM), *base, "--out", str(out), "--workers", "2"], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(out.rglob("probabilities-*.npy")) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and found(out) == {}
    [run] = [p.name for p in (out / ".runs").iterdir() if not p.name.startswith(".")]
    assert list((out / ".runs" / run / "pieces").rglob("probabilities-*.npy"))
    command("run", "--resume", run, "--out", str(out), "--axes", "tzyxc", "--workers", "2", "--json")
    assert found(out) == one
    assert not (out / ".runs" / run / "pieces").exists()


def test_the_plan_says_which_workers_share_an_image_and_what_they_take(tmp_path: Path) -> None:
    base = put_large(tmp_path / "data")[:-1]
    run = [str(PROGRAM), *base, "--out", str(tmp_path / "out"), "--workers", "2", "--dry-run"]
    told = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "workers: 2" in told and "images that they share: 1" in told and "MiB" in told
    small = subprocess.run([*run, "--memory", "600M"], capture_output=True, text=True, timeout=120, check=False)
    assert small.returncode == 2 and "do not fit" in small.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def datasets(omero: Omero, tmp_path: Path) -> list[str]:
    """Three datasets with equal images."""
    put(tmp_path / "data", 5)
    names = []
    for copy in range(3):
        name = f"workers {tmp_path.name} {copy}"
        files = [str(p) for p in sorted((tmp_path / "data").iterdir())]
        omero.command("embedded", "import", *files, "--dataset", name, "--axes", "tzyxc")
        names.append(name)
    return names


def test_workers_with_sessions_of_their_own_leave_in_omero_what_one_process_leaves(
    omero: Omero, datasets: list[str], second_client: object
) -> None:
    targets = [f"Dataset:{_dataset(second_client, name)}" for name in datasets]
    base = ["--project", str(DEMO / "plate.ilp"), "--json"]
    omero.command("run", targets[0], *base, "--workers", "1")
    omero.command("run", targets[1], *base, "--workers", "2")
    shares = [omero.command("run", targets[2], *base, "--shard", f"{n}/2").stdout for n in (1, 2)]
    runs = [json.loads(text.splitlines()[0])["run"] for text in shares]
    omero.command("runs", "merge", *runs)
    one, two, three = (_results(second_client, target) for target in targets)
    assert sum(len(shapes) for shapes in one[0].values()) > 20 and len(one[1]) == 2
    assert two == one
    assert three == one
    omero.command("undo", _newest(omero), "--yes")
    assert _results(second_client, targets[2]) == ({name: [] for name in one[0]}, [])


def _dataset(client: object, name: str) -> int:
    (found,) = client.getObjects("Dataset", attributes={"name": name})  # type: ignore[attr-defined]
    return int(found.getId())


def _newest(omero: Omero) -> str:
    return max(p.name for p in Path(omero.environment["OMERO_PIXCLF_STATE"]).iterdir() if not p.name.startswith("."))


def _results(client: object, target: str) -> tuple[dict[str, list[str]], list[str]]:
    """Polygons of each image by its name, and the tables' rows without ids."""
    from omero_pixclf.connector.results.tables import read_table
    from omero_pixclf.connector.sessions.session import wrap_client

    with wrap_client(client.c) as session:  # type: ignore[attr-defined]
        ident = int(target.partition(":")[2])
        images = session.query_rows(
            "select l.child.id, l.child.name from DatasetImageLink l where l.parent.id = :d", d=ident
        )
        points = "select s.points from Polygon s where s.roi.image.id = :i"
        shapes = {name: sorted(row[0] for row in session.query_rows(points, i=number)) for number, name in images}
        query = "select a.id from {}AnnotationLink l join l.child a where l.parent.id in (:on) and a.ns = :ns"
        summaries = session.query_ids(
            query.format("Dataset"), on=[ident], ns="openmicroscopy.org/omero/bulk_annotations"
        )
        objects = session.query_ids(query.format("Image"), on=[int(i) for i, _ in images], ns="omero_pixclf/objects")
        tables = []
        for number in sorted({*summaries, *objects}):
            table = read_table(session, number)
            kept = [c for c in table.columns if c.name not in ("Image", "Roi", "Dataset")]
            tables.append(repr(sorted(zip(*(map(repr, c.values.tolist()) for c in kept), strict=True))))
    return shapes, sorted(tables)

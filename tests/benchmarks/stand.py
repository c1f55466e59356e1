"""A test stand: a server in a process of its own, a plate in it, commands run on it, and what then stands in OMERO."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.demo.images import plate_field
from omero_pixclf.image import ArrayReader, ImageInfo

PROGRAM = Path(sys.executable).with_name("omero-pixclf")
PROJECT = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo" / "plate.ilp"
PASSWORD = "stand-root"
COUNTED = (
    "Roi", "Shape", "Image", "Pixels", "Annotation", "ImageAnnotationLink", "PlateAnnotationLink",
    "DatasetAnnotationLink", "OriginalFile", "Dataset", "Plate",
)  # fmt: skip


@dataclass
class Stand:
    """Where the server is, and the environment in which commands find it."""

    folder: Path
    server: subprocess.Popen[str]
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to work as root of this server."""
        return {
            **os.environ,
            "OMERO_HOST": "127.0.0.1",
            "OMERO_PORT": str(self.port),
            "OMERO_USER": "root",
            "OMERO_PASSWORD": PASSWORD,
            "OMERO_USERDIR": str(self.folder / "user"),
            "OMERO_PIXCLF_STATE": str(self.folder / "runs"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command under way, its output kept."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def command(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        """A command's output; raises where it ends with another code."""
        with self.start(*arguments) as process:
            out, err = process.communicate()
        if process.returncode not in codes:
            raise RuntimeError(f"{arguments}: exit {process.returncode}\n{out[-2000:]}\n{err[-4000:]}")
        return out

    def restart(self, *, kill: bool = False) -> None:
        """Stop the server (or kill it), and start it again on the same port."""
        self.server.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        self.server.wait()
        self.server, self.port = _serve(self.folder / "server", self.port)


def _serve(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    server = subprocess.Popen(
        [str(PROGRAM), "embedded", "start", "--folder", str(folder), "--port", str(port)],
        env={**os.environ, "OMERO_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("ready on "):
            return server, int(line.split()[2].rpartition(":")[2])
    raise RuntimeError(f"the server ended with {server.wait()} before it was ready")


@contextmanager
def stand(folder: Path) -> Iterator[Stand]:
    """A server that runs while the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    server, port = _serve(folder / "server", 0)
    made = Stand(folder, server, port)
    try:
        yield made
    finally:
        made.server.send_signal(signal.SIGINT)
        made.server.wait(30)


@contextmanager
def session(at: Stand, *, user: str = "root", password: str = PASSWORD) -> Iterator[Any]:
    """A session of the connector, as root or as somebody else."""
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import connect

    login = Login(host="127.0.0.1", port=at.port, user=user)
    with connect(login, environ={"OMERO_PASSWORD": password}, ask=None) as opened:
        yield opened


def plate(at: Stand, name: str, **extent: int) -> int:
    """A plate of root's (see `plate_as`)."""
    return plate_as(at, name, user="root", password=PASSWORD, **extent)


def plate_as(
    at: Stand,
    name: str,
    *,
    user: str,
    password: str = "",
    rows: int = 8,
    columns: int = 12,
    fields: int = 4,
    side: int = 160,
) -> int:
    """A plate of crops of simulated fields; the same arguments give the same pixels. Returns its id."""
    from omero_pixclf.connector.upload import WellContent, create_plate

    sources = [plate_field(f"A{c + 1}", 50 + f).pixels for c in range(3) for f in range(2)]
    wells = []
    for row in range(rows):
        for column in range(columns):
            readers = []
            for field in range(fields):
                n = (row * columns + column) * fields + field
                y, x = 13 * n % (512 - side), 29 * n % (512 - side)
                pixels = np.ascontiguousarray(sources[n % len(sources)][:, :, y : y + side, x : x + side])
                info = ImageInfo(f"{name} {n}", f"{name} {n}", pixels.shape, "uint16", ("Nuclei", "Cytoplasm"))
                readers.append(ArrayReader(info, pixels))
            wells.append(WellContent(row, column, readers))
    with session(at, user=user, password=password or user) as opened:
        return int(create_plate(opened, name, wells))


def counts(at: Stand) -> dict[str, int]:
    """How many objects of each class the server holds."""
    with session(at) as opened:
        return {kind: int(opened.query_rows(f"select count(o) from {kind} o")[0][0]) for kind in COUNTED}


def results(at: Stand, plate_id: int, *, opened: Any = None, owner: int | None = None) -> dict[str, Any]:
    """All results on a plate and its images, without ids and times: equal for two plates with equal results.

    Those of one owner only, where one is given.
    """
    with nullcontext(opened) if opened is not None else session(at) as opened:
        mine = "" if owner is None else f" and l.details.owner.id = {owner}"
        images = opened.query_rows(
            "select i.id, i.name, w.row, w.column from WellSample s join s.image i join s.well w where w.plate.id = :p",
            p=plate_id,
        )
        order = sorted(images, key=lambda r: int(r[1].rpartition(" ")[2]))
        found = {row[1].rpartition(" ")[2]: _of_image(opened, row[0], mine) for row in order}
        tables = _tables(opened, plate_id, mine)
        links = (
            f"select l.child.ns, count(l) from PlateAnnotationLink l where l.parent.id = :p{mine} group by l.child.ns"
        )
        return {"images": found, "tables": tables, "attached": sorted(map(tuple, opened.query_rows(links, p=plate_id)))}


def _of_image(opened: Any, image: int, mine: str) -> dict[str, Any]:
    query = "select l.name, s.points from Polygon s join s.roi l where l.image.id = :i" + mine
    shapes = opened.query_rows(query, i=image)
    digest = hashlib.sha256(repr(sorted(map(tuple, shapes))).encode()).hexdigest()
    query = (
        f"select a.ns, count(l) from ImageAnnotationLink l join l.child a where l.parent.id = :i{mine} group by a.ns"
    )
    annotations = sorted(map(tuple, opened.query_rows(query, i=image)))
    return {"rois": len(shapes), "digest": digest, "annotations": annotations}


def _tables(opened: Any, plate_id: int, mine: str) -> dict[str, str]:
    """Each table's rows as a digest, without the columns that hold ids."""
    from omero_pixclf.connector.results.tables import read_table

    fields = "select s.image.id from WellSample s where s.well.plate.id = :p"
    of_plate = "select l.child.id from PlateAnnotationLink l where l.parent.id = :p"
    of_images = f"select l.child.id from ImageAnnotationLink l where l.parent.id in ({fields})"
    query = (
        f"select a.ns, a.id from FileAnnotation a where (a.id in ({of_plate}) or a.id in ({of_images})) and "
        "a.ns in ('openmicroscopy.org/omero/bulk_annotations', 'omero_pixclf/objects')"
        f"{mine.replace('l.details', 'a.details')}"
    )
    digests = {}
    for namespace, annotation in opened.query_rows(query, p=plate_id):
        table = read_table(opened, annotation)
        kept = [c for c in table.columns if c.kind in ("long", "double", "bool") or c.name == "Well_Name"]
        rows = sorted(zip(*(map(repr, c.values.tolist()) for c in kept), strict=True))
        key = f"{namespace} {list(digests).count(namespace)}"
        digests[key] = f"{len(table)} rows {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"
    return digests

"""How quick the embedded OMERO is, and whether it holds out: ``python -m tests.benchmarks.embedded [--load MINUTES]``.

Prints a table with the bar of each figure and leaves with 1 where one is missed. Everything happens on the loopback, in
a folder that is gone afterwards.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.clients
import omero.model
from omero.gateway import BlitzGateway
from omero.rtypes import rdouble, rint, rlong, rstring

from tests.benchmarks.embedded_load import Load, under_load

PASSWORD = "benchmark"
PROGRAM = Path(sys.executable).with_name("omero-pixclf")
STARTS, SAVES, READS, PAGES = 5, 5, 60, 40
POLYGONS, SIDE, MANY, BATCH, PAGE = 1000, 2048, 100_000, 2000, 500
MOST_MINUTES = 30.0


@dataclass(frozen=True)
class Figure:
    """A measured number and the bar it has to clear."""

    name: str
    median: float
    worst: float
    unit: str
    bar: float
    at_least: bool = False
    client_s: float | None = None  # processor time per call of the client alone, where it was taken

    @property
    def holds(self) -> bool:
        return self.median >= self.bar if self.at_least else self.median < self.bar

    def line(self) -> str:
        sign, verdict = (">=" if self.at_least else "<"), ("ok" if self.holds else "MISSED")
        own = "" if self.client_s is None else f", {1000 * self.client_s:.0f} ms of it the client's own work"
        numbers = f"{self.median:>9.3f} {self.worst:>9.3f} {self.unit:<5} {sign:>2} {self.bar:<6g}"
        return f"{self.name:<52} {numbers} {verdict}{own}"


def spread(
    name: str, values: list[float], unit: str, bar: float, *, at_least: bool = False, client_s: float | None = None
) -> Figure:
    worst = min(values) if at_least else max(values)
    return Figure(name, statistics.median(values), worst, unit, bar, at_least, client_s)


# ---- the server --------------------------------------------------------------------------------------------------
@contextmanager
def served(folder: Path) -> Any:
    """A server process on a free port; yields the port and the seconds until it said that it is ready."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(PROGRAM), "embedded", "start", "--folder", str(folder), "--port", "0"],
        env={"PATH": "/usr/bin:/bin", "OMERO_PASSWORD": PASSWORD, "HOME": str(folder.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = ""
        while "ready on" not in line:
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the server did not start")
        seconds = time.monotonic() - begun
        yield int(line.split("ready on ")[1].split()[0].rpartition(":")[2]), seconds
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def ready_times(folder: Path) -> list[float]:
    """Seconds until clients can connect: a new folder each time."""
    found = []
    for number in range(STARTS):
        with served(folder / f"start-{number}") as (_, seconds):
            found.append(seconds)
    return found


def timed(action: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        found.append(time.perf_counter() - begun)
    return found


# ---- what is asked of it -----------------------------------------------------------------------------------------
def polygon(image: int, seed: int) -> Any:
    """A ROI with an outline of 30 corners."""
    angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    x, y = seed % 2000 + 9 * np.cos(angles), seed // 2000 + 9 * np.sin(angles)
    roi, shape = omero.model.RoiI(), omero.model.PolygonI()
    shape.points = rstring(" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)))
    shape.theZ, shape.theT, shape.fillColor = rint(0), rint(0), rint(-256)
    roi.image = omero.model.ImageI(image, False)
    roi.addShape(shape)
    return roi


def rectangle(image: int, seed: int) -> Any:
    roi, shape = omero.model.RoiI(), omero.model.RectangleI()
    for name, value in (("x", seed % 2000), ("y", seed // 2000), ("width", 5.0), ("height", 7.0)):
        setattr(shape, name, rdouble(value))
    roi.image = omero.model.ImageI(image, False)
    roi.addShape(shape)
    return roi


def polygons_saved(gateway: BlitzGateway, image: int) -> list[float]:
    update, found = gateway.c.sf.getUpdateService(), []
    for _ in range(SAVES):
        rois = [polygon(image, i) for i in range(POLYGONS)]
        begun = time.perf_counter()
        update.saveAndReturnIds(rois)
        found.append(time.perf_counter() - begun)
    return found


def planes_read(gateway: BlitzGateway, pixels: int, way: str) -> Figure:
    """MB/s of an open store, one plane a call."""
    store = gateway.c.sf.createRawPixelsStore()
    store.setPixelsId(pixels, True)
    size = SIDE * SIDE * 2 / 1e6
    store.getPlane(0, 0, 0)
    begun = time.process_time()
    found = [size / seconds for seconds in timed(lambda: store.getPlane(0, 0, 0), READS)]
    own = (time.process_time() - begun) / READS
    store.close()
    return spread(f"{SIDE} x {SIDE} uint16 plane read, {way}", found, "MB/s", 500, at_least=True, client_s=own)


def pages_queried(gateway: BlitzGateway, image: int) -> Figure:
    """Seconds for a page of ROIs with their shapes, from places all over an image with very many."""
    update, query = gateway.c.sf.getUpdateService(), gateway.c.sf.getQueryService()
    for first in range(0, MANY, BATCH):
        update.saveAndReturnIds([rectangle(image, i) for i in range(first, first + BATCH)])
    hql = "select r from Roi r join fetch r.shapes where r.image.id = :id order by r.id"

    def page(number: int) -> None:
        parameters = omero.sys.ParametersI()
        parameters.map = {"id": rlong(image)}
        parameters.page(number * PAGE, PAGE)
        found = query.findAllByQuery(hql, parameters)
        assert len(found) == PAGE, len(found)

    numbers = np.random.default_rng(1).integers(0, MANY // PAGE, PAGES).tolist()
    begun = time.process_time()
    found = [timed(lambda n=n: page(n), 1)[0] for n in numbers]
    own = (time.process_time() - begun) / PAGES
    return spread(f"page of {PAGE} ROIs with shapes, of {MANY} in the image", found, "s", 0.2, client_s=own)


def connected(port: int, *, secure: bool) -> BlitzGateway:
    """Root's gateway; without ``secure``, its default, only the login is encrypted."""
    gateway = BlitzGateway("root", PASSWORD, host="127.0.0.1", port=port, secure=secure)
    if not gateway.connect():
        raise SystemExit("cannot log in")
    return gateway


def measured(folder: Path, minutes: float) -> tuple[list[Figure], Load | None]:
    """All figures, the load last."""
    figures = [spread("ready for clients, new folder", ready_times(folder), "s", 1.5)]
    with served(folder / "data") as (port, _):
        gateway, unencrypted = connected(port, secure=True), connected(port, secure=False)
        plane = np.random.default_rng(2).integers(0, 4000, (SIDE, SIDE)).astype(np.uint16)
        image = gateway.createImageFromNumpySeq(iter([plane]), "plane")
        ident, pixels = image.getId(), image.getPixelsId()
        figures.append(
            spread(f"{POLYGONS} polygons of 30 corners saved in one call", polygons_saved(gateway, ident), "s", 1.0)
        )
        figures.append(planes_read(gateway, pixels, "SSL"))
        figures.append(planes_read(unencrypted, pixels, "as gateways default"))
        crowded = gateway.createImageFromNumpySeq(iter([plane[:8, :8]]), "crowded").getId()
        figures.append(pages_queried(gateway, crowded))
        gateway.close()
        unencrypted.close()
        return figures, under_load(port, PASSWORD, minutes) if minutes else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, default=0.0, metavar="MINUTES", help="8 clients at once for so long")
    minutes = min(parser.parse_args().load, MOST_MINUTES)
    with tempfile.TemporaryDirectory(prefix="omero-benchmark-") as folder:
        figures, load = measured(Path(folder), minutes)
    print(f"{'':<52} {'median':>9} {'worst':>9}")
    for figure in figures:
        print(figure.line())
    if load is not None:
        print(load.report())
    return 0 if all(figure.holds for figure in figures) and (load is None or load.holds) else 1


if __name__ == "__main__":
    sys.exit(main())

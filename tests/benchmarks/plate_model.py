"""Measured stage rates, and what they predict for a plate of 384 wells with 1 to 64 workers.

python -m tests.benchmarks.plate_model [--wells 384 --fields 9 --times 50 --side 1080] [--network 110e6]

Assumptions
- Each worker has a core of its own, computes with one thread and overlaps its stages (three images on their way), so
  that in the long run it is as fast as its slowest stage; the server has other cores than the workers.
- R images are read and W written at a time on one server, whatever the number of workers (defaults: 3 and 1), and each
  of these streams is as fast as one alone is here, until the network's rate (bytes per second) is reached.
- Reading and computing cost by the pixel, writing by the object and by the image; planes of the plate look like the
  simulated fields that the rates come from (objects per pixel, channels).
- Starting a worker costs what it costs here, once; the container is finished at the end, by one process.
- Where whole images would keep some workers waiting for the others, images are cut into pieces, as the program does: at
  the end workers then wait for one block, not for one image; storing an image stays with one worker, and reading what
  lies around blocks is not counted (fields of this size are cut along t, where there is nothing).
Not in it: failures, other users of the server, database growth, memory bandwidth shared by many workers of one machine.
The rates are those of the embedded server on this machine; a real server's are better for reading, see --network.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path

from omero_pixclf.app.backends import open_source_and_sink
from omero_pixclf.config import load_recipe
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.provenance import RunRecord, utc_now
from omero_pixclf.runs.blocks.array import choose_grid
from omero_pixclf.runs.blocks.block_plan import MAX_IMBALANCE
from omero_pixclf.runs.blocks.stages import process_task
from omero_pixclf.runs.execution.concurrency import READERS, WRITERS, StageLimits
from omero_pixclf.runs.image import ProcessingContext
from omero_pixclf.runs.state.image_files import ImageFiles
from tests.benchmarks.scaling import large_plate
from tests.benchmarks.stand import PROJECT, Stand, session, stand

WORKERS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Rates:
    """Seconds of one thread or stream: per pixel (all channels) read and computed, per image and object written."""

    read: float
    compute: float
    write_image: float
    write_object: float
    objects: float
    start: float


@dataclass(frozen=True)
class Plate:
    """How many images; pixels, bytes and blocks of each."""

    images: int
    pixels: int
    size: int
    blocks: int


def measured(at: Stand) -> Rates:
    """Work on small and on large images, one by one with one thread, and time each stage."""
    small, large = _stages(at, 1), _stages(at, 4)
    per_object = (large["write"] - small["write"]) / max(1.0, large["objects"] - small["objects"])
    per_image = small["write"] - per_object * small["objects"]
    if per_image < 0:  # lost in the noise of the small images
        per_image, per_object = 0.0, large["write"] / max(1.0, large["objects"])
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import omero_pixclf.runs.image, omero_pixclf.connector.results.sink"], check=True
    )
    return Rates(
        large["read"] / large["pixels"],
        large["compute"] / large["pixels"],
        per_image,
        per_object,
        large["objects"] / large["pixels"],
        time.monotonic() - begin,
    )


def _stages(at: Stand, tiles: int) -> dict[str, float]:
    """Means over the images of a plate."""
    number = large_plate(at, 2, 2, tiles)
    recipe = load_recipe(None, {"classifier.project": str(PROJECT), "objects.min_size": 40})
    project = read_project(PROJECT)
    spent = {"read": 0.0, "compute": 0.0, "write": 0.0}
    record = RunRecord(f"model{number}", "", "m", "h", "", project.name, project.sha256, "0", utc_now())
    with (
        session(at) as opened,
        tempfile.TemporaryDirectory() as folder,
        open_source_and_sink(opened, recipe.output) as (source, sink),
    ):
        (Path(folder) / "images").mkdir()
        limits = StageLimits(*(lambda stage=stage: _timed(spent, stage) for stage in spent))
        files = ImageFiles(Path(folder))
        context = ProcessingContext(source, sink, recipe, project, record, files, utc_now, threads=1, limits=limits)
        images = list(source.images([f"Plate:{number}"]))
        found = sum(sum(process_task(image, context).values()) for image in images[1:])
        spent = dict.fromkeys(spent, 0.0) | spent
    count = len(images) - 1
    pixels = prod(images[0].shape[:4])
    return {**{k: v / count for k, v in spent.items()}, "objects": found / count, "pixels": float(pixels)}


@contextmanager
def _timed(spent: dict[str, float], stage: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    spent[stage] += time.monotonic() - start


def predicted(rates: Rates, plate: Plate, workers: int, network: float) -> tuple[float, str]:
    """Seconds for a plate, and the stage that sets the pace."""
    objects = rates.objects * plate.pixels
    read, compute = rates.read * plate.pixels, rates.compute * plate.pixels
    write = rates.write_image + rates.write_object * objects
    pace = {
        "computing": compute / workers,
        "reading (server's streams)": read / min(READERS, workers * 3),
        "reading (network)": plate.size / network,
        "writing (one writer)": write / WRITERS,
        "one worker's turns": (read + compute + write) / (3 * workers),
    }
    slowest = max(pace, key=lambda name: pace[name])
    uneven = ceil(plate.images / workers) > (1 + MAX_IMBALANCE) * plate.images / workers
    cut = workers > 1 and plate.blocks > 1 and uneven
    last = (read + compute) / (plate.blocks if cut else 1) + write  # after which nobody has anything left to do
    if not cut and workers > plate.images:
        return rates.start + read + compute + write, "too few images"
    return rates.start + last + plate.images * pace[slowest], slowest


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--wells", 384), ("--fields", 9), ("--times", 50)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--side", type=int, default=1080, help="pixels along y and x of a field")
    parser.add_argument("--network", type=float, default=110e6, help="bytes per second between server and workers")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        rates = measured(at)
    print(f"reading    {1e-6 / rates.read:8.1f} megapixels per second and stream (2 channels, uint16)")
    print(f"computing  {1e-6 / rates.compute:8.1f} megapixels per second and thread")
    print(
        f"writing    {rates.write_image:8.3f} s per image + {1 / max(rates.write_object, 1e-9):.0f} objects per second"
    )
    print(f"objects    {rates.objects * 1e6:8.0f} per megapixel;  starting a worker {rates.start:.1f} s")
    pixels = wanted.side**2 * wanted.times
    blocks = len(choose_grid((wanted.times, 1, wanted.side, wanted.side), deep=False))
    whole = Plate(wanted.wells * wanted.fields, pixels, pixels * 3 * 2, blocks)
    per_channel = replace(rates, read=rates.read * 3 / 2, compute=rates.compute * 3 / 2)
    print(
        f"{wanted.wells} wells x {wanted.fields} fields x 3 channels x {wanted.times} time points of "
        f"{wanted.side} x {wanted.side}:"
    )
    print(f"{'workers':>7} {'hours':>8} {'efficiency':>10}  bottleneck")
    one = predicted(per_channel, whole, 1, wanted.network)[0]
    for workers in WORKERS:
        seconds, slowest = predicted(per_channel, whole, workers, wanted.network)
        print(f"{workers:>7} {seconds / 3600:8.1f} {one / seconds / workers:10.2f}  {slowest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One large image over several workers with little memory: time, peak of each process, and that results are equal.

python -m tests.benchmarks.large_image [--side 30000 --workers 2 --memory 2G] [--compare] [--omero]

The image (two channels of 16 bits, simulated fields side by side) is made band by band, as an OME-Zarr in a folder, or
with ``--omero`` in the embedded server; it needs about 40 bytes of disk for each pixel while the run lasts.
``--memory`` is for each worker. ``--compare`` does the same by one process, whole where memory allows, and compares all
files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import parse_size
from omero_pixclf.demo.images import plate_field
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.benchmarks.scaling import watched
from tests.benchmarks.stand import PROJECT, Stand, session, stand

CHANNELS = ("Nuclei", "Cytoplasm")


@dataclass(frozen=True)
class Mosaic:
    """A large image of fields of 512 x 512 that are laid where they are asked for (`omero_pixclf.image.PixelArray`)."""

    side: int
    fields: tuple[NDArray[Any], ...]

    @property
    def dtype(self) -> Any:
        """Of the fields."""
        return self.fields[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in ``(t, z, y, x, c)``."""
        return (1, 1, self.side, self.side, len(CHANNELS))

    def __getitem__(self, place: Any, /) -> NDArray[Any]:
        rows, columns, channels = place[2], place[3], place[4]
        out = np.empty((1, 1, rows.stop - rows.start, columns.stop - columns.start, len(CHANNELS)), np.uint16)
        for y in range(rows.start // 512 * 512, rows.stop, 512):
            for x in range(columns.start // 512 * 512, columns.stop, 512):
                field = self.fields[(7 * (y // 512) + 3 * (x // 512)) % len(self.fields)]
                top, left = max(y, rows.start), max(x, columns.start)
                bottom, right = min(y + 512, rows.stop), min(x + 512, columns.stop)
                there = out[0, 0, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
                there[:] = field[top - y : bottom - y, left - x : right - x]
        return out[..., channels]


def mosaic(side: int) -> Mosaic:
    """The image of that many pixels along y and x."""
    return Mosaic(side, tuple(plate_field(f"A{n % 3 + 1}", 50 + n).pixels[0, 0] for n in range(6)))


@dataclass(frozen=True)
class Way:
    """A run: on what, how, and where its results are."""

    target: str
    options: tuple[str, ...]
    out: Path | None

    def command(self) -> list[str]:
        """For `omero-pixclf`."""
        wanted = ["--project", str(PROJECT), "--min-size", "40", "--threads", "1", "--json"]
        where = ["--out", str(self.out), "--labels", "zarr"] if self.out else []
        return ["run", self.target, *wanted, *where, *self.options]


def tried(at: Stand, way: Way, name: str) -> None:
    """Do it, and tell time and peaks."""
    seconds, watches, texts = watched(at, [way.command()])
    last = json.loads(texts[0].splitlines()[-1])
    counts = [json.loads(line).get("objects") for line in texts[0].splitlines()]
    peaks = sorted((kilobytes / 1024 for kilobytes in watches[0].peaks.values()), reverse=True)
    cpu = sum(watches[0].seconds.values())
    said = ", ".join(f"{peak:.0f}" for peak in peaks if peak > 50)
    found = next(filter(None, counts), "")
    print(f"{name:<24} {seconds:8.1f} s wall {cpu:8.1f} s processor, {last.get('done')} done: {found}")
    print(f"{'':<24} peak MB of each process: {said}", flush=True)


def digests(out: Path) -> dict[str, str]:
    """Labels, outlines and tables, by what their files hold."""
    wanted = [p for p in out.rglob("*") if p.is_file() and ".runs" not in p.parts and _counts(p)]
    return {_place(p, out): hashlib.sha256(p.read_bytes()).hexdigest() for p in wanted}


def _counts(path: Path) -> bool:
    return path.suffix in (".csv", ".geojson") or any(part.endswith(".zarr") for part in path.parts)


def _place(path: Path, out: Path) -> str:
    """Without the run's own folder."""
    parts = path.relative_to(out).parts
    return "/".join((*parts[:2], *parts[3:]))


def on_files(at: Stand, wanted: argparse.Namespace) -> bool:
    """From an OME-Zarr to a folder."""
    image = at.folder / "image.zarr"
    start = time.monotonic()
    save_image(image, mosaic(wanted.side), channels=CHANNELS)
    print(f"{wanted.side} x {wanted.side} x {len(CHANNELS)} made in {time.monotonic() - start:.0f} s", flush=True)
    total = str(parse_size(wanted.memory) * wanted.workers)
    shared = Way(str(image), ("--workers", str(wanted.workers), "--memory", total), at.folder / "shared")
    tried(at, shared, f"{wanted.workers} workers")
    if not wanted.compare:
        return True
    alone = Way(str(image), ("--workers", "1"), at.folder / "alone")
    tried(at, alone, "one process")
    one, other = digests(at.folder / "alone"), digests(at.folder / "shared")
    print(f"{'yes' if one == other else 'NO':<4} {len(one)} files of results are equal")
    return one == other and bool(one)


def in_omero(at: Stand, wanted: argparse.Namespace) -> bool:
    """From the embedded server to the embedded server."""
    from omero_pixclf.connector.upload import create_container, upload_image

    start = time.monotonic()
    pixels = mosaic(wanted.side)
    t, z, y, x, c = pixels.shape
    info = ImageInfo("large", "large", (t, z, y, x, c), "uint16", CHANNELS)
    with session(at) as opened:
        dataset = create_container(opened, "Dataset", "large")
        upload_image(opened, ArrayReader(info, pixels), dataset=dataset)
    print(f"{wanted.side} x {wanted.side} x {len(CHANNELS)} uploaded in {time.monotonic() - start:.0f} s", flush=True)
    total = str(parse_size(wanted.memory) * wanted.workers)
    options = ("--workers", str(wanted.workers), "--memory", total)
    tried(at, Way(f"Dataset:{dataset}", options, None), f"{wanted.workers} workers, OMERO")
    return True


def main() -> int:
    """Carry it out; 1 where results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="2G", help="for each worker")
    parser.add_argument("--compare", action="store_true", help="with the results of one process")
    parser.add_argument("--omero", action="store_true", help="in the embedded server instead of a folder")
    parser.add_argument("--scratch", type=Path, help="where to put all of it (default: the system's temporary folder)")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.scratch) as scratch, stand(Path(scratch)) as at:
        return 0 if (in_omero if wanted.omero else on_files)(at, wanted) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The same images read through the server and straight from its files, in turns; then whole runs both ways.

python -m tests.benchmarks.direct [--rounds 7 --images 6 --side 1024] [--runs 3]

Each kind of file holds the same simulated images, and lies below a folder that stands for the mounted repository. What
is timed is what a run does with an image: open it, compare the places that are looked at, read all pixels. The files
are in the machine's cache, and the server is the embedded one on the same machine: on a real network and a real server
both sides differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.demo.images import plate_field
from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.image import ArrayReader, ImageInfo, Region
from omero_pixclf.pixel_location import PixelLocation, StoredFile
from tests.benchmarks.stand import PROJECT, Stand, results, session, stand

ROOT = "/OMERO/ManagedRepository"


def image_of(side: int, number: int) -> NDArray[Any]:
    """Simulated fields laid side by side, ``(t, z, y, x, c)``."""
    tiles = -(-side // 512)
    return np.tile(plate_field(f"A{number % 3 + 1}", number).pixels, (1, 1, tiles, tiles, 1))[:, :, :side, :side]


def write_planes(folder: Path, name: str, pixels: NDArray[Any]) -> PixelLocation:
    """As OMERO keeps what was uploaded."""
    path = folder / "Pixels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pixels.transpose(0, 4, 1, 2, 3).astype(pixels.dtype.newbyteorder(">")).tobytes())
    return PixelLocation("planes", StoredFile(f"Pixels/{name}"), roots=(ROOT,))


def write_tiff(folder: Path, name: str, pixels: NDArray[Any], **options: Any) -> PixelLocation:
    """As most images are imported."""
    import tifffile

    path = folder / f"{name}.ome.tif"
    tifffile.imwrite(path, pixels.transpose(0, 4, 1, 2, 3), metadata={"axes": "TCZYX"}, **options)
    return PixelLocation("fileset", StoredFile(path.name, ROOT, path.stat().st_size), roots=(ROOT,))


def write_zarr(folder: Path, name: str, pixels: NDArray[Any]) -> PixelLocation:
    """OME-Zarr 0.4, chunks of 1024 x 1024, Blosc."""
    import zarr
    from numcodecs import Blosc

    group = folder / f"{name}.zarr"
    group.mkdir()
    turned = pixels.transpose(0, 4, 1, 2, 3)
    array = zarr.create_array(
        store=str(group / "0"), shape=turned.shape, chunks=(1, 1, 1, 1024, 1024), dtype=turned.dtype, zarr_format=2,
        compressors=Blosc(), chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    array[:] = turned
    axes = [{"name": key} for key in "tczyx"]
    content = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}]}
    (group / ".zattrs").write_text(json.dumps(content))
    return PixelLocation("multiscales", StoredFile(f"{ROOT}/{group.name}"), roots=(ROOT,))


KINDS: dict[str, Callable[..., PixelLocation]] = {
    "planes": write_planes,
    "OME-TIFF": write_tiff,
    "OME-TIFF, deflate": lambda *args: write_tiff(*args, compression="zlib", tile=(256, 256)),
    "OME-Zarr, Blosc": write_zarr,
}


def reading(at: Stand, images: int, side: int, rounds: int) -> None:
    """Tell the median time of an image through the server and from each kind of file, taken in turns."""
    from omero_pixclf.connector.source import OmeroSource
    from omero_pixclf.connector.upload import create_container, upload_image

    contents = [image_of(side, n) for n in range(images)]
    with session(at) as opened, tempfile.TemporaryDirectory() as scratch:
        dataset = create_container(opened, "Dataset", "direct")
        for n, pixels in enumerate(contents):
            info = ImageInfo(f"{n}", f"{n}", pixels.shape, pixels.dtype.name, ("a", "b"))
            upload_image(opened, ArrayReader(info, pixels), dataset=dataset)
        served = OmeroSource(opened)
        infos = list(served.images([f"Dataset:{dataset}"]))
        sources: dict[str, Callable[[], Any]] = {"through the server": lambda: served}
        for kind, write in KINDS.items():
            folder = Path(scratch) / kind
            folder.mkdir()
            places = {i.key: write(folder, i.key[6:], p) for i, p in zip(infos, contents, strict=True)}
            # A new one each time: what it has looked at once it does not look at again.
            sources[kind] = partial(DirectSource, served, places_of(places), DirectSettings((Mount(folder),)))
        spent: dict[str, list[float]] = {kind: [] for kind in sources}
        for turn in range(rounds + 1):
            for kind, make in sources.items():
                source = make()
                seconds = [timed(source, info, pixels) for info, pixels in zip(infos, contents, strict=True)]
                if isinstance(source, DirectSource):
                    assert source.tally.direct == images, f"{kind}: {source.tally}"
                if turn:  # the first is for caches
                    spent[kind] += seconds
        _tell(spent, contents[0].nbytes)


def places_of(places: dict[str, PixelLocation]) -> Callable[[ImageInfo], PixelLocation]:
    """What a server would say."""
    return lambda image: places[image.key]


def timed(source: Any, info: ImageInfo, expected: NDArray[Any]) -> float:
    """Seconds to read an image, which must be as expected."""
    start = time.perf_counter()
    with source.open(info) as reader:
        found = reader.read(Region.whole(info.shape))
    seconds = time.perf_counter() - start
    assert np.array_equal(found, expected), f"{info.key}: other pixels"
    return seconds


def _tell(spent: dict[str, list[float]], size: int) -> None:
    of = f"images of {size / 1e6:.1f} MB"
    print(f"{of:<24} {'median ms':>10} {'quartiles':>16} {'MB/s':>8} {'ratio':>6}")
    base = statistics.median(spent["through the server"])
    for kind, seconds in spent.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        between = f"{low * 1e3:.1f}-{high * 1e3:.1f}"
        print(f"{kind:<24} {middle * 1e3:10.1f} {between:>16} {size / 1e6 / middle:8.0f} {base / middle:6.2f}")


def runs(at: Stand, rounds: int) -> bool:
    """Whole runs in turns over plates with equal pixels; whether all results are equal."""
    from tests.benchmarks.scaling import large_plate

    base = ["--project", str(PROJECT), "--min-size", "40", "--json"]
    spent: dict[str, list[float]] = {"through the server": [], "straight from files": []}
    found = []
    for _ in range(rounds):
        for way, seconds in spent.items():
            number = large_plate(at, 2, 3, 2)
            options = ["--direct", str(at.folder / "server")] if way != "through the server" else []
            start = time.perf_counter()
            at.command("run", f"Plate:{number}", *base, *options)
            seconds.append(time.perf_counter() - start)
            found.append(results(at, number))
    for way, seconds in spent.items():
        listed = ", ".join(f"{s:.1f}" for s in seconds)
        print(f"run, {way:<20} median {statistics.median(seconds):6.1f} s ({listed})")
    equal = all(f == found[0] for f in found)
    print(f"{'yes' if equal else 'NO':<4} results are equal")
    return equal


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry it out; 1 where results differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rounds", 7), ("--images", 6), ("--side", 1024), ("--runs", 3)):
        parser.add_argument(name, type=int, default=default)
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        reading(at, wanted.images, wanted.side, wanted.rounds)
        return 0 if not wanted.runs or runs(at, wanted.runs) else 1


if __name__ == "__main__":
    sys.exit(main())

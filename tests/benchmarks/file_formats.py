"""What libraries do for file formats, against what the program does itself or did before: time, memory, size.

``python -m tests.benchmarks.file_formats png``   PNG by imagecodecs, by Pillow, and by bands through zlib
``python -m tests.benchmarks.file_formats tiff``  TIFF pages by `TiffPagesReader` and by tifffile's zarr store
"""

from __future__ import annotations

import argparse
import logging
import struct
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import ImageError
from omero_pixclf.files.decoder_warnings import raise_decoder_warnings
from omero_pixclf.files.tiff.tiff_pages import TiffPagesReader


def private_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


@contextmanager
def measured(figures: dict[str, float]) -> Iterator[None]:
    """Add the seconds of the context and the growth of private memory in MiB to ``figures``."""
    before, ended, peak = private_memory(), threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(0.002):
            peak[0] = max(peak[0], private_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        yield
    finally:
        figures["seconds"] = time.perf_counter() - started
        ended.set()
        watcher.join()
        figures["MiB"] = max(0, peak[0] - before) / 2**20


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    figures: dict[str, float] = {}
    with measured(figures):
        found = call()
    return found, figures


def picture(kind: str, path: Path, side: int) -> Any:
    """A mapped square picture: a segmentation, a smooth image with noise, or noise of 16 bits."""
    dtype = np.uint16 if kind == "noise" else np.uint8
    pixels: Any = np.memmap(path, dtype=dtype, mode="w+", shape=(side, side))
    random = np.random.default_rng(0)
    for top in range(0, side, 500):
        y, x = np.mgrid[top : min(side, top + 500), 0:side]
        if kind == "segmentation":
            pixels[top : top + 500] = 1 + ((y // 97 + x // 131) % 3 == 0)
        elif kind == "smooth":
            waves = 127 + 60 * np.sin(y / 50) + 60 * np.cos(x / 70)
            pixels[top : top + 500] = (waves + random.normal(0, 2, y.shape)).clip(0, 255)
        else:
            pixels[top : top + 500] = random.integers(100, 1500, y.shape)
    pixels.flush()
    del pixels
    return np.memmap(path, dtype=dtype, mode="r", shape=(side, side))


def write_by_bands(path: Path, pixels: Any) -> None:
    """A grey PNG through zlib, 4 MiB at a time, without filters: the program's own writer until version 0.1."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(6), max(1, (4 << 20) // pixels[0].nbytes)
    with path.open("wb") as file:
        head = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), pixels.dtype.itemsize * 8, 0, 0, 0, 0)
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head))
        for top in range(0, len(pixels), rows):
            band = pixels[top : top + rows].astype(pixels.dtype.newbyteorder(">")).view(np.uint8)
            file.write(chunk(b"IDAT", packer.compress(np.insert(band, 0, 0, axis=1).tobytes())))
        file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))


def compare_png(folder: Path, side: int) -> None:
    """Print how long writing and reading take, the memory that each takes, and the sizes of the files."""
    import imagecodecs
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    file = folder / "a.png"
    print(f"{side} x {side}; write: seconds, private memory, size; read: seconds by imagecodecs and by Pillow")
    for kind in ("segmentation", "smooth", "noise"):
        pixels = picture(kind, folder / f"{kind}.raw", side)
        ways: dict[str, Callable[[], Any]] = {"bands": lambda p=pixels: write_by_bands(file, p)}  # type: ignore[misc]
        for level in (1, 3, 6):
            name = f"imagecodecs {level}"
            ways[name] = lambda p=pixels, n=level: file.write_bytes(  # type: ignore[misc]
                imagecodecs.png_encode(p, level=n)
            )
        for name, way in ways.items():
            _, writing = timed(way)
            decoded, reading = timed(lambda: imagecodecs.png_decode(file.read_bytes()))
            assert np.array_equal(decoded, pixels)
            del decoded
            _, pillow = timed(lambda: np.asarray(Image.open(file)))
            size = file.stat().st_size / 2**20
            print(
                f"{kind:13} {name:14} {writing['seconds']:6.2f} s {writing['MiB']:6.0f} MiB {size:7.2f} MiB   "
                f"{reading['seconds']:5.2f} s {pillow['seconds']:5.2f} s"
            )


def blocks(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    """Regions of one plane and ``side`` pixels along y and x, row by row."""
    count, height, width = shape
    for z, top, left in product(range(count), range(0, height, side), range(0, width, side)):
        yield slice(z, z + 1), slice(top, min(top + side, height)), slice(left, min(left + side, width))


def read_blocks(path: Path, pixels: Any, side: int, way: str) -> float:
    """CPU seconds of reading all blocks of a file, each compared with what was written."""
    import tifffile
    import zarr

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        if way == "zarr":
            stored = zarr.open_array(series.aszarr(), mode="r")
            read: Callable[[tuple[slice, ...]], Any] = lambda part: stored[part]  # noqa: E731
        else:
            read = TiffPagesReader(path, series).read
        started = time.process_time()
        for part in blocks(pixels.shape, side):
            assert np.array_equal(read(part), pixels[part])
        return time.process_time() - started


def write_set(folder: Path, plane: Any, count: int) -> Path:
    """An OME-TIFF image of a time series, each time point in a file of its own; returns the first file."""
    import tifffile

    names = [f"t{number}.ome.tif" for number in range(count)]
    known = {name: f"urn:uuid:{uuid.uuid4()}" for name in names}
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{known[name]}</UUID></TiffData>'
        for t, name in enumerate(names)
    )
    for name in names:
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{known[name]}"><Image ID="Image:0">'
            f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{plane.dtype}" SizeX="{plane.shape[1]}" SizeY="'
            f'{plane.shape[0]}" SizeZ="1" SizeC="1" SizeT="{count}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / name, plane, description=xml, metadata=None, compression="zlib")
    return folder / names[0]


def is_warning_refused(path: Path, way: str) -> bool:
    """Whether a warning that a decoder logs while a part of a file is read becomes an error."""
    import tifffile
    import zarr

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        decode, part = series.keyframe.decode, (slice(0, 1), slice(0, 64), slice(0, 64))

        def warn(*arguments: Any, **options: Any) -> Any:
            logging.getLogger("tifffile").warning("pixels may be lost")
            return decode(*arguments, **options)

        series.keyframe.__dict__["decode"] = warn
        try:
            with raise_decoder_warnings(path):
                if way == "zarr":
                    zarr.open_array(series.aszarr(), mode="r")[part]
                else:
                    TiffPagesReader(path, series).read(part)
        except ImageError:
            return True
    return False


def compare_tiff(folder: Path, side: int) -> None:
    """Print CPU times of reading blocks, open files of a set, and whether decoders' warnings become errors."""
    import tifffile
    import zarr

    pixels = np.random.default_rng(0).integers(0, 200, (2, side, side)).astype(np.uint16)
    layouts: dict[str, dict[str, Any]] = {
        "tiles of 256": {"tile": (256, 256)},
        "strips of 64 rows": {"rowsperstrip": 64},
        "one strip": {"rowsperstrip": side},
    }
    for layout, options in layouts.items():
        path = folder / "a.tif"
        tifffile.imwrite(path, pixels, compression="zlib", photometric="minisblack", **options)
        for block in (512, 1024):
            own, by_zarr = (read_blocks(path, pixels, block, way) for way in ("own", "zarr"))
            print(f"{layout:18} blocks of {block:4}: own {own:5.2f} s, zarr {by_zarr:5.2f} s of CPU")
    for way in ("own", "zarr"):
        print(f"a decoder's warning is an error: {way} {is_warning_refused(folder / 'a.tif', way)}")
    first = write_set(folder, pixels[0, :64, :64], 300)
    for way in ("own", "zarr"):
        with tifffile.TiffFile(first) as tiff:
            series, before = tiff.series[0], len(list(Path("/proc/self/fd").iterdir()))
            if way == "own":
                found = TiffPagesReader(first, series).read((slice(0, 300), slice(0, 64), slice(0, 64)))
            else:
                found = zarr.open_array(series.aszarr(), mode="r")[:]
            assert np.array_equal(found, np.broadcast_to(pixels[0, :64, :64], (300, 64, 64)))
            print(f"set of 300 files: {way} leaves {len(list(Path('/proc/self/fd').iterdir())) - before} open")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["png", "tiff"])
    parser.add_argument("--side", type=int, help="pixels along each side of a picture (png: 6000, tiff: 3072)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "png":
            compare_png(Path(folder), given.side or 6000)
        else:
            compare_tiff(Path(folder), given.side or 3072)


if __name__ == "__main__":
    main()

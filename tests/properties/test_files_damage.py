"""Whatever is cut off a file or changed in it: the same pixels or an error of the program's own, never other pixels."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from omero_pixclf.errors import ImageError, PixclfError
from omero_pixclf.files.opening import open_image
from omero_pixclf.folder.backend import FolderSource
from omero_pixclf.image import Region
from tests.unit.files.test_several_images import image, write_plate, write_series, zipped

RNG = np.random.default_rng(11)
STACK = RNG.integers(0, 60000, (3, 2, 30, 40), dtype="uint16")
PLANE, COLOUR = STACK[0, 0], RNG.integers(0, 255, (30, 40, 3), dtype="uint8")
ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3
needs_zarr_3 = pytest.mark.skipif(not ZARR_3, reason="zarr 2 writes neither version 3 nor shards")


def tiff(pixels: np.ndarray, **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def hdf5(**options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=STACK, **options)

    return write


def picture(pixels: np.ndarray, **options: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).save(path, **options)


def pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(PLANE, subifds=1, tile=(16, 16), compression="zlib")
        writer.write(PLANE[::2, ::2], subfiletype=1, tile=(16, 16), compression="zlib")


IMAGEJ, OME = {"imagej": True, "metadata": {"axes": "TZYX"}}, {"ome": True, "metadata": {"axes": "TZYX"}}
PLAIN = {"photometric": "minisblack", "metadata": None}
FILES: dict[str, Callable[[Path], None]] = {
    "imagej.tif": tiff(STACK, **IMAGEJ),
    "imagej_packed.tif": tiff(STACK, **IMAGEJ, compression="zlib"),
    "a.ome.tif": tiff(STACK, **OME),
    "tiled.ome.tif": tiff(STACK, **OME, tile=(16, 16), compression="zlib"),
    "pyramid.ome.tif": pyramid,
    "shaped.tif": tiff(STACK, photometric="minisblack"),
    "plain.tif": tiff(STACK, **PLAIN),
    "plain_strips.tif": tiff(STACK, **PLAIN, compression="zlib", rowsperstrip=7),
    "big.tif": tiff(STACK, **PLAIN, bigtiff=True, rowsperstrip=7),
    "colour.tif": tiff(COLOUR, photometric="rgb"),
    "libtiff.tif": picture(PLANE),
    "a.png": picture(COLOUR),
    "deep.png": picture(PLANE),
    "a.jpg": picture(COLOUR),
    "a.bmp": picture(COLOUR),
    "a.gif": picture(COLOUR[..., 0]),
    "a.h5": hdf5(),
    "packed.h5": hdf5(compression="gzip", shuffle=True, chunks=(1, 1, 16, 16)),
    "a.npy": lambda path: np.save(path, STACK),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(STACK)),
}


def facts(path: Path | str) -> tuple[Any, ...]:
    with open_image(path) as found:
        pixels = found.read(Region.whole(found.info.shape))
        return found.info.shape, found.info.channels, found.info.pixel_size_um, pixels.tobytes()


def outcome(path: Path | str) -> tuple[Any, ...] | None:
    """What is read; None for an error of the program's own. Every other error goes on and fails the test."""
    try:
        return facts(path)
    except PixclfError as error:
        assert str(error)
        return None


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_gives_the_same_pixels_or_an_error(tmp_path, name):
    chance = random.Random(name)
    good, cut = tmp_path / name, tmp_path / f"cut_{name}"
    FILES[name](good)
    data, expected = good.read_bytes(), facts(good)
    most = {*range(0, 40, 4), *(len(data) - n for n in range(1, 12)), *(chance.randrange(len(data)) for _ in range(40))}
    found = []
    for size in sorted(size for size in most if size >= 0):
        cut.write_bytes(data[:size])
        found.append(outcome(cut))
        assert found[-1] in (None, expected), f"cut to {size} of {len(data)} bytes"
    assert found.count(None) > len(found) // 2


NO_COUNT = ("plain.tif", "big.tif")  # zeros right behind a page's last tag are what the end of a file looks like


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".tif") and name not in NO_COUNT])
def test_a_tiff_that_ends_in_zeros_gives_the_same_image_or_an_error(tmp_path, name):
    """As a copy that was stopped after its room on the disk was set aside; pixels that are zero may be so."""
    chance = random.Random(name)
    good, cut = tmp_path / name, tmp_path / f"cut_{name}"
    FILES[name](good)
    data, expected = good.read_bytes(), facts(good)
    pixels = np.frombuffer(expected[-1], np.uint8)
    for size in (*range(len(data) - 600, len(data), 40), *(chance.randrange(len(data)) for _ in range(40))):
        cut.write_bytes(data[: max(size, 0)] + bytes(len(data) - max(size, 0)))
        found = outcome(cut)
        if found is not None:
            assert found[:-1] == expected[:-1], f"zeros after {size} of {len(data)} bytes"
            there = np.frombuffer(found[-1], np.uint8)
            assert np.all((there == pixels) | (there == 0)), f"zeros after {size} of {len(data)} bytes"


@pytest.mark.parametrize("name", NO_COUNT)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_tiff_without_metadata_whose_later_pages_are_zeros_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    FILES[name](path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)] + bytes(len(data) - int(len(data) * kept)))
    with pytest.raises(ImageError, match="incomplete or damaged: what follows after 1 page is nothing but zeros"):
        facts(path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_other_bytes_gives_pixels_or_an_error(tmp_path, name):
    chance = random.Random(name)
    good, bad = tmp_path / name, tmp_path / f"bad_{name}"
    FILES[name](good)
    data = good.read_bytes()
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 4))):
            at = chance.randrange(min(len(data), 500)) if chance.random() < 0.7 else chance.randrange(len(data))
            changed[at] = chance.randrange(256)
        bad.write_bytes(changed)
        outcome(bad)


def packed(codec: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        if ZARR_3:
            made = zarr.create_array(
                str(path), shape=PLANE.shape, chunks=(16, 16), dtype="uint16", zarr_format=2, compressors=codec
            )
        else:
            made = zarr.open_array(
                str(path), mode="w", shape=PLANE.shape, chunks=(16, 16), dtype="uint16", compressor=codec
            )
        made[:] = PLANE

    return write


def sharded(where: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        shards = {"shape": (16, 16), "index_location": where}
        made = zarr.create_array(
            str(path), shape=PLANE.shape, chunks=(8, 8), shards=shards, dtype="uint16", zarr_format=3
        )
        made[:] = PLANE

    return write


STORES: dict[str, Any] = {
    "image_2.zarr": lambda path: image(path, PLANE, 2),
    "blosc.zarr": packed(numcodecs.Blosc("zstd")),  # of noise: stored as it is, where Blosc reads on behind the end
    "gzip.zarr": packed(numcodecs.GZip()),
    "lz4.zarr": packed(numcodecs.LZ4()),
    "raw.zarr": packed(None),
    "image_3.zarr": pytest.param(lambda path: image(path, PLANE, 3), marks=needs_zarr_3),
    "shards_end.zarr": pytest.param(sharded("end"), marks=needs_zarr_3),
    "shards_start.zarr": pytest.param(sharded("start"), marks=needs_zarr_3),
}
METADATA = (".zattrs", ".zarray", ".zgroup", "zarr.json")
stores = pytest.mark.parametrize("write", STORES.values(), ids=STORES)


def parts(store: Path, *, metadata: bool) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file() and (p.name in METADATA) == metadata)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@stores
def test_a_chunk_that_is_cut_is_an_error(tmp_path, write):
    store = tmp_path / "a.zarr"
    write(store)
    expected = facts(store)
    for chunk in parts(store, metadata=False):
        data = chunk.read_bytes()
        for size in (0, 1, 15, 16, 17, len(data) // 3, len(data) // 2, len(data) - 5, len(data) - 1):
            with changed(chunk, data[:size]), pytest.raises(ImageError, match="copy or export it again"):
                facts(store)
            with changed(chunk, data[:size]), open_image(store) as found:  # a part of a chunk, of a shard one chunk
                y, x = (0, 0) if chunk.name.endswith("0") else (20, 20)
                box = Region((0, 0, y, x, 0), (1, 1, y + 4, x + 4, 1))
                try:
                    part = found.read(box)
                except ImageError:
                    continue
                assert np.array_equal(part[0, 0, :, :, 0], PLANE[y : y + 4, x : x + 4])
    assert facts(store) == expected


VALUES = (None, -1, 0, 2**70, 1e308, float("nan"), "", "..", "/etc", "x" * 5000, [], {}, [[]], [None], True, "a\0b")


def mutated(content: Any, chance: random.Random) -> Any:
    """The JSON value with one value somewhere in it replaced."""
    if not isinstance(content, dict | list) or not content or chance.random() < 0.15:
        return chance.choice(VALUES)
    places = list(content) if isinstance(content, dict) else range(len(content))
    at = chance.choice(list(places))
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[at] = mutated(copy[at], chance)
    return copy


@pytest.mark.parametrize(
    "write",
    [
        lambda path: image(path, PLANE, 2),
        write_plate,
        pytest.param(lambda path: write_plate(path, 3), marks=needs_zarr_3),
        pytest.param(lambda path: write_series(path, 3, ["0", "1"]), marks=needs_zarr_3),
    ],
)
def test_hostile_metadata_of_a_store_raises_nothing_but_our_own_errors(tmp_path, write, caplog):
    chance = random.Random(5)
    store = tmp_path / "a.zarr"
    write(store)
    source = FolderSource()
    for _ in range(120):
        file = chance.choice(parts(store, metadata=True))
        content = json.dumps(mutated(json.loads(file.read_text()), chance))
        with changed(file, content.encode()):
            try:
                for info in source.images([str(store)]):
                    if not info.problem:
                        with source.open(info) as found:
                            found.read(Region((0, 0, 0, 0, 0), (1, 1, 4, 4, 1)))
            except PixclfError as error:
                assert len(str(error)) < 20_000


JUNK = {
    "lists": "[" * 100_000,
    "objects": '{"a":' * 100_000,
    "open": "{",
    "empty": "",
    "no text": "\xff",
    "number": "9" * 5000,
    "long": '"' + "x" * 1_000_000,
}


@pytest.mark.parametrize("name", [".zattrs", ".zgroup", "0/.zarray", "0/.zattrs", "zarr.json", "0/zarr.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "{", "", "\xff", "9" * 5000, '"' + "x" * 10_000_000]
)
def test_metadata_that_is_no_json_or_nested_without_end_is_an_error_or_not_looked_at(tmp_path, name, text):
    store = tmp_path / "a.zarr"
    image(store, PLANE)
    (store / name).write_text(text, encoding="latin-1")
    outcome(store)
    outcome(f"{store}/0")


def test_codecs_that_can_run_programs_are_refused(tmp_path):
    store = tmp_path / "a.zarr"
    image(store, PLANE)
    described = json.loads((store / "0/.zarray").read_text())
    (store / "0/.zarray").write_text(json.dumps({**described, "compressor": {"id": "pickle", "protocol": 5}}))
    with pytest.raises(ImageError, match="could run programs"):
        facts(store)
    (store / "0/.zarray").write_text(json.dumps({**described, "filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(ImageError, match="could run programs"):
        facts(store)


def test_a_zip_file_that_is_cut_is_an_error_and_a_damaged_one_no_crash(tmp_path):
    chance = random.Random(8)
    image(tmp_path / "a.zarr", PLANE)
    data = zipped(tmp_path / "a.zarr", tmp_path / "a.ozx").read_bytes()
    bad = tmp_path / "bad.ozx"
    for _ in range(60):
        bad.write_bytes(data[: chance.randrange(len(data))])
        assert outcome(bad) is None
        other = bytearray(data)
        other[chance.randrange(len(data))] = chance.randrange(256)
        bad.write_bytes(other)
        outcome(bad)

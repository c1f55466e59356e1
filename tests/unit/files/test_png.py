"""PNG: exactly the pixels of the file, whatever its kind, and the memory that writing takes."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.export.formats import get_format
from omero_pixclf.files.export.output_array import OutputArray
from omero_pixclf.files.png import open_png, png_buffer_bytes, save_png

WIDTH, HEIGHT = 16, 4
WHOLE = (slice(None),) * 3
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour_type: int, *extra: bytes, rows: int = HEIGHT, interlaced: int = 0) -> bytes:
    """A PNG file of random pixels, written by hand: encoders do not write all kinds."""
    random = np.random.default_rng(depth + colour_type)
    row = WIDTH * depth * SAMPLES[colour_type] // 8
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + random.bytes(row) for _ in range(rows)))
    return SIGNATURE + chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def palette(depth: int) -> bytes:
    return chunk(b"PLTE", np.random.default_rng(1).bytes(3 << depth))


def read(path: Path) -> NDArray[Any]:
    with open_png(path) as stored:
        return stored.read(WHOLE)


KINDS = {
    **{f"grey of {depth} bits": png(depth, 0) for depth in (1, 2, 4, 8, 16)},
    **{
        f"grey of {depth} bits, one of them transparent": png(depth, 0, chunk(b"tRNS", b"\0\1"))
        for depth in (1, 2, 4, 8, 16)
    },
    **{f"palette of {depth} bits": png(depth, 3, palette(depth)) for depth in (1, 2, 4, 8)},
    **{
        f"palette of {depth} bits with alpha": png(depth, 3, palette(depth), chunk(b"tRNS", b"\1\2"))
        for depth in (1, 2, 4, 8)
    },
    "RGB": png(8, 2),
    "RGB, one colour transparent": png(8, 2, chunk(b"tRNS", b"\0\1\0\1\0\1")),
    "grey and alpha": png(8, 4),
    "RGB and alpha": png(8, 6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_pixels_that_pillow_gives(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(KINDS[kind])
    with Image.open(path) as image:
        mode = {"1": "L", "P": "RGBA" if "alpha" in kind else "RGB"}.get(image.mode, image.mode)
        expected = np.asarray(image.convert(mode) if mode != image.mode else image)
    found = read(path)
    assert found.dtype.itemsize == expected.dtype.itemsize
    assert np.array_equal(found, expected if expected.ndim == 3 else expected[..., np.newaxis])


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_sixteen_bits_are_read_exactly(tmp_path: Path, colour_type: int, channels: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(16, colour_type))
    random = np.random.default_rng(16 + colour_type)
    stored = b"".join(random.bytes(WIDTH * 2 * channels) for _ in range(HEIGHT))
    expected = np.frombuffer(stored, ">u2").reshape(HEIGHT, WIDTH, channels)
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("damage", ["cut", "rows missing", "flipped", "header", "empty"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    whole = png(8, 2)
    content = {
        "cut": whole[: len(whole) // 2],
        "rows missing": png(8, 2, rows=2),
        "flipped": whole[:60] + b"\0\0\0\0" + whole[64:],
        "header": whole[:20] + b"\xff" + whole[21:],
        "empty": b"",
    }[damage]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png: .*(save it again|Save it as TIFF)"):
        read(path)


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 1, 2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="holds 3 frames, expected one"):
        read(tmp_path / "a.png")


def test_a_picture_of_more_pixels_than_is_safe_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")))
    with pytest.raises(ImageError, match="too large for a picture"):
        read(tmp_path / "a.png")


def test_decoded_pixels_are_counted_as_memory(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", np.zeros((100, 50, 3), np.uint8))
    with open_png(tmp_path / "a.png") as stored:
        assert stored.cache_bytes == 15_000


@pytest.mark.parametrize("keys", ["yxc", "cyx"])
def test_writing_takes_no_more_memory_than_it_says(tmp_path: Path, keys: str) -> None:
    shape = tuple({"y": 900, "x": 1000, "c": 3}[key] for key in keys)
    target = OutputArray(shape, np.dtype("uint16"), axes_from_keys(keys))
    pixels = np.random.default_rng(0).integers(0, 65535, shape, dtype=np.uint16)  # the worst case: noise
    form = get_format("png")
    with form.open(tmp_path / "a.png", "", target) as write:
        write(tuple(slice(0, n) for n in shape), pixels)
        tracemalloc.start()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = form.buffer_bytes(target)
    assert said == png_buffer_bytes(target) == pixels.nbytes * (1 if keys == "yxc" else 2)
    assert peak < 1.05 * said
    assert np.array_equal(read(tmp_path / "a.png"), pixels.transpose([keys.index(key) for key in "yxc"]))


def test_a_sequence_takes_the_memory_of_one_picture() -> None:
    target = OutputArray((1, 10, 20, 30), np.dtype("uint8"), axes_from_keys("tzyx"))
    assert get_format("png sequence").buffer_bytes(target) == 20 * 30

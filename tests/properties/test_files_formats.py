"""Files of other programs are read as they are, and nothing half-written is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.axes import axes_from_keys, axis_keys
from omero_pixclf.files.export.image_writer import (
    ExportSettings,
    ResultDescription,
    plan_export,
    save_image,
    write_result,
)
from omero_pixclf.files.export.output_array import OutputArray
from omero_pixclf.files.hdf5.hdf5_writer import write_hdf5
from omero_pixclf.files.opening import open_image, open_stored
from omero_pixclf.files.paths import dataset_nickname, expand_paths
from omero_pixclf.image import Region

RNG = np.random.default_rng(7)
IMAGE = RNG.integers(0, 255, (137, 211), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (60, 75, 3), dtype=np.uint8)
STACK = RNG.integers(0, 65535, (3, 4, 50, 60), dtype=np.uint16)
needs_codecs = pytest.mark.skipif(find_spec("imagecodecs") is None, reason="needs imagecodecs to write the file")
VOLUME = RNG.integers(0, 255, (20, 70, 45), dtype=np.uint8)


@pytest.mark.parametrize(
    ("pixels", "options", "keys"),
    [
        (IMAGE, {}, "yx"),
        (IMAGE, {"tile": (64, 32), "compression": "deflate"}, "yx"),
        pytest.param(IMAGE, {"rowsperstrip": 7, "compression": "lzw", "predictor": True}, "yx", marks=needs_codecs),
        pytest.param(IMAGE, {"rowsperstrip": 7, "compression": "packbits"}, "yx", marks=needs_codecs),
        (COLOUR, {"photometric": "rgb"}, "yxc"),
        (COLOUR, {"photometric": "rgb", "tile": (16, 32), "compression": "zlib"}, "yxc"),
        (COLOUR.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9}, "cyx"),
        (STACK, {"ome": True, "metadata": {"axes": "TZYX"}}, "tzyx"),
        (STACK, {"imagej": True, "metadata": {"axes": "TZYX"}}, "tzyx"),
        (STACK, {"byteorder": ">", "metadata": {"axes": "CZYX"}, "ome": True, "compression": "deflate"}, "czyx"),
        (STACK, {"photometric": "minisblack"}, "tzyx"),
        (VOLUME, {"tile": (16, 16, 16), "volumetric": True, "metadata": {"axes": "ZYX"}}, "zyx"),
        pytest.param(
            VOLUME.astype("float32"),
            {"compression": "deflate", "predictor": True, "metadata": {"axes": "ZYX"}},
            "zyx",
            marks=needs_codecs,
        ),
    ],
)
def test_tiff_of_any_layout_is_read_as_tifffile_reads_it(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, object], keys: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    with open_stored(path) as stored:
        assert (axis_keys(stored.axes), stored.shape) == (keys, pixels.shape)
        assert np.array_equal(stored.read(tuple(slice(0, n) for n in pixels.shape)), pixels)
        part = tuple(slice(n // 3, max(n // 3 + 1, n - n // 4)) for n in pixels.shape)
        assert np.array_equal(stored.read(part), pixels[part])


def test_ome_tiff_tells_pixel_sizes_and_channel_names(tmp_path: Path) -> None:
    facts = {"axes": "CYX", "PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], ome=True, metadata={**facts, "Channel": {"Name": list("abcd")}})
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.info.channels == ("a", "b", "c", "d")
        assert image.info.pixel_size_um == pytest.approx((None, 0.65, 0.325), nan_ok=True)
        assert image.info.shape == (1, 1, 50, 60, 4)


def test_imagej_tiff_tells_pixel_sizes(tmp_path: Path) -> None:
    facts = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], imagej=True, resolution=(4, 2), metadata=facts)
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.pixel_size_um == (2.0, 0.5, 0.25)


def test_xml_bombs_in_ome_metadata_are_not_expanded() -> None:
    from omero_pixclf.files.tiff.ome_xml import ome_channels

    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><OME><Pixels><Channel Name="&a;"/></Pixels></OME>'
    assert ome_channels(bomb) == ()


def ngff(axes: str, units: dict[str, str], path: str, scale: list[float]) -> dict[str, object]:
    kinds = {"t": "time", "c": "channel"}
    return {
        "axes": [
            {"name": a, "type": kinds.get(a, "space"), **({"unit": units[a]} if a in units else {})} for a in axes
        ],
        "datasets": [{"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
    }


needs_zarr_3 = pytest.mark.skipif(int(zarr.__version__.split(".")[0]) < 3, reason="zarr 2 reads version 2 stores only")


@pytest.mark.parametrize("version", [2, pytest.param(3, marks=needs_zarr_3)])
def test_ome_zarr_of_both_versions_is_read_with_its_pixel_sizes(tmp_path: Path, version: int) -> None:
    store = tmp_path / "image.zarr"
    pixels = STACK.reshape(1, 3, 4, 50, 60)
    units = {"z": "micrometer", "y": "nanometer", "x": "nanometer"}
    entry = ngff("tczyx", units, "0", [1.0, 1.0, 2.0, 500.0, 250.0])
    labels = {"channels": [{"label": n} for n in ("dapi", "gfp", "red")]}
    more = {"zarr_format": version} if int(zarr.__version__.split(".")[0]) >= 3 else {"zarr_version": version}
    attributes = {"multiscales": [{**entry, "version": "0.4"}], "omero": labels}
    group = zarr.open_group(str(store), mode="w", **more)
    group.attrs.update(attributes if version == 2 else {"ome": attributes})
    array = zarr.open_array(
        str(store / "0"), mode="w", shape=pixels.shape, chunks=(1, 1, 2, 16, 16), dtype="u2", **more
    )
    array[:] = pixels
    for name in (store, store / "0"):
        with open_image(name) as image:
            assert image.info.shape == (1, 4, 50, 60, 3)
            assert image.info.pixel_size_um == (2.0, 0.5, 0.25)
            assert image.info.channels == ("dapi", "gfp", "red")
            region = Region((0, 1, 10, 20, 1), (1, 3, 40, 50, 3))
            assert np.array_equal(image.read(region), pixels.transpose(0, 2, 3, 4, 1)[region.slices])


def test_what_we_write_as_ome_zarr_zarr_itself_reads(tmp_path: Path) -> None:
    pixels = RNG.random((1, 1, 700, 900, 2), dtype=np.float32)
    save_image(tmp_path / "p.zarr", pixels, drange=(0.0, 1.0))
    array = zarr.open_array(str(tmp_path / "p.zarr/s0"), mode="r")
    assert np.array_equal(np.asarray(array[:]), pixels.transpose(0, 4, 1, 2, 3))
    entry = json.loads((tmp_path / "p.zarr/.zattrs").read_text())["multiscales"][0]
    assert [a["name"] for a in entry["axes"]] == list("tczyx")
    assert (entry["version"], entry["datasets"][0]["path"]) == ("0.4", "s0")
    assert json.loads((tmp_path / "p.zarr/s0/.zattrs").read_text())["drange"] == [0.0, 1.0]


def test_chunks_put_aside_before_they_are_full_are_completed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omero_pixclf.files.ome_zarr import zarr_writer

    monkeypatch.setattr(zarr_writer, "chunk_buffer_bytes", lambda *_: 1)
    pixels = RNG.random((1, 1, 1100, 1200, 1), dtype=np.float32)
    result = ResultDescription.like("Probabilities", axes_from_keys("yx"), (1100, 1200), 1, "float32")
    export = ExportSettings(output_format="single-scale OME-Zarr", output_filename_format=str(tmp_path / "o"))
    planned = plan_export(export, result, dataset_dir="", nickname="")
    blocks = [
        Region((0, 0, y, x, 0), (1, 1, y + 100, x + 100, 1)) for x in range(0, 1200, 100) for y in range(0, 1100, 100)
    ]
    with write_result(planned) as take:
        for region in blocks:
            take(region, pixels[region.slices])
    with open_image(planned.path) as image:
        assert np.array_equal(image.read(Region.whole(image.info.shape)), pixels)


def test_hdf5_gets_ilastiks_attributes_and_keeps_other_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    target = OutputArray((8, 9, 2), np.dtype("f4"), axes_from_keys("yxc"), drange=(0.0, 1.0))
    for name in ("one", "group/two", "one"):
        with write_hdf5(path, name, target, compress=True) as write:
            write((slice(0, 8), slice(0, 9), slice(0, 2)), np.ones((8, 9, 2), "f4"))
    with h5py.File(path) as file:
        assert set(file) == {"one", "group"}
        item = file["one"]
        assert (item.chunks, item.compression, item.compression_opts) == ((8, 9, 1), "gzip", 1)
        assert item.attrs["DIMENSION_LABELS"].tolist() == ["y", "x", "c"]
        assert item.attrs["drange"].dtype == np.float32
        assert item.attrs["display_mode"] == "grayscale"


def test_globs_are_stacked_and_named_by_what_they_share(tmp_path: Path) -> None:
    for z in range(3):
        save_image(tmp_path / f"slice_{z}.png", np.full((1, 1, 4, 5, 1), z, np.uint8))
    pattern = str(tmp_path / "slice_*.png")
    with open_image(pattern) as image:
        assert image.info.shape == (1, 3, 4, 5, 1)
        assert image.read(Region((0, 1, 0, 0, 0), (1, 3, 1, 1, 1))).ravel().tolist() == [1, 2]
    with open_image(os.pathsep.join(str(p.file) for p in expand_paths(pattern)), stack_along="t") as image:
        assert image.info.shape == (3, 1, 4, 5, 1)
    assert dataset_nickname(expand_paths(pattern)) == "slice_"


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.png", "a.npy", "a.zarr", "a.xyz", "gone.h5"])
def test_what_is_no_image_is_an_image_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    if name != "gone.h5":
        (tmp_path / name).write_bytes(b"\x93NUMPY not an image at all")
    with pytest.raises(ImageError, match=name), open_image(tmp_path / name):
        pass


def test_an_hdf5_file_with_several_arrays_needs_a_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["g/y"] = IMAGE, IMAGE
    with pytest.raises(ImageError, match=r"\['g/y', 'x'\]"), open_image(tmp_path / "a.h5"):
        pass
    with pytest.raises(ImageError, match="holds no array 'z'"), open_image(tmp_path / "a.h5/z"):
        pass


def test_sixteen_bit_colour_png_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 60000, (1, 1, 4, 5, 3), dtype=np.uint16)
    save_image(tmp_path / "a.png", pixels)
    with open_image(tmp_path / "a.png") as image:
        assert image.info.dtype == "uint16"
        assert np.array_equal(image.read(Region.whole(pixels.shape)), pixels)


FORMATS = ["hdf5", "compressed hdf5", "numpy", "single-scale OME-Zarr", "multipage tiff", "tiff", "png"]


def planned_for(folder: Path, output_format: str, side: int = 64):  # type: ignore[no-untyped-def]
    result = ResultDescription.like("Simple Segmentation", axes_from_keys("yx"), (side, side), 1, "uint8")
    export = ExportSettings(output_format=output_format, output_filename_format=str(folder / "out"))
    return plan_export(export, result, dataset_dir="", nickname="")


@pytest.mark.parametrize("output_format", FORMATS)
def test_an_interrupted_write_leaves_nothing_and_the_old_result_stays(tmp_path: Path, output_format: str) -> None:
    planned = planned_for(tmp_path, output_format)
    before = b"the old result"
    if output_format != "single-scale OME-Zarr":
        planned.path.write_bytes(before)
    with pytest.raises(KeyboardInterrupt), write_result(planned) as take:
        take(Region((0, 0, 0, 0, 0), (1, 1, 8, 64, 1)), np.ones((1, 1, 8, 64, 1), np.uint8))
        raise KeyboardInterrupt
    left = {p.name for p in tmp_path.iterdir()}
    assert left == ({planned.path.name} if output_format != "single-scale OME-Zarr" else set())
    if left:
        assert planned.path.read_bytes() == before


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_killed_write_leaves_nothing_under_the_final_name(tmp_path: Path, output_format: str) -> None:
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
        import numpy as np
        from pathlib import Path
        from tests.properties.test_files_formats import planned_for
        from omero_pixclf.files.export.image_writer import write_result
        from omero_pixclf.image import Region
        with write_result(planned_for(Path({str(tmp_path)!r}), {output_format!r})) as take:
            take(Region((0, 0, 0, 0, 0), (1, 1, 8, 64, 1)), np.ones((1, 1, 8, 64, 1), np.uint8))
            print("writing", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert all(p.name.startswith(".") for p in tmp_path.iterdir())
    with write_result(planned_for(tmp_path, output_format)) as take:
        take(Region((0, 0, 0, 0, 0), (1, 1, 64, 64, 1)), np.ones((1, 1, 64, 64, 1), np.uint8))
    assert planned_for(tmp_path, output_format).path.exists()


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path, output_format: str) -> None:
    """The limit of a file's size stands in for the end of the disk; noise, so that it does not compress away."""
    script = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
        import numpy as np
        from pathlib import Path
        from tests.properties.test_files_formats import planned_for
        from omero_pixclf.errors import OutputError
        from omero_pixclf.files.export.image_writer import write_result
        from omero_pixclf.image import Region
        planned = planned_for(Path({str(tmp_path)!r}), {output_format!r}, 2048)
        noise = np.random.default_rng(1).integers(0, 255, (1, 1, 2048, 2048, 1), dtype=np.uint8)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            with write_result(planned) as take:
                take(Region.whole(noise.shape), noise)
        except OutputError as error:
            print("refused:", error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert "out" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        save_image(tmp_path / "file" / "out.npy", np.zeros((1, 1, 4, 4, 1), np.uint8))


def test_a_zarr_store_that_stands_is_not_overwritten(tmp_path: Path) -> None:
    save_image(tmp_path / "o.zarr", np.ones((1, 1, 4, 4, 1), np.uint8))
    with pytest.raises(OutputError, match="exists already"):
        save_image(tmp_path / "o.zarr", np.zeros((1, 1, 4, 4, 1), np.uint8))
    with open_image(tmp_path / "o.zarr") as image:
        assert image.read(Region.whole(image.info.shape)).min() == 1


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for name in ("a.h5", "a.npy", "a.tif", "a.png", "a.zarr"):
        save_image(tmp_path / name, np.ones((1, 1, 40, 40, 1), np.uint8))
        with open_image(tmp_path / name) as image:
            image.read(Region.whole(image.info.shape))
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_reading_strips_of_a_large_compressed_tiff_keeps_little_of_it(tmp_path: Path) -> None:
    """The image has 288 MB of pixels; the reader holds 64 MB of decoded strips at most."""
    path = tmp_path / "big.tif"
    rows = np.repeat(np.arange(12_000, dtype=np.uint16)[:, None], 12_000, axis=1)
    tifffile.imwrite(path, rows, compression="deflate", compressionargs={"level": 1}, rowsperstrip=16)
    del rows
    tracemalloc.start()
    with open_image(path) as image:
        for top in range(0, 12_000, 64):
            strip = image.read(Region((0, 0, top, 0, 0), (1, 1, min(top + 64, 12_000), 12_000, 1)))
            assert strip[0, 0, 0, 0, 0] == top
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("name", ["a.tif", "b.tif", "a.npy", "a.h5", "a.png", "a.zarr"])
def test_damaged_files_are_image_errors_or_read_as_something(tmp_path: Path, name: str) -> None:
    """Bytes changed or cut off anywhere: an image of numbers or an ImageError, nothing else.

    HDF5 files are only cut off: over changed bytes the HDF5 library itself may crash.
    """
    good = tmp_path / name
    if name == "b.tif":
        tifffile.imwrite(good, IMAGE, tile=(16, 16), compression="deflate")
    else:
        save_image(good, IMAGE[None, None, :, :, None])
    file = good / "s0" / ".zarray" if good.is_dir() else good
    content = file.read_bytes()
    rng = np.random.default_rng(3)
    outcomes = []
    for trial in range(150):
        damaged = bytearray(content)
        if trial % 5 == 0 or name == "a.h5":
            damaged = damaged[: int(rng.integers(0, len(content)))]
        changes = int(rng.integers(1, 6)) if damaged and name != "a.h5" else 0
        for place in rng.integers(0, min(max(len(damaged), 1), 2000), size=changes):
            damaged[place] = int(rng.integers(0, 256))
        file.write_bytes(bytes(damaged))
        try:
            with open_image(good) as image:
                if np.prod(image.info.shape, dtype=float) < 1e6:
                    image.read(Region.whole(image.info.shape))
            outcomes.append("read")
        except ImageError:
            outcomes.append("refused")
    assert outcomes.count("refused") > 5


def test_errors_of_the_caller_are_not_taken_for_the_files(tmp_path: Path) -> None:
    for name in ("a.h5", "a.npy", "a.tif", "a.png", "a.zarr"):
        save_image(tmp_path / name, np.ones((1, 1, 8, 8, 1), np.uint8))
        for mine in (ValueError, OSError, KeyError):
            with pytest.raises(mine, match="mine"), open_image(tmp_path / name):
                raise mine("mine")

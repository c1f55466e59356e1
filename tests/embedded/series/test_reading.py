"""Sets of files and the images they hold."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from omero_pixclf.embedded.series import vsi
from omero_pixclf.embedded.series.content import FilesetContent, Series
from omero_pixclf.embedded.series.reading import FileSet, find_file_set, find_file_sets, find_main_file, open_series
from omero_pixclf.embedded.series.vsi_tags import Tag, has_external_tiles, read_dimensions
from omero_pixclf.errors import ImageError

RANDOM = np.random.default_rng(11)


def whole(series: Series, level: int = 0) -> NDArray[Any]:
    """All planes of a level as (t, c, z, y, x), read in two parts each."""
    found = series.levels[level]
    half = found.height // 2
    planes = [
        np.concatenate([found.read(z, c, t, slice(0, half)), found.read(z, c, t, slice(half, found.height))])
        for t in range(series.t)
        for c in range(series.c)
        for z in range(series.z)
    ]
    return np.array(planes).reshape(series.t, series.c, series.z, found.height, found.width)


# ---- TIFF --------------------------------------------------------------------------------------------------------
def test_ome_tiff_tells_all_of_its_images(tmp_path: Path) -> None:
    stack = RANDOM.integers(0, 999, (2, 3, 4, 10, 12)).astype(np.uint16)
    other = RANDOM.random((7, 9)).astype(np.float32)
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        facts = {
            "axes": "TCZYX", "Name": "first", "Description": "told", "AcquisitionDate": "2021-05-31T16:58:55",
            "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "mm",
            "Channel": {"Name": ["a", "b", "c"], "EmissionWavelength": [450, 525, 600], "Color": [255, -1, 65535]},
        }  # fmt: skip
        tiff.write(stack, metadata=facts)
        tiff.write(other, metadata={"axes": "YX", "Name": "second"})
    with open_series(path) as content:
        first, second = content.series
        assert content.format == "OMETiff"
        assert (first.name, first.description, first.acquired_ms) == ("first", "told", 1622480335000)
        assert (first.z, first.c, first.t, first.pixel_size) == (4, 3, 2, {"z": (2.0, "mm")})
        assert [c.name for c in first.channels] == ["a", "b", "c"]
        assert [c.emission_nm for c in first.channels] == [450, 525, 600]
        assert first.channels[0].color == (0, 0, 0, 255) and first.channels[1].color == (255, 255, 255, 255)
        assert np.array_equal(whole(first), stack)
        assert np.array_equal(whole(second)[0, 0, 0], other)


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_colour_becomes_channels(tmp_path: Path, compression: str | None) -> None:
    data = np.kron(RANDOM.integers(0, 255, (4, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, data, photometric="rgb", compression=compression, tile=(32, 32))
    with open_series(path) as content:
        (series,) = content.series
        assert content.format == "Tiff"
        assert [c.color for c in series.channels] == [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]
        found = whole(series)[0, :, 0]
        assert np.array_equal(found, np.moveaxis(tifffile.imread(path), -1, 0))


def test_resolution_levels_are_read_from_subifds(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 255, (2, 64, 96)).astype(np.uint8)
    path = tmp_path / "p.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            data,
            subifds=2,
            tile=(16, 16),
            photometric="minisblack",
            resolutionunit="CENTIMETER",
            resolution=(20000, 40000),
        )
        for step in (2, 4):
            tiff.write(data[:, ::step, ::step], subfiletype=1, tile=(16, 16), photometric="minisblack")
    with open_series(path) as content:
        (series,) = content.series
        assert [(level.width, level.height) for level in series.levels] == [(96, 64), (48, 32), (24, 16)]
        assert series.pixel_size == {"x": (0.5, "µm"), "y": (0.25, "µm")}
        for level, step in enumerate((1, 2, 4)):
            assert np.array_equal(whole(series, level)[0, 0], data[:, ::step, ::step])


@pytest.mark.parametrize("content", [b"", b"II*\0 and no more", b"no TIFF at all"])
def test_broken_tiffs_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken\.tif"), open_series(path):
        pass


def test_bits_become_bytes_and_complex_numbers_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bits.tif", np.eye(8, dtype=bool))
    with open_series(tmp_path / "bits.tif") as content:
        assert content.series[0].dtype == np.uint8
        assert whole(content.series[0])[0, 0, 0].sum() == 8
    tifffile.imwrite(tmp_path / "complex.tif", np.eye(8, dtype=np.complex64))
    with pytest.raises(ImageError, match="complex64"), open_series(tmp_path / "complex.tif"):
        pass


# ---- others ------------------------------------------------------------------------------------------------------
def test_pictures_and_zarr(tmp_path: Path) -> None:
    import zarr

    data = RANDOM.integers(0, 255, (12, 20, 3)).astype(np.uint8)
    Image.fromarray(data).save(tmp_path / "a.png")
    with open_series(tmp_path / "a.png") as content:
        assert content.format == "APNG"
        assert np.array_equal(whole(content.series[0])[0, :, 0], np.moveaxis(data, -1, 0))
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    volume = RANDOM.integers(0, 999, (2, 3, 8, 10)).astype(np.uint16)
    for name, part in (("0", volume), ("1", volume[..., ::2, ::2])):
        group.create_array(name, shape=part.shape, dtype=part.dtype, chunks=part.shape)[:] = part
    axes = [{"name": n, "type": t} for n, t in (("c", "channel"), ("z", "space"), ("y", "space"), ("x", "space"))]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
    found = find_file_set(tmp_path / "a.zarr")
    assert find_main_file(found.files) == tmp_path / "a.zarr"
    with open_series(found.main) as content:
        (series,) = content.series
        assert np.array_equal(whole(series)[0], volume)
        assert np.array_equal(whole(series, 1)[0], volume[..., ::2, ::2])


def fake(name: str) -> FilesetContent:
    with open_series(Path(name)) as content:
        return content


def test_names_describe_images() -> None:
    content = fake(
        "n&sizeX=40&sizeY=30&sizeZ=2&sizeC=3&sizeT=4&series=2&pixelType=int16&resolutions=3&color_1=65535.fake"
    )
    assert [s.name for s in content.series] == ["n", "n 2"]
    first, second = content.series
    assert (first.z, first.c, first.t, first.dtype.name) == (2, 3, 4, "int16")
    assert [(level.width, level.height) for level in first.levels] == [(40, 30), (20, 15), (10, 7)]
    assert [c.color for c in first.channels] == [None, (0, 0, 255, 255), None]
    planes = whole(second)
    assert len({plane.tobytes() for plane in planes.reshape(24, 30, 40)}) == 24  # every plane is another one
    assert not np.array_equal(planes, whole(first))


def test_names_describe_plates() -> None:
    content = fake("p&plates=1&plateRows=2&plateCols=3&fields=2&plateAcqs=2&sizeX=8&sizeY=8.fake")
    (plate,) = content.plates
    assert (plate.rows, plate.columns, len(plate.acquisitions), len(content.series)) == (2, 3, 2, 24)
    assert [well_sample.series for well_sample in plate.well_samples] == list(range(24))
    assert {(s.row, s.column, s.acquisition, s.field) for s in plate.well_samples} == set(np.ndindex(2, 3, 2, 2))


def test_names_describe_screens_of_plates() -> None:
    content = fake("p&screens=2&plates=3&plateRows=1&plateCols=2&sizeX=8&sizeY=8.fake")
    assert [plate.screen for plate in content.plates] == ["Screen 0"] * 3 + ["Screen 1"] * 3
    assert [well_sample.series for plate in content.plates for well_sample in plate.well_samples] == list(range(12))


@pytest.mark.parametrize(
    "keys",
    [
        "sizeX=wide",
        "sizeX=0",
        "pixelType=rgb",
        "series=0",
        "sizeX=2&resolutions=4",
        "acquisitionDate=now",
        "physicalSizeX=0",
    ],
)
def test_names_that_describe_nothing_are_refused(keys: str) -> None:
    with pytest.raises(ImageError):
        fake(f"a&{keys}.fake")


# ---- cellSens ----------------------------------------------------------------------------------------------------
def ets(path: Path, data: NDArray[Any], tile: tuple[int, int], levels: int, compression: int) -> None:
    """An ETS file of (c, z, y, x) or, with one more axis, of samples; axes t, z, c, as in the ``.vsi`` of `slide`."""
    kind = {"uint8": 2, "uint16": 4}[data.dtype.name]
    samples = data.shape[4] if data.ndim == 5 else 1
    channels, depth, height, width = data.shape[:4]
    head = struct.pack("<4siii", b"SIS\0", 64, 3, 6)
    ets_head = struct.pack("<4s9i", b"ETS\0", 0x30006, kind, samples, 1, compression, 100, *tile, 1)
    sizes = struct.pack("<6i", 5, width, height, 1, depth, channels)
    ets_head = ets_head.ljust(47 * 4, b"\0") + sizes
    body, entries = b"", []
    start = 64 + len(ets_head)
    for level in range(levels):
        part = data[:, :, :: 2**level, :: 2**level]
        for c, z in np.ndindex(channels, depth):
            for ty in range(-(-part.shape[2] // tile[1])):
                for tx in range(-(-part.shape[3] // tile[0])):
                    piece = part[c, z, ty * tile[1] : (ty + 1) * tile[1], tx * tile[0] : (tx + 1) * tile[0]]
                    full = np.zeros((tile[1], tile[0], *piece.shape[2:]), data.dtype)
                    full[: piece.shape[0], : piece.shape[1]] = piece
                    encoded = (
                        full.tobytes()
                        if compression == 0
                        else bytes(imagecodecs.jpeg2k_encode(full, level=0, reversible=True))
                    )
                    entries.append((tx, ty, 0, z, c, level, start + len(body), len(encoded)))
                    body += encoded
    directory = b"".join(
        struct.pack("<7iqii", 6, *entry[:6], entry[6], entry[7], number) for number, entry in enumerate(entries)
    )
    head += struct.pack("<qiiqi", 64, len(ets_head), 0, start + len(body), len(entries))
    path.parent.mkdir(parents=True)
    path.write_bytes(head.ljust(64, b"\0") + ets_head + body + directory)


@pytest.mark.parametrize("compression", [0, 3])
def test_slides_of_tiles(tmp_path: Path, compression: int) -> None:
    data = RANDOM.integers(0, 4000, (1, 1, 50, 70)).astype(np.uint16)
    overview = RANDOM.integers(0, 255, (6, 8)).astype(np.uint8)
    path = tmp_path / "s.vsi"
    tifffile.imwrite(path, overview)
    ets(tmp_path / "_s_" / "stack1" / "frame_t_0.ets", data, (32, 16), 2, compression)
    found = find_file_set(path)
    assert [f.name for f in found.files] == ["s.vsi", "frame_t_0.ets"]
    with open_series(path) as content:
        tiles, label = content.series
        assert content.format == "CellSens"
        assert np.array_equal(whole(tiles), data[np.newaxis])
        assert np.array_equal(whole(tiles, 1)[0, 0, 0], data[0, 0, ::2, ::2])
        assert np.array_equal(whole(label)[0, 0, 0], overview)


def test_colour_tiles(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 255, (1, 1, 20, 30, 3)).astype(np.uint8)
    path = tmp_path / "c.vsi"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    ets(tmp_path / "_c_" / "stack1" / "frame_t_0.ets", data, (16, 16), 1, 3)
    with open_series(path) as content:
        assert np.array_equal(whole(content.series[0])[0, :, 0], np.moveaxis(data[0, 0], -1, 0))


def test_axes_without_a_meaning_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "u.vsi"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    ets(
        tmp_path / "_u_" / "stack1" / "frame_t_0.ets",
        RANDOM.integers(0, 9, (1, 3, 8, 8)).astype(np.uint8),
        (8, 8),
        1,
        0,
    )
    with pytest.raises(ImageError, match="expected depth, channels and time"), open_series(path):
        pass


def test_tags_tell_what_axes_mean() -> None:
    def tag(axis: int, along: int, name: int, kind: int, value: bytes = b"", inline: int = 0) -> Tag:
        return Tag(((2000, 0), (2001, 1), (2007, axis), (2008, along), (name, -1)), kind, value, inline)

    found = [tag(0, 0, 2023, 5, inline=2), tag(1, 0, 2023, 5, inline=1), tag(2, 0, 2023, 5, inline=4)]
    found += [tag(2, i, 2021, 8192, name.encode("utf-16-le")) for i, name in enumerate(("C405", "C488"))]
    assert [d.meaning for d in read_dimensions(found, 1)] == ["t", "z", "c"]
    assert read_dimensions(found, 1)[2].names == ("C405", "C488")
    assert read_dimensions(found, 2) == ()


def test_a_slide_without_the_folder_of_its_tiles_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ((2000, 0), (2001, 0), (20005, -1))
    assert has_external_tiles([Tag(place, 5, b"", 1)]) and has_external_tiles([Tag(place, 5, b"\1\0\0\0", 4)])
    assert not has_external_tiles([Tag(place, 5, b"", 0), Tag(((2000, 0), (2001, 0)), 5, b"", 1)])
    path = tmp_path / "s.vsi"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    monkeypatch.setattr(vsi, "read_tags", lambda _: [Tag(place, 5, b"", 1)])
    with pytest.raises(ImageError, match=r"s\.vsi is incomplete.*_s_"), open_series(path):
        pass


@pytest.mark.parametrize("cut", [10, 100, 200, 400])
def test_cut_off_tiles_are_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.vsi"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    tiles = tmp_path / "_x_" / "stack1" / "frame_t_0.ets"
    ets(tiles, RANDOM.integers(0, 9, (1, 1, 16, 16)).astype(np.uint8), (8, 8), 1, 0)
    tiles.write_bytes(tiles.read_bytes()[:cut])
    with pytest.raises(ImageError, match="not a readable ETS file"), open_series(path):
        pass


# ---- which files belong together ---------------------------------------------------------------------------------
def test_files_are_found_once_and_no_deeper_than_asked(tmp_path: Path) -> None:
    planes = RANDOM.integers(0, 9, (2, 8, 8)).astype(np.uint8)
    for name in ("a.tif", "b.tif", "one/c.tif", "one/two/d.tif", "one/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        tifffile.imwrite(path, planes) if name.endswith("tif") else path.write_text("no image")
    found = list(find_file_sets([tmp_path], depth=2))
    assert [one.main.name for one in found if isinstance(one, FileSet)] == ["a.tif", "b.tif", "c.tif"]
    refused = list(find_file_sets([tmp_path / "one" / "notes.txt", tmp_path / "missing.tif"]))
    assert [type(one) for one in refused] == [ImageError, ImageError]


def test_files_that_an_ome_tiff_names_belong_to_it(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0"/>'
        '<TiffData FirstZ="0" IFD="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for name in ("a.ome.tif", "b.ome.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8), description=xml, metadata=None)
    (found,) = find_file_sets([tmp_path])
    assert isinstance(found, FileSet)
    assert [f.name for f in found.files] == ["a.ome.tif", "b.ome.tif"]

"""OME-TIFF images of several files are read whole or refused; what a file says and does not hold is named."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from omero_pixclf.embedded.series.reading import open_series
from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image
from omero_pixclf.files.tiff.tiff_file import list_member_files
from omero_pixclf.image import Region

RNG = np.random.default_rng(3)
PLANES = RNG.integers(0, 60000, (2, 3, 40, 50), dtype=np.uint16)  # t, z, y, x
SCHEMA = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def ome_xml(own: str, ids: list[str], names: list[str], planes: np.ndarray = PLANES) -> str:
    """OME-XML of one image whose planes lie one to a file, t slowest."""
    t, z, y, x = planes.shape
    entries = "".join(
        f'<TiffData IFD="0" FirstZ="{n % z}" FirstT="{n // z}" PlaneCount="1">'
        f'<UUID FileName="{name}">{ident}</UUID></TiffData>'
        for n, (name, ident) in enumerate(zip(names, ids, strict=True))
    )
    return (
        f'<?xml version="1.0"?><OME {SCHEMA} {own}><Image ID="Image:0" Name="set"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="1" SizeT="{t}" '
        f'PhysicalSizeX="0.5"><Channel ID="Channel:0:0" Name="dapi" SamplesPerPixel="1"/>'
        f"{entries}</Pixels></Image></OME>"
    )


def write_set(folder: Path, *, master: bool = False, companion: bool = False, options: dict[int, dict] | None = None):
    """Six files of a plane each; the metadata in all of them, in the first only, or in a companion file."""
    ids = [f"urn:uuid:{uuid.UUID(int=n + 1)}" for n in range(6)]
    names = [f"f{n}.ome.tif" for n in range(6)]
    for n, plane in enumerate(PLANES.reshape(6, 40, 50)):
        text = ome_xml(f'UUID="{ids[n]}"', ids, names)
        if companion or (master and n):
            where = "set.companion.ome" if companion else names[0]
            text = f'<OME {SCHEMA} UUID="{ids[n]}"><BinaryOnly MetadataFile="{where}" UUID="u"/></OME>'
        more = (options or {}).get(n, {})
        tifffile.imwrite(folder / names[n], plane, description=text.encode(), metadata=None, ome=False, **more)
    if companion:
        (folder / "set.companion.ome").write_text(ome_xml('UUID="urn:uuid:companion"', ids, names), encoding="utf-8")
    return [folder / name for name in names]


def read(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read(Region.whole(image.info.shape))[..., 0]


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
@pytest.mark.parametrize("member", [0, 4])
def test_an_image_of_several_files_is_read_whole_from_any_of_them(tmp_path, kind, member):
    path = write_set(tmp_path, **kind)[member]
    assert np.array_equal(read(path), PLANES)
    with open_image(path) as image:
        assert image.info.channels == ("dapi",)
        assert image.info.pixel_size_um[2] == 0.5
        part = Region((1, 1, 7, 9, 0), (2, 3, 30, 41, 1))
        assert np.array_equal(image.read(part)[..., 0], PLANES[1:2, 1:3, 7:30, 9:41])


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
def test_import_reads_the_same_planes_of_several_files(tmp_path, kind):
    with open_series(write_set(tmp_path, **kind)[2]) as content:
        (series,) = content.series
        assert (series.t, series.z, series.c) == (2, 3, 1)
        planes = [[series.levels[0].read(z, 0, t, slice(0, 40)) for z in range(3)] for t in range(2)]
    assert np.array_equal(planes, PLANES)


def test_files_of_a_set_may_differ_in_compression_tiles_and_byte_order(tmp_path):
    options = {
        1: {"compression": "zlib", "rowsperstrip": 7},
        2: {"byteorder": ">"},
        3: {"tile": (16, 32), "compression": "zlib"},
        5: {"byteorder": ">", "rowsperstrip": 11},
    }
    assert np.array_equal(read(write_set(tmp_path, options=options)[0]), PLANES)


def test_the_files_of_a_set_are_known_together(tmp_path):
    paths = write_set(tmp_path, companion=True)
    assert list_member_files(paths[3])[0] == paths[3]
    assert set(list_member_files(paths[3])) == {*paths, tmp_path / "set.companion.ome"}


@pytest.mark.parametrize("kind", [{}, {"companion": True}])
def test_a_missing_file_of_a_set_is_named_with_its_planes(tmp_path, kind):
    paths = write_set(tmp_path, **kind)
    paths[4].unlink()
    expected = (
        r"f0\.ome\.tif is incomplete: it declares 6 images, 5 are present: planes t=1 z=1 are missing \(f4\.ome\.tif is"
    )
    for opened in (open_image, open_series):
        with pytest.raises(ImageError, match=expected), opened(paths[0]):
            pass


def test_missing_planes_of_a_whole_time_point_are_named_together(tmp_path):
    paths = write_set(tmp_path)
    for path in paths[3:]:
        path.unlink()
    with pytest.raises(ImageError, match="3 are present: planes t=1 are missing"), open_image(paths[0]):
        pass


def test_a_companion_file_that_is_not_there_is_named(tmp_path):
    path = write_set(tmp_path, companion=True)[0]
    (tmp_path / "set.companion.ome").unlink()
    for opened in (open_image, open_series):
        with (
            pytest.raises(ImageError, match=r"its metadata is in set\.companion\.ome, which does not exist"),
            opened(path),
        ):
            pass


def test_a_member_of_another_type_is_refused(tmp_path):
    paths = write_set(tmp_path)
    with tifffile.TiffFile(paths[4]) as tiff:
        text = tiff.pages.first.description
    tifffile.imwrite(paths[4], np.zeros((40, 50), "uint8"), description=text.encode(), metadata=None, ome=False)
    with pytest.raises(ImageError, match="page 4 is uint8"), open_image(paths[0]):
        pass


def test_a_member_that_is_cut_is_refused(tmp_path):
    paths = write_set(tmp_path)
    data = paths[4].read_bytes()
    paths[4].write_bytes(data[:-900])
    with pytest.raises(
        ImageError, match=r"6 images, 5 are present; pixels of image 4 are beyond the end of f4\.ome\.tif"
    ):
        read(paths[0])


def test_a_set_does_not_leave_its_folder(tmp_path):
    outside = tmp_path / "secret.ome.tif"
    tifffile.imwrite(outside, PLANES[0, 0])
    folder = tmp_path / "in"
    folder.mkdir()
    ids = ["urn:uuid:a", "urn:uuid:b"]
    text = ome_xml('UUID="urn:uuid:a"', ids, ["a.ome.tif", "../secret.ome.tif"], PLANES[:1, :2])
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, PLANES[0, 0], description=text.encode(), metadata=None, ome=False)
    with pytest.raises(ImageError, match="outside"), open_image(path):
        pass


def staged(folder: Path, files: list[Path]) -> list[Path]:
    """Each file moved to a folder of its own, and links to all in one folder, as workflow engines do it."""
    links = []
    for n, file in enumerate(files):
        (folder / f"work{n}").mkdir(parents=True)
        links.append(folder / "staged" / file.name)
        links[-1].parent.mkdir(exist_ok=True)
        links[-1].symlink_to(file.rename(folder / f"work{n}" / file.name))
    return links


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
@pytest.mark.parametrize("member", [0, 4])
def test_a_set_of_links_in_one_folder_is_read_whole(tmp_path, kind, member):
    write_set(tmp_path, **kind)
    links = staged(tmp_path / "run", sorted(tmp_path.glob("*.ome*")))
    assert np.array_equal(read(links[member]), PLANES)
    assert {p.resolve() for p in list_member_files(links[member])} == {p.resolve() for p in links}


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
@pytest.mark.parametrize("member", [0, 4])
def test_a_link_to_one_file_of_a_set_reads_the_set(tmp_path, kind, member):
    path = write_set(tmp_path, **kind)[member]
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "linked.ome.tif"
    link.symlink_to(path)
    assert np.array_equal(read(link), PLANES)


@pytest.mark.parametrize("kind", [{}, {"companion": True}])
def test_what_was_sent_to_a_server_follows_no_links_out_of_its_folder(tmp_path, kind):
    write_set(tmp_path, **kind)
    links = staged(tmp_path / "run", sorted(tmp_path.glob("*.ome*")))
    with pytest.raises(ImageError, match="outside"), open_series(links[0], within=links[0].parent):
        pass


@pytest.mark.parametrize("kind", [{}, {"master": True}, {"companion": True}])
@pytest.mark.parametrize("opened", [0, 1, 4])
def test_a_file_of_a_set_that_is_a_copy_of_another_is_refused(tmp_path, kind, opened):
    paths = write_set(tmp_path, **kind)
    paths[4].write_bytes(paths[1].read_bytes())
    for reading in (open_image, open_series):
        with pytest.raises(ImageError, match=r"f4\.ome\.tif is not the file that .* names"), reading(paths[opened]):
            pass


def test_a_set_whose_files_all_have_the_same_metadata_is_read_from_its_first(tmp_path):
    ids, names = [f"urn:uuid:{n}" for n in range(6)], [f"f{n}.ome.tif" for n in range(6)]
    for name, plane in zip(names, PLANES.reshape(6, 40, 50), strict=True):
        text = ome_xml(f'UUID="{ids[0]}"', ids, names)
        tifffile.imwrite(tmp_path / name, plane, description=text.encode(), metadata=None, ome=False)
    assert np.array_equal(read(tmp_path / names[0]), PLANES)


def test_a_file_of_a_set_without_a_name_of_its_own_is_read(tmp_path):
    paths = write_set(tmp_path)
    tifffile.imwrite(paths[4], PLANES[1, 1], metadata=None, ome=False)
    assert np.array_equal(read(paths[0]), PLANES)


def test_a_single_file_that_was_renamed_is_read(tmp_path):
    parts = ome_xml("", ["urn:uuid:a"] * 6, ["before.ome.tif"] * 6).split('IFD="0"')
    text = parts[0] + "".join(f'IFD="{n}"{part}' for n, part in enumerate(parts[1:]))
    path = tmp_path / "after.ome.tif"
    tifffile.imwrite(path, PLANES.reshape(6, 40, 50), description=text.encode(), metadata=None, ome=False)
    assert np.array_equal(read(path), PLANES)


def test_an_image_whose_pages_are_all_missing_is_told(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(PLANES[0, 0])
        writer.write(PLANES[0, 1])
    with tifffile.TiffFile(path) as tiff:
        text = tiff.pages.first.description
    cut = text.replace('IFD="1"', 'IFD="9"')
    assert cut != text
    tifffile.imwrite(path, PLANES[0, 0], description=cut.encode(), metadata=None, ome=False)
    with pytest.raises(ImageError, match="incomplete"), open_image(path):
        pass


def test_entities_in_ome_xml_are_refused_before_anything_is_expanded(tmp_path):
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><OME {SCHEMA}><Image Name="&a;"/></OME>'
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PLANES[0, 0], description=bomb.encode(), metadata=None, ome=False)
    for opened in (open_image, open_series):
        with pytest.raises(ImageError, match="declares entities"), opened(path):
            pass


@pytest.mark.parametrize("said", [5, 12])
def test_imagej_metadata_that_says_another_number_of_images_is_refused(tmp_path, said):
    path = tmp_path / "a.tif"
    text = f"ImageJ=1.54f\nimages={said}\nslices={said}\n"
    tifffile.imwrite(
        path, PLANES.reshape(6, 40, 50), description=text, metadata=None, compression="zlib", photometric="minisblack"
    )
    with pytest.raises(ImageError, match=f"it declares {said} images, 6 are present"), open_image(path):
        pass

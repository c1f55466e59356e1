"""Thumbnails and rendered planes of the embedded OMERO, through BlitzGateway."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.model
import pytest
import tifffile
from omero.rtypes import rint
from PIL import Image

from tests.integration.conftest import Person


@pytest.fixture
def gateway(user: Person) -> Any:
    found = user.gateway()
    found.SERVICE_OPTS.setOmeroGroup(str(user.group))
    return found


@pytest.fixture
def image(gateway: Any) -> Any:
    """Channel 0 of three planes is bright on the left, channel 1 at the bottom of the last plane only."""
    left = np.zeros((20, 40), np.uint16)
    left[:, :20] = 1000
    bottom = np.zeros((20, 40), np.uint16)
    bottom[10:] = 500
    empty = np.zeros_like(left)
    return gateway.createImageFromNumpySeq(iter([left, empty, left, empty, left, bottom]), "bands", 3, 2, 1)


def pixel(picture: Any, x: int, y: int) -> list[int]:
    """Colour of a pixel, rounded to what JPEG keeps of it."""
    return [round(v / 64) * 64 for v in picture.convert("RGB").getpixel((x, y))]


def test_defaults_show_the_first_channels_in_red_and_green(gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    assert [c.getColor().getHtml() for c in image.getChannels()] == ["FF0000", "00FF00"]
    assert [(c.getWindowStart(), c.getWindowEnd()) for c in image.getChannels()] == [(0, 1000), (0, 500)]
    assert image.getDefaultZ() == 1
    picture = image.renderImage(2, 0)
    assert picture.size == (40, 20)
    assert [pixel(picture, x, y) for x, y in ((5, 5), (35, 15), (35, 5), (5, 15))] == [
        [256, 0, 0],
        [0, 256, 0],
        [0, 0, 0],
        [256, 256, 0],
    ]


def test_grey_shows_the_first_active_channel(gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    image.setGreyscaleRenderingModel()
    image.setActiveChannels([2])
    assert pixel(image.renderImage(2, 0), 35, 15) == [256, 256, 256]
    assert pixel(image.renderImage(2, 0), 5, 5) == [0, 0, 0]


def test_a_maximum_projection_shows_what_only_one_plane_has(gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    assert pixel(image.renderImage(0, 0), 35, 15) == [0, 0, 0]
    image.setProjection("intmax")
    assert pixel(image.renderImage(0, 0), 35, 15) == [0, 256, 0]


def test_saved_settings_are_seen_by_a_second_client(user: Person, gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    image.setActiveChannels([1], [[10, 900]], ["0000FF"])
    image.saveDefaults()
    other = user.gateway()
    other.SERVICE_OPTS.setOmeroGroup(str(user.group))
    seen = other.getObject("Image", image.getId()).getChannels()
    assert [(c.isActive(), c.getWindowStart(), c.getColor().getHtml()) for c in seen] == [
        (True, 10.0, "0000FF"),
        (False, 0.0, "00FF00"),
    ]


def test_inverted_channels_are_kept(gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    image.setActiveChannels([1])
    image.setChannelInverted(0)
    image.saveDefaults()
    again = gateway.getObject("Image", image.getId())
    assert [c.isInverted() for c in again.getChannels()] == [True, False]
    assert pixel(again.renderImage(0, 0), 35, 5) == [256, 0, 0]


def test_thumbnails_keep_the_proportions(gateway: Any, image: Any) -> None:
    image = gateway.getObject("Image", image.getId())
    picture = Image.open(io.BytesIO(image.getThumbnail((64,))))
    assert (picture.format, picture.size) == ("JPEG", (64, 32))
    found = gateway.getThumbnailSet([image.getId()], 32)
    assert Image.open(io.BytesIO(found[image.getId()])).size == (32, 16)


def test_a_colleague_in_a_read_only_group_sees_thumbnails(endpoint: Any, new_lab: Any) -> None:
    lab = new_lab(endpoint, "rwr---")
    owner, colleague = lab.member().gateway(), lab.member().gateway()
    owner.SERVICE_OPTS.setOmeroGroup(str(lab.group))
    image = owner.createImageFromNumpySeq(iter([np.full((8, 8), 9, np.uint8)]), "theirs")
    owner.getObject("Image", image.getId()).getThumbnail((16,))
    colleague.SERVICE_OPTS.setOmeroGroup(str(lab.group))
    data = colleague.getObject("Image", image.getId()).getThumbnail((16,))
    assert Image.open(io.BytesIO(data)).size == (16, 16)


def test_packed_integers_are_the_rendered_plane(gateway: Any, image: Any) -> None:
    engine = gateway.c.sf.createRenderingEngine()
    engine.lookupPixels(image.getPixelsId())
    if not engine.lookupRenderingDef(image.getPixelsId()):
        engine.resetDefaultSettings(True)
    engine.load()
    plane = omero.romio.PlaneDef(0, 0, 0, 2, 0, None, -1)
    found = np.array(engine.renderAsPackedInt(plane), np.int32).view(np.uint32).reshape(20, 40)
    assert (hex(found[5, 5]), hex(found[15, 35])) == ("0xffff0000", "0xff00ff00")
    engine.close()


def test_settings_are_taken_over_by_images_that_fit(gateway: Any, image: Any) -> None:
    source = gateway.getObject("Image", image.getId())
    source.setActiveChannels([2], [[0, 50]], ["FFFFFF"])
    source.saveDefaults()
    planes = [np.ones((4, 4), np.uint16)] * 2
    same = gateway.createImageFromNumpySeq(iter(planes), "same", 1, 2, 1).getId()
    other = gateway.createImageFromNumpySeq(iter(planes[:1]), "other").getId()
    done = gateway.applySettingsToSet(image.getId(), "Image", [same, other])
    assert (done[True], done[False]) == ([same], [other])
    assert [c.isActive() for c in gateway.getObject("Image", same).getChannels()] == [False, True]


def test_a_thumbnail_of_pixels_that_are_not_there_is_refused(gateway: Any) -> None:
    store = gateway.c.sf.createThumbnailStore()
    with pytest.raises(omero.ValidationException):
        store.setPixelsId(999_999_999)
    with pytest.raises(omero.ApiUsageException):
        store.getThumbnail(rint(16), rint(16))
    store.close()


def test_an_exported_tiff_holds_all_planes_and_sizes(gateway: Any, tmp_path: Path) -> None:
    data = np.random.default_rng(5).integers(0, 60000, (2, 2, 3, 12, 10)).astype(np.uint16)  # t c z y x
    planes = [data[t, c, z] for z in range(3) for c in range(2) for t in range(2)]
    image = gateway.createImageFromNumpySeq(iter(planes), "exported", 3, 2, 2)
    pixels = gateway.getQueryService().get("Pixels", image.getPixelsId())
    pixels.physicalSizeX = omero.model.LengthI(0.5, omero.model.enums.UnitsLength.MICROMETER)
    gateway.getUpdateService().saveObject(pixels)
    size, blocks = gateway.getObject("Image", image.getId()).exportOmeTiff(bufsize=1000)
    (tmp_path / "image.ome.tiff").write_bytes(b"".join(blocks))
    assert (tmp_path / "image.ome.tiff").stat().st_size == size
    with tifffile.TiffFile(tmp_path / "image.ome.tiff") as found:
        assert np.array_equal(found.asarray(), data)
        assert 'PhysicalSizeX="0.5"' in found.ome_metadata


@pytest.mark.parametrize(("name", "reduce"), [("MAXIMUMINTENSITY", np.max), ("MEANINTENSITY", np.mean)])
def test_projected_stacks_are_those_of_numpy(gateway: Any, name: str, reduce: Any) -> None:
    data = np.random.default_rng(6).integers(0, 60000, (4, 9, 8)).astype(np.uint16)
    image = gateway.createImageFromNumpySeq(iter(data), "stack", 4, 1, 1)
    algorithm = getattr(omero.constants.projection.ProjectionType, name)
    service = gateway.c.sf.getProjectionService()
    found = service.projectStack(image.getPixelsId(), None, algorithm, 0, 0, 1, 1, 3)
    expected = reduce(data[1:], axis=0).astype(np.uint16)
    assert np.array_equal(np.frombuffer(found, ">u2").reshape(9, 8), expected)
    made = service.projectPixels(image.getPixelsId(), None, algorithm, 0, 0, [0], 1, 1, 3, "flat")
    flat = gateway.getObject("Image", made)
    assert (flat.getName(), flat.getSizeZ()) == ("flat", 1)
    assert np.array_equal(flat.getPrimaryPixels().getPlane(), expected)


def test_slices_along_z_are_drawn(user: Person) -> None:
    gateway = user.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(user.group))
    stack = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6) * 2  # z y x
    image = gateway.createImageFromNumpySeq(iter(stack), "a stack", sizeZ=4)
    engine = gateway.c.sf.createRenderingEngine()
    engine.lookupPixels(image.getPixelsId())
    engine.resetDefaultSettings(True)
    engine.setChannelWindow(0, 0.0, 255.0)
    expected = {omero.romio.XZ: stack[:, 3, :], omero.romio.ZY: stack[:, :, 2].T}
    for slicing, wanted in expected.items():
        drawn = engine.renderAsPackedInt(omero.romio.PlaneDef(slicing, 2, 3, 0, 0, None, 0))
        assert np.array_equal(np.array(drawn).reshape(wanted.shape) & 255, wanted)
    with pytest.raises(omero.ApiUsageException):
        engine.renderAsPackedInt(omero.romio.PlaneDef(omero.romio.XZ, 0, 5, 0, 0, None, 0))
    engine.close()

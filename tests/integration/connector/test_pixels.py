"""Images into OMERO and their pixels out again."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.hierarchy import DTYPES
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.errors import ImageError, MissingError
from omero_pixclf.image import Region
from tests.integration.readers import reader

WHOLE = (0, 0, 0, 0, 0)


def found(session, *targets):
    return list(OmeroSource(session).images(targets))


@pytest.mark.parametrize("dtype", sorted(DTYPES.values()))
def test_every_pixel_type_comes_back(session, dtype):
    image = reader((2, 3, 7, 5, 2), dtype)
    (info,) = found(session, f"Image:{upload_image(session, image)}")
    with OmeroSource(session).open(info) as opened:
        assert (info.shape, info.dtype) == (image.info.shape, dtype)
        back = opened.read(Region.whole(info.shape))
    assert_array_equal(back, image.pixels)
    assert back.flags.c_contiguous
    assert back.dtype.isnative


def test_another_client_reads_the_same_planes(session, user):
    image = reader((2, 2, 9, 11, 2))
    ident = upload_image(session, image)
    stored = user.gateway().getObject("Image", ident)
    for t in range(2):
        for z in range(2):
            for c in range(2):
                assert_array_equal(stored.getPrimaryPixels().getPlane(z, c, t), image.pixels[t, z, :, :, c])
    assert stored.getChannelLabels() == ["c0", "c1"]


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ((0, 0, 0, 0, 0), (2, 4, 33, 41, 3)),
        ((1, 1, 5, 6, 1), (2, 3, 20, 40, 3)),
        ((0, 3, 32, 40, 2), (1, 4, 33, 41, 3)),
    ],
)
def test_regions_are_cut_exactly(session, start, stop):
    image = reader((2, 4, 33, 41, 3))
    (info,) = found(session, f"Image:{upload_image(session, image)}")
    with OmeroSource(session).open(info) as opened:
        assert_array_equal(opened.read(Region(start, stop)), image.pixels[Region(start, stop).slices])


def test_large_planes_are_read_by_tiles(session):
    image = reader((1, 1, 2100, 1500, 1))
    (info,) = found(session, f"Image:{upload_image(session, image)}")
    region = Region((0, 0, 30, 20, 0), (1, 1, 2100, 1490, 1))
    with OmeroSource(session).open(info) as opened:
        assert_array_equal(opened.read(region), image.pixels[region.slices])


def test_a_region_outside_is_refused(session):
    (info,) = found(session, f"Image:{upload_image(session, reader())}")
    with OmeroSource(session).open(info) as opened, pytest.raises(ImageError, match="is not in"):
        opened.read(Region(WHOLE, (1, 1, 17, 20, 1)))


def test_several_threads_read_one_image(session):
    image = reader((4, 4, 64, 64, 1))
    (info,) = found(session, f"Image:{upload_image(session, image)}")
    regions = [Region((t, z, 0, 0, 0), (t + 1, z + 1, 64, 64, 1)) for t in range(4) for z in range(4)]
    with OmeroSource(session).open(info) as opened, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(opened.read, regions))
    for region, part in zip(regions, parts, strict=True):
        assert_array_equal(part, image.pixels[region.slices])
    assert threading.active_count() < 20


def test_facts_of_an_image(session, user):
    sizes = (0.5, 0.25, 0.325)
    dataset = create_container(session, "Dataset", "data")
    image = reader(channels=("DAPI",), name="n.tif", sizes=sizes)
    ident = upload_image(session, image, dataset=dataset)
    (info,) = found(session, f"Dataset:{dataset}")
    assert (info.key, info.name, info.channels, info.pixel_size_um) == (f"Image:{ident}", "n.tif", ("DAPI",), sizes)
    assert (info.place.container, info.place.name, info.place.well) == (f"Dataset:{dataset}", "data", None)
    stored = user.gateway().getObject("Image", ident).getPrimaryPixels()
    digest = hashlib.sha1(image.pixels.astype(">u2").tobytes()).hexdigest()
    assert info.fingerprint == f"Pixels:{stored.getId()} sha1:{digest}"


def test_projects_hold_the_images_of_their_datasets(session):
    project = create_container(session, "Project", "project")
    datasets = [create_container(session, "Dataset", f"d{i}", parent=f"Project:{project}") for i in range(2)]
    images = [upload_image(session, reader(), dataset=d) for d in datasets for _ in range(2)]
    assert [i.key for i in found(session, f"Project:{project}")] == [f"Image:{i}" for i in images]


def test_an_image_is_listed_once_however_often_it_is_named(session):
    dataset = create_container(session, "Dataset", "d")
    image = upload_image(session, reader(), dataset=dataset)
    infos = found(session, f"Image:{image}", f"Dataset:{dataset}", f"Image:{image}")
    assert [i.key for i in infos] == [f"Image:{image}"]
    assert infos[0].place.container == f"Dataset:{dataset}"


def test_an_orphan_is_its_own_container(session):
    image = upload_image(session, reader())
    assert found(session, f"Image:{image}")[0].place.container == f"Image:{image}"


@pytest.fixture
def plate(session):
    """Two wells of two and one fields in a plate in a screen: (screen, plate)."""
    screen = create_container(session, "Screen", "screen")
    wells = [
        WellContent(2, 11, [reader(name="C12")]),
        WellContent(0, 1, [reader(name="A2-1"), reader(name="A2-2")], stage_um=[(0.0, 0.0), (650.0, 0.0)]),
    ]
    return screen, create_plate(session, "plate", wells, screen=screen, acquisition="first run")


def test_a_plate_is_read_by_wells_and_fields(session, plate):
    screen, ident = plate
    expected = [("A2-1", "A2", 1), ("A2-2", "A2", 2), ("C12", "C12", 1)]
    for target in (f"Plate:{ident}", f"Screen:{screen}"):
        infos = found(session, target)
        assert [(i.name, i.place.well, i.place.field) for i in infos] == expected
        assert {(i.place.container, i.place.name, i.place.acquisition) for i in infos} == {
            (f"Plate:{ident}", "plate", "first run")
        }


def test_a_well_and_an_image_of_it_are_targets(session, plate):
    infos = found(session, f"Plate:{plate[1]}")
    well = infos[0].place.well_id
    assert found(session, f"Well:{well}") == infos[:2]
    assert found(session, infos[1].key) == [infos[1]]


def test_another_client_sees_the_plate(session, user, plate):
    stored = user.gateway().getObject("Plate", plate[1])
    wells = {w.getWellPos(): w for w in stored.listChildren()}
    assert sorted(wells) == ["A2", "C12"]
    assert [s.getImage().getName() for s in wells["A2"].listChildren()] == ["A2-1", "A2-2"]


@pytest.mark.parametrize("kind", ["Image", "Dataset", "Project", "Plate", "Screen", "Well"])
def test_a_target_that_is_not_there_is_named(session, kind):
    with pytest.raises(MissingError, match=f"{kind}:99999999"):
        found(session, f"{kind}:99999999")


def test_an_image_without_pixels_is_listed_and_refused_when_opened(session, user):
    import omero.model
    from omero.rtypes import rstring

    bare = omero.model.ImageI()
    bare.name = rstring("bare")
    ident = user.gateway().getUpdateService().saveAndReturnObject(bare).id.val
    (info,) = found(session, f"Image:{ident}")
    assert info.shape == (0, 0, 0, 0, 0)
    with pytest.raises(ImageError, match="has no pixels"), OmeroSource(session).open(info):
        pass


def test_raw_stores_are_closed(session):
    (info,) = found(session, f"Image:{upload_image(session, reader())}")
    with OmeroSource(session).open(info) as opened:
        opened.read(Region.whole(info.shape))
        during = session.read("services", lambda sf: sf.activeServices())
    after = session.read("services", lambda sf: sf.activeServices())
    assert sum("RawPixelsStore" in s for s in during) == 1 or session.generation  # a lost session has none
    assert sum("RawPixelsStore" in s for s in after) == 0


def test_a_store_that_the_server_dropped_is_opened_again(user):
    session = user.session(waits=(0.0,))
    image = reader((1, 2, 8, 8, 1))
    (info,) = found(session, f"Image:{upload_image(session, image)}")
    with OmeroSource(session).open(info) as opened:
        opened.read(Region.whole(info.shape))
        opened._store.close()
        assert_array_equal(opened.read(Region.whole(info.shape)), image.pixels)
    assert session.generation == 0

"""Pixels and files of the embedded OMERO, through unmodified clients."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.model
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from omero.rtypes import rstring

from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer, PixelLayout
from omero_pixclf.embedded.server.server import start
from omero_pixclf.embedded.storage import data_paths
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess, Endpoint, Lab, Person

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def at_home(person: Person) -> Any:
    """A gateway that writes into the person's group."""
    gateway = person.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(person.group))
    return gateway


def image_of(gateway: Any, planes: list[NDArray[Any]], z: int = 1, c: int = 1, t: int = 1) -> Any:
    return gateway.createImageFromNumpySeq(iter(planes), "an image", z, c, t)


def store_of(gateway: Any, pixels: int) -> Any:
    store = gateway.c.sf.createRawPixelsStore()
    store.setPixelsId(pixels, True)
    return store


def files_in(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


def new_file(gateway: Any) -> int:
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring("data.bin"), rstring("/somewhere/")
    return int(gateway.getUpdateService().saveAndReturnObject(file).id.val)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_pixel_type_comes_back_as_it_was(user: Person, dtype: str) -> None:
    gateway = at_home(user)
    kind = np.dtype(dtype)
    low, high = (-1e3, 1e3) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    data = np.random.default_rng(7).uniform(low, high, (9, 13)).astype(kind)
    pixels = image_of(gateway, [data]).getPrimaryPixels()
    assert np.array_equal(pixels.getPlane(), data)
    raw = data.astype(kind.newbyteorder(">")).tobytes()
    assert user.client().sf.getQueryService().get("Pixels", pixels.getId()).sha1.val == hashlib.sha1(raw).hexdigest()


def test_hypercubes_equal_slices_of_the_array(user: Person) -> None:
    gateway = at_home(user)
    data = np.random.default_rng(3).integers(0, 60000, (2, 3, 4, 11, 7)).astype(np.uint16)  # t c z y x
    planes = [data[t, c, z] for z in range(4) for c in range(3) for t in range(2)]
    store = store_of(gateway, image_of(gateway, planes, 4, 3, 2).getPixelsId())
    found = store.getHypercube([1, 2, 0, 1, 0], [6, 8, 4, 2, 2], [2, 3, 2, 1, 1])
    expected = data[:, 1:3, 0:4:2, 2:10:3, 1:7:2]
    assert np.array_equal(np.frombuffer(found, ">u2").reshape(expected.shape), expected)
    whole = np.frombuffer(store.getHypercube([0] * 5, [7, 11, 4, 3, 2], [1] * 5), ">u2")
    assert np.array_equal(whole.reshape(data.shape), data)
    store.close()


def test_pixels_are_written_once(user: Person) -> None:
    gateway = at_home(user)
    image = image_of(gateway, [np.arange(12, dtype=np.uint8).reshape(3, 4)])
    store = store_of(gateway, image.getPixelsId())
    with pytest.raises(omero.ApiUsageException, match="not permitted"):
        store.setPlane(bytes(12), 0, 0, 0)
    store.close()
    assert image.getPrimaryPixels().getPlane().ravel().tolist() == list(range(12))


def test_a_store_that_is_lost_leaves_the_pixels_pending(own_server: EmbeddedProcess, new_lab: Any) -> None:
    person = new_lab(Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD)).member()
    gateway = at_home(person)
    kind = gateway.getQueryService().findByQuery("from PixelsType as p where p.value = 'uint8'", None)
    image = gateway.getPixelsService().createImage(4, 3, 2, 1, [0], kind, "half", "").val
    pixels = gateway.getObject("Image", image).getPixelsId()
    store_of(gateway, pixels).setPlane(bytes(12), 0, 0, 0)
    own_server.kill()
    own_server.start()
    root = omero.client("127.0.0.1", own_server.port)
    found = root.createSession("root", ROOT_PASSWORD).getQueryService()
    try:
        assert found.get("Pixels", pixels, {"omero.group": "-1"}).sha1.val == "Pending..."
    finally:
        root.closeSession()


def test_a_full_disk_is_told_and_the_pixels_stay_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full as far as the server can see: what it keeps free is larger than any disk."""
    with start(tmp_path / "data", password="x") as server:
        client = omero.client("127.0.0.1", server.port)
        session = client.createSession("root", "x")
        kind = session.getQueryService().findByQuery("from PixelsType as p where p.value = 'uint8'", None)
        session.getPixelsService().createImage(4, 3, 2, 1, [0], kind, "half", "")
        store = session.createRawPixelsStore()
        store.setPixelsId(1, True)
        store.setPlane(bytes(12), 0, 0, 0)
        monkeypatch.setattr(data_paths, "_RESERVE", 1 << 60)
        with pytest.raises(omero.ResourceError, match="no space left"):
            store.setPlane(bytes(12), 1, 0, 0)
        with pytest.raises(omero.ResourceError, match="not whole"):
            store.save()
        store.close()
        assert session.getQueryService().get("Pixels", 1).sha1.val == "Pending..."
        client.closeSession()


def test_files_are_padded_when_read_beyond_their_end(user: Person) -> None:
    gateway = at_home(user)
    store = gateway.c.sf.createRawFileStore()
    store.setFileId(new_file(gateway))
    store.write(b"hello", 0, 5)
    assert store.size() == 5
    assert store.read(3, 4) == b"lo\0\0"
    saved = store.save()
    store.close()
    assert saved.size.val == 5


def test_a_file_left_open_by_a_vanished_client_is_saved_as_it_stands(user: Person) -> None:
    gateway = at_home(user)
    ident = new_file(gateway)
    client = user.client()
    store = client.sf.createRawFileStore()
    store.setFileId(ident)
    store.write(b"abc", 0, 3)
    client.closeSession()
    again = gateway.c.sf.createRawFileStore()
    again.setFileId(ident)
    assert again.read(0, again.size()) == b"abc"
    again.close()


def test_deleting_an_image_removes_its_bytes(own_server: EmbeddedProcess, new_lab: Any) -> None:
    lab: Lab = new_lab(Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD))
    gateway = at_home(lab.member())
    image = image_of(gateway, [np.ones((50, 50), np.uint8)])
    assert len(files_in(own_server.folder / "Pixels")) == 1
    gateway.deleteObjects("Image", [image.getId()], wait=True)
    assert files_in(own_server.folder / "Pixels") == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cube_of_a_buffer_equals_the_slice(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 5))  # t c z y x
    array = np.arange(np.prod(shape), dtype=">u2").reshape(shape)
    layout = PixelLayout(*shape[::-1][:2], shape[2], shape[1], shape[0], "uint16")
    buffer = PixelBuffer(tmp_path_factory.mktemp("pixels") / "1", layout, writable=True)
    buffer.write(0, array.tobytes())
    sizes = shape[::-1]
    offset = [data.draw(st.integers(0, n - 1)) for n in sizes]
    size = [data.draw(st.integers(1, n - o)) for n, o in zip(sizes, offset, strict=True)]
    step = [data.draw(st.integers(1, 3)) for _ in sizes]
    parts = tuple(slice(o, o + s, p) for o, s, p in zip(offset, size, step, strict=True))[::-1]
    assert buffer.cube(offset, size, step) == array[parts].tobytes()
    buffer.close()

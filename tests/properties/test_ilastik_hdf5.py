"""Our reader and the HDF5 library see the same values in every form that projects come in."""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, read_text, read_texts
from omero_pixclf.ilastik.safe_hdf5.source import CheckedFile

DTYPES = ["u1", "i1", "<i2", ">i4", "<u4", "<i8", ">u8", "<f4", ">f8", "<f2", "?", "S7"]
LIBRARIES = [("earliest", "v108"), ("v108", "v108")]


def root(content: io.BytesIO) -> Hdf5Group:
    data = content.getvalue()
    return Hdf5Group.root("some.ilp", CheckedFile(data, len(data)))


@given(
    hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=9)),
    st.sampled_from(LIBRARIES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_datasets_come_back(values: Any, libver: Any, packed: bool, shuffle: bool, fletcher: bool) -> None:
    content = io.BytesIO()
    more = {"compression": "gzip" if packed else None, "shuffle": shuffle or None, "fletcher32": fletcher or None}
    if values.ndim == 0 or not any(more.values()):
        more = {}
    with h5py.File(content, "w", libver=libver) as file:
        file.create_dataset("deep/er/values", data=values, **more)
        file["deep"].attrs["also"] = values if values.ndim == 0 else values.ravel()[0]
    found = root(content).group("deep").group("er").array("values")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype.newbyteorder("=")
    own = root(content).attribute("also", "deep")
    assert own is not None
    np.testing.assert_array_equal(own, values.ravel()[0])


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_texts_come_back(words: list[str]) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["many"] = np.array(words, h5py.string_dtype())
        file["one"] = words[0]
    assert read_texts(root(content), "many") == tuple(words)
    assert read_text(root(content), "one") == words[0]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 60, 700])
@pytest.mark.parametrize("libver", LIBRARIES)
def test_all_children_of_a_group_are_found(count: int, libver: Any) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w", libver=libver) as file:
        for number in range(count):
            file.create_group(f"trees/Tree_{number}")
        file.require_group("trees")
    trees = root(content).group("trees")
    assert trees.names() == sorted(f"Tree_{number}" for number in range(count))
    assert all(trees.group(name).names() == [] for name in trees.names()[:5])


@pytest.mark.parametrize("shape", [(1,), (1000,), (37, 41), (5, 6, 7)])
def test_chunks_at_the_edges_come_back(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("values", data=values, chunks=tuple(max(1, n // 3) for n in shape), compression="gzip")
    np.testing.assert_array_equal(root(content).array("values"), values)

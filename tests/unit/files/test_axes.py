"""Axes: tags as vigra writes them, guesses as ilastik makes them, five axes and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.axes import (
    Axis,
    add_channel_axis,
    axes_from_keys,
    axis_keys,
    format_axistags,
    from_tzyxc,
    guess_keys,
    parse_axistags,
    region_slices,
    to_contiguous_tzyxc,
    to_tzyxc,
    tzyxc_shape,
)
from omero_pixclf.files.export.chunks import near_cubic_chunks
from omero_pixclf.files.stack import stack_arrays
from omero_pixclf.files.stored_array import FileReader, StoredArray, pixel_size_um, rename_axes
from omero_pixclf.image import Region

# what vigra printed into a golden's file
GOLDEN_TAGS = """{
  "axes": [
    {
      "key": "y",
      "typeFlags": 2,
      "resolution": 0,
      "description": ""
    },
    {
      "key": "c",
      "typeFlags": 1,
      "resolution": 0,
      "description": ""
    }
  ]
}"""


def test_tags_are_written_byte_for_byte_as_vigra_writes_them() -> None:
    assert format_axistags(axes_from_keys("yc")) == GOLDEN_TAGS


@pytest.mark.parametrize("keys", ["tczyx", "tzyxc", "cyx", "yx", "xy", "zcxy"])
def test_five_axes_laid_out_in_memory_are_the_same_as_a_view(keys: str) -> None:
    array = np.arange(2 ** len(keys) * 3, dtype=">u2").reshape(*[2] * (len(keys) - 1), 6)
    found = to_contiguous_tzyxc(array, keys, np.dtype("uint16"))
    assert found.flags.c_contiguous and found.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(found, to_tzyxc(array, keys))


def test_resolution_is_printed_with_six_digits_and_whole_numbers_without_a_point() -> None:
    tags = json.loads(format_axistags((Axis("x", 0.123456789), Axis("y", 5.0))))["axes"]
    assert [t["resolution"] for t in tags] == [0.123457, 5]


def test_tags_read_back_equal_those_written_with_units_beside() -> None:
    axes = (Axis("t", 2.0, "s"), Axis("y", 0.5, "µm", "rows"), Axis("c"))
    assert parse_axistags(format_axistags(axes), json.dumps({"t": "s", "y": "µm"})) == axes


def test_tags_with_unknown_keys_count_as_none() -> None:
    assert parse_axistags('{"axes": [{"key": "?"}, {"key": "x"}]}') is None


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"axes": 3}', "no json"])
def test_text_that_is_no_tags_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_axistags(text)


@pytest.mark.parametrize(
    ("shape", "keys"),
    [((9, 9), "yx"), ((9, 9, 9), "zyx"), ((9, 9, 4), "yxc"), ((9, 9, 9, 2), "zyxc"), ((2, 9, 9, 9, 2), "tzyxc")],
)
def test_axes_are_guessed_as_ilastik_does(shape: tuple[int, ...], keys: str) -> None:
    assert guess_keys(shape) == keys


def test_axes_that_are_unknown_or_double_are_refused() -> None:
    for keys in ("yxq", "yy"):
        with pytest.raises(UsageError):
            axes_from_keys(keys)


def test_txyzc_is_transposed_so_that_x_and_y_change_places() -> None:
    array = np.arange(2 * 3 * 5 * 1 * 1).reshape(2, 3, 5, 1, 1)
    five = to_tzyxc(array, "txyzc")
    assert five.shape == (2, 1, 5, 3, 1)
    assert five[1, 0, 4, 2, 0] == array[1, 2, 4, 0, 0]
    assert np.array_equal(from_tzyxc(five, "txyzc"), array)


def test_an_axis_with_content_does_not_fall_away() -> None:
    with pytest.raises(ValueError, match="z"):
        from_tzyxc(np.zeros((1, 2, 3, 4, 1)), "yx")


def test_shapes_and_regions_follow_the_axes() -> None:
    assert tzyxc_shape((7, 8, 2), "xyc") == (1, 1, 8, 7, 2)
    region = Region((0, 0, 1, 2, 0), (1, 1, 5, 6, 2))
    assert region_slices(region, "xyc") == (slice(2, 6), slice(1, 5), slice(0, 2))


def test_a_result_gets_a_channel_axis_at_the_end_only_where_there_is_none() -> None:
    assert axis_keys(add_channel_axis(axes_from_keys("zyx"))) == "zyxc"
    assert axis_keys(add_channel_axis(axes_from_keys("cyx"))) == "cyx"


def stored(keys: str, array: np.ndarray, name: str = "a.npy") -> StoredArray:
    return StoredArray(name, array.shape, array.dtype, axes_from_keys(keys), lambda s: array[s])


def test_other_axes_are_put_on_and_another_count_is_refused() -> None:
    array = stored("zyx", np.zeros((4, 5, 6), np.uint8))
    assert axis_keys(rename_axes(array, axes_from_keys("tyx")).axes) == "tyx"
    with pytest.raises(ImageError, match="expected 4 dimensions"):
        rename_axes(array, axes_from_keys("zyxc"))


def test_pixel_sizes_stay_only_where_the_axes_keep_their_meaning() -> None:
    array = StoredArray(
        "a", (4, 5), np.dtype("u1"), (Axis("y", 0.5, "µm"), Axis("x", 0.25, "nm")), lambda s: np.zeros(1)
    )
    assert pixel_size_um(rename_axes(array, axes_from_keys("yx")).axes) == (None, 0.5, 0.25e-3)
    assert pixel_size_um(rename_axes(array, axes_from_keys("xy")).axes) == (None, None, None)


def test_files_are_stacked_along_a_new_axis_or_joined_along_one_they_have() -> None:
    one, two = np.full((3, 4, 1), 1, np.uint8), np.full((3, 4, 1), 2, np.uint8)
    parts = [stored("yxc", one), stored("yxc", two)]
    along_z, along_c = stack_arrays(parts, "z"), stack_arrays(parts, "c")
    assert (axis_keys(along_z.axes), along_z.shape) == ("zyxc", (2, 3, 4, 1))
    assert (axis_keys(along_c.axes), along_c.shape) == ("yxc", (3, 4, 2))
    assert along_z.read((slice(1, 2), slice(0, 3), slice(0, 4), slice(0, 1))).max() == 2
    assert along_c.read((slice(0, 1), slice(0, 1), slice(0, 2))).tolist() == [[[1, 2]]]


def test_files_of_different_shape_are_not_stacked() -> None:
    with pytest.raises(ImageError, match="cannot be stacked"):
        stack_arrays([stored("yx", np.zeros((3, 4))), stored("yx", np.zeros((3, 5)))], "z")


def test_chunks_of_a_golden_have_ilastiks_shape() -> None:
    assert near_cubic_chunks((128, 128, 1), 512_000 / 4) == (128, 128, 1)
    assert near_cubic_chunks((1, 100, 5, 200, 3), 1000) == (1, 8, 5, 8, 3)


def test_reader_gives_contiguous_five_axes(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("r") / "a.npy"
    file.write_bytes(b"x")
    array = np.arange(24, dtype=">u2").reshape(4, 6)
    reader = FileReader(StoredArray(str(file), (4, 6), np.dtype("u2"), axes_from_keys("yx"), lambda s: array[s]), file)
    part = reader.read(Region((0, 0, 1, 2, 0), (1, 1, 3, 5, 1)))
    assert part.flags.c_contiguous
    assert part.dtype == np.dtype("=u2")
    assert np.array_equal(part[0, 0, :, :, 0], array[1:3, 2:5])

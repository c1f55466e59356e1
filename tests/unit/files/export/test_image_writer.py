"""Export: names, ranges and plans as ilastik's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.export.image_writer import ExportPlan, ExportSettings, ResultDescription, plan_export
from omero_pixclf.files.export.naming import coordinate_fields, fill_template, output_path
from omero_pixclf.files.export.value_ranges import exported_range, value_converter
from omero_pixclf.files.paths import dataset_nickname, split_path


def result(
    keys: str = "yx", shape: tuple[int, ...] = (128, 96), channels: int = 2, **more: object
) -> ResultDescription:
    facts = {"drange": (0.0, 1.0), "channels": tuple("ab"[:channels]), **more}
    return ResultDescription.like("Probabilities", axes_from_keys(keys), shape, channels, "float32", **facts)


def plan(export: ExportSettings, made: ResultDescription | None = None) -> ExportPlan:
    return plan_export(export, made or result(), dataset_dir="/data", nickname="raw-data")


def test_the_name_is_made_of_folder_nickname_and_result_with_its_space() -> None:
    made = ResultDescription.like("Simple Segmentation", axes_from_keys("yx"), (8, 9), 1, "uint8")
    assert plan(ExportSettings(), made).path == Path("/data/raw-data_Simple Segmentation.h5")


@pytest.mark.parametrize(
    ("template", "format_name", "path"),
    [
        ("/o/{nickname}.h5", "hdf5", "/o/raw-data.h5"),
        ("/o/res.tif", "hdf5", "/o/res.h5"),
        ("/o/res", "numpy", "/o/res.npy"),
        ("/o/{nickname}_{x_start}-{x_stop}_{y_stop:04}", "multipage tiff", "/o/raw-data_0-96_0128.tiff"),
        ("/o/{roi}", "hdf5", "/o/[(0, 0, 0), (128, 96, 2)].h5"),
        ("/o/{other}{nickname}", "png", "/o/{other}raw-data.png"),
    ],
)
def test_templates_are_filled_as_ilastik_fills_them(template: str, format_name: str, path: str) -> None:
    assert plan(ExportSettings(output_format=format_name, output_filename_format=template)).path == Path(path)


def test_a_dot_in_the_images_name_is_no_extension() -> None:
    values = {"dataset_dir": "/d", "nickname": "img.001", "result_type": "Probabilities"}
    assert output_path("{dataset_dir}/{nickname}_{result_type}", values, "h5").name == "img.001_Probabilities.h5"


def test_relative_names_lie_below_the_working_directory() -> None:
    assert output_path("sub/out.h5", {}, "h5") == Path.cwd() / "sub/out.h5"


def test_broken_templates_are_usage_errors() -> None:
    for template in ("{nickname", "{x_start:q}"):
        with pytest.raises(UsageError):
            fill_template(template, {"x_start": 1})


def test_coordinates_name_every_axis() -> None:
    assert coordinate_fields("xc", (1, 0), (3, 2)) == {
        "roi": [(1, 0), (3, 2)],
        "x_start": 1,
        "x_stop": 3,
        "c_start": 0,
        "c_stop": 2,
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("d/raw.h5/data", "raw-data"),
        ("d/raw.h5/volume/data", "raw-volume-data"),
        ("d/img.tif", "img"),
        ("d/img.ome.tif", "img.ome"),
        ("d/img.zarr", "img"),
    ],
)
def test_nicknames_are_ilastiks(path: str, name: str) -> None:
    assert dataset_nickname([split_path(path)]) == name


def test_probabilities_as_bytes_are_rounded_half_to_even() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    mapped = value_converter(np.dtype("u1"), (0.0, 1.0), (0, 255))(values)
    assert np.array_equal(mapped, np.rint(255 * values).astype(np.uint8))


def test_without_ranges_decimals_are_cut_off() -> None:
    assert value_converter(np.dtype("u1"))(np.array([0.99, 1.0], np.float32)).tolist() == [0, 1]


def test_whole_numbers_are_mapped_without_rounding() -> None:
    mapped = value_converter(np.dtype("u1"), (1, 4), (0, 255))(np.array([1, 2, 4], np.uint8))
    assert mapped.tolist() == [0, 85, 255]


def test_an_empty_source_range_maps_everything_to_the_start() -> None:
    assert value_converter(np.dtype("u1"), (1.0, 1.0), (7, 9))(np.array([0.3, 1.0], np.float32)).tolist() == [7, 7]


def test_the_range_is_converted_with_the_values() -> None:
    low, high = exported_range((0.0, 1.0), np.dtype("u1"), (0.0, 1.0), (0, 255)) or (None, None)
    assert (low, high) == (0, 255)
    assert isinstance(high, np.uint8)
    assert exported_range((0.0, 1.0), np.dtype("u1")) == (0, 1)
    assert exported_range(None, np.dtype("f4")) is None


def test_a_cut_counts_along_the_results_own_axes_with_channels() -> None:
    planned = plan(
        ExportSettings(cutout_subregion=((10, None, 1), (20, None, 2)), output_filename_format="/o/{y_start}_{c_stop}")
    )
    assert planned.region.start == (0, 0, 10, 0, 1)
    assert planned.region.stop == (1, 1, 20, 96, 2)
    assert (planned.target.shape, planned.target.offset, planned.target.channels) == ((10, 96, 1), (10, 0, 1), ("b",))
    assert planned.path.name == "10_2.h5"


def test_a_cut_beyond_the_image_is_clipped_and_an_empty_one_refused() -> None:
    assert plan(ExportSettings(cutout_subregion=((0, 0, 0), (999, 5, 9)))).target.shape == (128, 5, 2)
    with pytest.raises(UsageError, match="does not overlap"):
        plan(ExportSettings(cutout_subregion=((50, 0, 0), (50, 5, 2))))


def test_a_cut_of_another_rank_is_refused_and_told_the_axes() -> None:
    with pytest.raises(UsageError, match="'y': 128, 'x': 96, 'c': 2"):
        plan(ExportSettings(cutout_subregion=((0, 0, 0, 0, 0), (1, 2, 5, 5, 5))))


def test_axes_are_reordered_and_only_single_ones_are_left_out() -> None:
    assert plan(ExportSettings(output_axis_order="tcyx")).target.shape == (1, 2, 128, 96)
    one = ExportSettings(output_axis_order="yx", cutout_subregion=((0, 0, 1), (128, 96, 2)))
    assert plan(one).target.keys == "yx"
    with pytest.raises(ImageError, match="would be lost"):
        plan(ExportSettings(output_axis_order="yx"))


def test_formats_with_an_order_of_their_own_are_given_it() -> None:
    assert plan(ExportSettings(output_format="multipage tiff")).target.keys == "tzcyx"
    assert plan(ExportSettings(output_format="single-scale OME-Zarr")).target.keys == "tczyx"


@pytest.mark.parametrize(
    "options",
    [
        {"output_format": "dvid"},
        {"export_drange": (0, 255)},
        {"output_axis_order": "yxq"},
        {"output_axis_order": "yxx"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ExportSettings(**options)  # type: ignore[arg-type]


def test_channels_of_the_image_lose_their_meaning_in_the_result() -> None:
    made = result("cyx", (3, 8, 9))
    assert made.shape == (2, 8, 9)

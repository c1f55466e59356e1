"""Object Classification projects as frozen data; what is not established is refused by its name."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.object_features import STANDARD, ObjectFeature
from omero_pixclf.ilastik.object_project import ThresholdSettings, read_object_project

CASES = Path(__file__).parents[2] / "golden" / "cases"
SELECTED = "ObjectClassification/SelectedFeatures"
THRESHOLD = "ThresholdTwoLevels"


def stored_project(name: str) -> bytes:
    return gzip.decompress((CASES / name / "project.ilp.gz").read_bytes())


ALL, IPHT, PIXELS = (
    stored_project(name) for name in ("o06_oc_2d_1c_all_features", "o10_oc_2d_ipht", "k06_2d_u16_typical8")
)


def edited(content: bytes, edit: Callable[[h5py.File], object]) -> bytes:
    out = io.BytesIO(content)
    with h5py.File(out, "r+") as file:
        edit(file)
    return out.getvalue()


def put(path: str, value: object) -> Callable[[h5py.File], object]:
    def edit(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return edit


def removed(*paths: str) -> Callable[[h5py.File], object]:
    def edit(file: h5py.File) -> None:
        for path in paths:
            del file[path]

    return edit


def with_pixel_part() -> bytes:
    """A project of pixel and object classification in one file."""

    def edit(file: h5py.File) -> None:
        with h5py.File(io.BytesIO(IPHT), "r") as other:
            for name in ("ObjectClassification", "ObjectExtraction", THRESHOLD):
                other.copy(other[name], file, name)
        put("workflowName", b"Object Classification (from pixel classification)")(file)

    return edited(PIXELS, edit)


def refused(content: bytes) -> str:
    with pytest.raises(ProjectError, match=r"^cells\.ilp: ") as found:
        read_object_project(content, name="cells.ilp")
    return str(found.value)


def test_a_project_is_read_whole() -> None:
    project = read_object_project(ALL, name="cells.ilp")
    assert (project.name, project.source, project.ilastik_version) == ("cells.ilp", "predictions", "1.4.2")
    assert [(label.name, label.color) for label in project.classes] == [
        ("small", (255, 225, 25)),
        ("large", (0, 130, 200)),
    ]
    assert project.threshold == ThresholdSettings("simple", 1, 0, 0.55, 0.8, (1.0, 1.0, 1.0), 12, 100_000)
    assert len(project.features) == len(project.computed) == 69
    assert ObjectFeature(STANDARD, "Mean in neighborhood", (6, 3, 1)) in project.features
    assert project.trained_on == ((2, 1),)
    assert project.forests.column_count == 235
    (labels,) = project.labels
    assert (labels.lane, labels.t, labels.classes.tolist()[:4]) == (0, 0, [2, 0, 2, 0])
    assert project.pixels is None


def test_selected_features_are_fewer_than_computed_ones() -> None:
    project = read_object_project(IPHT)
    assert [feature.name for feature in project.features] == [
        "Count",
        "Mean",
        "Mean in neighborhood",
        "RegionRadii",
        "Variance",
    ]
    assert len(project.computed) == 48
    assert project.threshold is not None and project.threshold.method == "identity-preserving"


def test_the_pixel_part_of_a_combined_project_is_read() -> None:
    project = read_object_project(with_pixel_part(), name="both.ilp")
    assert project.source == "pixels"
    assert project.pixels is not None and project.pixels.name == "both.ilp"
    assert project.threshold is not None


@pytest.mark.parametrize(("workflow", "source"), [("binary", "binary"), ("label", "labels")])
def test_objects_that_exist_already_need_no_threshold(workflow: str, source: str) -> None:
    content = edited(ALL, put("workflowName", f"Object Classification (from {workflow} image)".encode()))
    project = read_object_project(content)
    assert (project.source, project.threshold) == (source, None)


def test_other_workflows_are_refused_by_name() -> None:
    assert "'Pixel Classification'" in refused(PIXELS)
    assert "'Carving'" in refused(edited(ALL, put("workflowName", b"Carving")))


def test_graph_cut_is_refused_by_name() -> None:
    assert "graph cut" in refused(edited(ALL, put(f"{THRESHOLD}/CurOperator", 2)))
    assert "CurOperator is 7" in refused(edited(ALL, put(f"{THRESHOLD}/CurOperator", 7)))


def test_old_projects_have_a_threshold_of_its_own_for_the_simple_method() -> None:
    old = edited(ALL, put(f"{THRESHOLD}/SingleThreshold", 0.3))
    assert read_object_project(old).threshold.low == 0.3
    hysteresis = edited(old, put(f"{THRESHOLD}/CurOperator", 1))
    assert read_object_project(hysteresis).threshold.low == 0.55


def test_old_projects_take_cores_from_the_objects_channel() -> None:
    old = edited(IPHT, removed(f"{THRESHOLD}/CoreChannel"))
    assert read_object_project(old).threshold.core_channel == 1


def test_what_a_project_does_not_say_has_ilastiks_default() -> None:
    names = ("CurOperator", "Channel", "CoreChannel", "LowThreshold", "HighThreshold", "MinSize", "MaxSize")
    bare = edited(ALL, removed(*(f"{THRESHOLD}/{name}" for name in (*names, "SmootherSigma"))))
    assert read_object_project(bare).threshold == ThresholdSettings()
    assert read_object_project(edited(ALL, removed(THRESHOLD))).threshold == ThresholdSettings()


@pytest.mark.parametrize("path", ["Standard Object Features/Beauty", "My plug-in/Mean"])
def test_unknown_features_are_refused_by_name(path: str) -> None:
    assert path in refused(edited(ALL, lambda file: file.create_group(f"{SELECTED}/{path}")))


def test_unknown_features_that_are_not_selected_do_no_harm() -> None:
    content = edited(ALL, lambda file: file.create_group("ObjectExtraction/Features/My plug-in/Mean"))
    assert len(read_object_project(content).computed) == 69


@pytest.mark.parametrize(("margin", "expected"), [([7, 5], (7, 5, 1)), (7, (7, 7, 7)), ([1, 9, 1], (6, 9, 1))])
def test_all_neighborhoods_have_the_largest_margin(margin: object, expected: tuple[int, int, int]) -> None:
    path = "ObjectExtraction/Features/Standard Object Features/Mean in neighborhood/margin"
    project = read_object_project(edited(ALL, put(path, margin)))
    assert {feature.margin for feature in project.features if feature.margin} == {expected}


def test_broken_margins_are_refused() -> None:
    path = f"{SELECTED}/Standard Object Features/Mean in neighborhood/margin"
    assert "margin is [-1, 0, 0]" in refused(edited(ALL, put(path, [-1, 0, 0])))


def test_projects_without_a_classifier_are_refused() -> None:
    assert "nothing is trained" in refused(edited(ALL, removed("ObjectClassification/ClassifierForests")))
    assert "nothing is trained" in refused(edited(ALL, removed("ObjectClassification")))
    assert "nothing is trained" in refused(edited(ALL, removed(SELECTED)))


def test_a_forest_that_looks_at_other_columns_is_refused() -> None:
    said = refused(edited(ALL, removed(f"{SELECTED}/Standard Object Features/Count")))
    assert "looks at 235 columns" in said and "68 selected features" in said


def test_classes_without_labelled_objects_are_classes_of_the_forest() -> None:
    """ilastik stores the labels that were used; its forests vote for all."""
    content = edited(ALL, put("ObjectClassification/ClassifierForests/known_labels", np.array([2], np.uint32)))
    assert read_object_project(content).forests.known_labels == (1, 2)


def test_labels_that_the_project_does_not_name_are_refused() -> None:
    def edit(file: h5py.File) -> None:
        put("ObjectClassification/LabelNames", np.array([b"small"]))(file)

    assert "names 1 labels" in refused(edited(ALL, edit))
    path = "ObjectClassification/LabelInputs/0000/0"
    assert "other classes than 0 to 2" in refused(edited(ALL, put(path, np.array([0.0, 3.0]))))


def test_pickles_in_the_file_are_not_looked_at() -> None:
    content = edited(ALL, put("ObjectClassification/ExportSettings", np.void(b"cos\nsystem\n(S'false'\ntR.")))
    assert read_object_project(content).classes


def test_an_image_unlike_the_training_image_is_refused() -> None:
    project = read_object_project(ALL, name="cells.ilp")
    assert project.features_for(2, 1) == project.features
    with pytest.raises(ProjectError, match=r"cells\.ilp: .* trained on 2D images with 1 channel.* 3D and has 2"):
        project.features_for(3, 2)


def test_the_columns_tell_the_dimensions_where_the_file_does_not() -> None:
    """Projects before 1.3.3 do not say how large their image is: RegionRadii has two columns in 2D, three in 3D."""

    def edit(file: h5py.File) -> None:
        raw = file["Input Data/infos/lane0000/Raw Data"]
        del raw["shape"], raw["axistags"]
        raw["axisorder"] = b"zyxc"

    assert read_object_project(edited(IPHT, edit)).trained_on == ((2, 1),)

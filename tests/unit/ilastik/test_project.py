"""What is read out of a project, and what is refused with which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.project import read_project
from tests.golden.cases import OWN
from tests.properties.ilp_fuzz import FORESTS, Edit, edited, replaced


def content(case: str = "k05_2d_customscales_reordered") -> bytes:
    return gzip.decompress((OWN / case / "project.ilp.gz").read_bytes())


def test_a_project_tells_classes_colours_channels_and_features() -> None:
    project = read_project(content(), name="cells.ilp")
    assert project.name == "cells.ilp"
    assert len(project.sha256) == 64
    assert project.axes == "yxc"
    assert project.lane.shape == (120, 140, 1)
    assert project.channels == 1
    assert [label.name for label in project.classes] == ["bg", "fg"]
    assert project.is_2d
    selection = project.stages[0].selection
    assert selection.scales == (0.5, 1.0, 2.2, 6.0)
    assert selection.feature_count(1) == project.stages[0].forests.column_count == 14
    assert project.stages[0].forests.sizes == (50, 50)


def test_feature_names_are_ilastiks_own() -> None:
    for case in ("k05_2d_customscales_reordered", "k08_2t3d_u16_mixed2d3d", "k04_2d2c_f32neg_missinglabel"):
        project = read_project(content(case))
        with h5py.File(OWN / case / "features.h5") as file:
            theirs = tuple(name.decode() if isinstance(name, bytes) else name for name in file["feature_names"][()])
        assert project.stages[0].selection.feature_names(1 if project.is_2d else 24, project.channels) == theirs


def test_a_class_without_strokes_stays_a_class() -> None:
    stage = read_project(content("k04_2d2c_f32neg_missinglabel")).stages[0]
    assert len(stage.classes) == 5
    assert stage.forests.known_labels == (1, 2, 3, 5)


def test_the_path_gives_the_name_and_the_same_project(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.ilp"
    path.write_bytes(content())
    assert read_project(path).name == "nuclei.ilp"
    assert read_project(path).sha256 == read_project(content()).sha256


def test_a_file_too_large_for_memory_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "large.ilp"
    path.write_bytes(edited(content(), replaced("Input Data/local_data/x", data=np.arange(5_000_000))))
    project = read_project(path)
    assert np.array_equal(project.stages[0].forests.columns, read_project(content()).stages[0].forests.columns)


def _without(*paths: str) -> Edit:
    def edit(file: h5py.File) -> None:
        for path in paths:
            del file[path]

    return edit


def test_an_old_project_without_flags_and_shape_is_understood() -> None:
    old = _without("FeatureSelections/ComputeIn2d", "Input Data/infos/lane0000/Raw Data/shape")
    project = read_project(edited(content(), old))
    assert project.channels == 1
    assert project.is_2d


def test_an_old_project_trained_on_planes_of_a_stack_is_told_by_its_features() -> None:
    def edit(file: h5py.File) -> None:
        _without("FeatureSelections/ComputeIn2d", "Input Data/infos/lane0000/Raw Data/shape")(file)
        tags = '{"axes": [' + ", ".join(f'{{"key": "{axis}"}}' for axis in "txyzc") + "]}"
        replaced("Input Data/infos/lane0000/Raw Data/axistags", data=tags.encode())(file)

    assert read_project(edited(content(), edit)).is_2d


def test_a_classifier_of_one_forest_is_read_from_its_own_place() -> None:
    def edit(file: h5py.File) -> None:
        forests = file[FORESTS]
        forests.move("Forest0000", "forest")
        del forests["Forest0001"]
        kind = b"clazyflow.classifiers.vigraRfLazyflowClassifier\nVigraRfLazyflowClassifier\np0\n."
        replaced(f"{FORESTS}/pickled_type", data=kind)(file)

    assert read_project(edited(content(), edit)).stages[0].forests.sizes == (50,)


def test_known_labels_and_type_may_be_absent_in_old_files() -> None:
    edit = _without(f"{FORESTS}/known_labels", f"{FORESTS}/pickled_type")
    assert read_project(edited(content(), edit)).stages[0].forests.known_labels == (1, 2)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (replaced("ilastikVersion", data=0.5), "was saved by ilastik 0.5.* open it in ilastik 1.0 to 1.2"),
        (replaced("ilastikVersion", data=b"0.5"), "was saved by ilastik 0.5"),
        (replaced("FeatureSelections/SelectionMatrix", data=np.eye(4, dtype=bool)), "looks at 14 features"),
        (
            replaced("PixelClassification/LabelNames", data=np.array([b"only"])),
            r"trained with label 2, but the project names 1 label: .* train \(Live Update\) and save",
        ),
    ],
)
def test_refusals_say_what_and_where(edit: Edit, words: str) -> None:
    with pytest.raises(ProjectError, match=r"^cells\.ilp: .*" + words):
        read_project(edited(content(), edit), name="cells.ilp")


def _empty_classes(file: h5py.File) -> None:
    replaced("PixelClassification/LabelNames", data=np.zeros(0, "S1"))(file)
    file["PixelClassification/LabelNames"].attrs["isEmpty"] = True


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (_without(FORESTS), "it has no classifier"),
        (_without(f"{FORESTS}/Forest0000", f"{FORESTS}/Forest0001"), "saved without a trained classifier"),
        (_without("FeatureSelections"), "no features and no classifier"),
        (_without("PixelClassification"), "no features and no classifier"),
        (_without("FeatureSelections/SelectionMatrix"), "no features are selected"),
        (replaced("FeatureSelections/SelectionMatrix", data=np.zeros((4, 4), bool)), "no features are selected"),
        (_empty_classes, "it has no classes"),
    ],
)
def test_an_untrained_project_says_so_and_what_to_do(edit: Edit, found: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read_project(edited(content(), edit), name="cells.ilp")
    message = str(caught.value)
    assert message.startswith("cells.ilp: nothing is trained in this project: ")
    assert found in message
    assert "Open it in ilastik, select features, label pixels" in message
    assert "/" not in message


@pytest.mark.parametrize(
    ("workflow", "advice"),
    [
        ("Object Classification (from prediction image)", "apply the Pixel Classification project that its prediction"),
        ("Object Classification (from binary image)", "run this one in ilastik"),
        (
            "Automatic Tracking Workflow (Conservation Tracking) from prediction image",
            "to track, run this one in ilastik",
        ),
        ("Carving", "carving is interactive"),
        ("Edge Training With Multicut", "run this one in ilastik"),
    ],
)
def test_another_workflow_is_named_in_full_with_what_can_be_done(workflow: str, advice: str) -> None:
    bare = _without("FeatureSelections", "PixelClassification")

    def edit(file: h5py.File) -> None:
        bare(file)
        replaced("workflowName", data=workflow.encode())(file)

    with pytest.raises(ProjectError) as caught:
        read_project(edited(content(), edit), name="cells.ilp")
    assert f"cells.ilp: is a project of ilastik's workflow '{workflow}'; omero_pixclf applies" in str(caught.value)
    assert advice in str(caught.value)


def test_a_pixel_and_object_project_is_its_pixel_part() -> None:
    edit = replaced("workflowName", data=b"Object Classification (from pixel classification)")
    both, pixels = read_project(edited(content(), edit)), read_project(content())
    assert both.classes == pixels.classes
    assert np.array_equal(both.stages[0].forests.columns, pixels.stages[0].forests.columns)
    with pytest.raises(ProjectError, match="nothing is trained in this project"):
        read_project(edited(edited(content(), edit), _without(FORESTS)))


RAW = "Input Data/infos/lane0000/Raw Data"
OLD = ("ComputeIn2d", "known_labels", "feature_names", "pickled_type", "axistags", "shape", "axisorder")


@pytest.mark.parametrize("version", [0.6, 1.0, b"0.6.a3", b"1.0", b"1.1.9", b"1.1"])
def test_projects_of_ilastik_06_to_11_are_read(version: float | bytes) -> None:
    def edit(file: h5py.File) -> None:
        replaced("ilastikVersion", data=version)(file)
        for home in ("FeatureSelections", FORESTS, RAW):
            for name in {*OLD} & {*file[home]}:
                del file[home][name]

    old, new = read_project(edited(content(), edit)), read_project(content())
    assert old.axes == ""
    assert old.ilastik_version == (version.decode() if isinstance(version, bytes) else f"{version:g}")
    assert (old.channels, old.classes) == (new.channels, new.classes)
    assert [*old.stages[0].selection.selected_features(1)] == [*new.stages[0].selection.selected_features(1)]
    assert np.array_equal(old.stages[0].forests.thresholds, new.stages[0].forests.thresholds)


def test_classes_without_stored_names_and_colours_are_numbered() -> None:
    home = "PixelClassification"
    edit = _without(f"{home}/LabelNames", f"{home}/LabelColors", f"{home}/PmapColors")
    classes = read_project(edited(content(), edit)).classes
    assert [label.name for label in classes] == ["Label 1", "Label 2"]
    assert classes[0].color != classes[1].color


def test_the_layout_of_ilastik_05_is_refused() -> None:
    def edit(file: h5py.File) -> None:
        _without("PixelClassification", "FeatureSelections", "ilastikVersion", "workflowName")(file)
        file.create_group("DataSets")
        file.create_group("Classifier")

    with pytest.raises(ProjectError, match=r"saved by ilastik 0\.5, whose layout is not read; open it in ilastik 1\.0"):
        read_project(edited(content(), edit))


@pytest.mark.parametrize("other", [b"", b"PK\x03\x04" + b"x" * 100, b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_other_files_are_refused(other: bytes) -> None:
    with pytest.raises(ProjectError, match=r"HDF5|object header"):
        read_project(other)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="is not there"):
        read_project(tmp_path / "none.ilp")
    with pytest.raises(ProjectError, match="is not a file"):
        read_project(tmp_path)


def test_a_folder_without_a_name_is_refused_by_what_was_given() -> None:
    with pytest.raises(ProjectError, match=r"^\.: is not a file"):
        read_project(".")
    with pytest.raises(ProjectError, match=r"^/: is not a file"):
        read_project("/")


def test_names_of_classes_that_are_no_utf8_are_read_as_latin_1() -> None:
    edit = replaced("PixelClassification/LabelNames", data=np.array(["Zellkörper".encode("latin-1"), "核".encode()]))
    project = read_project(edited(content(), edit))
    assert [c.name for c in project.classes] == ["Zellkörper", "核"]


def test_a_stage_that_is_not_there_is_refused() -> None:
    project = read_project(content())
    assert project.stage(1) == project
    with pytest.raises(ProjectError, match="no stage 2"):
        project.stage(2)

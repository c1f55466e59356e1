"""Read an ilastik project file (``.ilp``) as frozen data. Nothing in it is unpickled or executed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.feature_selection import FeatureSelection, read_selection
from omero_pixclf.ilastik.lanes import Lane, read_first_lane
from omero_pixclf.ilastik.random_forest import ForestArrays, read_forests
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, open_hdf5, read_numbers, read_text, read_texts
from omero_pixclf.ilastik.workflows import (
    AUTOCONTEXT,
    PIXEL,
    PIXEL_AND_OBJECT,
    unsupported_workflow_message,
    untrained_project_error,
)
from omero_pixclf.text import pluralize

__all__ = [
    "ClassLabel",
    "ClassificationStage",
    "Project",
    "read_classes",
    "read_pixel_part",
    "read_project",
    "read_version",
    "read_workflow",
]

_SUFFIXES = {PIXEL: ("",), PIXEL_AND_OBJECT: ("",), AUTOCONTEXT: ("", "01")}
_COLORS = [[255, 255, 25], [0, 130, 200], [230, 25, 75], [60, 180, 75], [145, 30, 180], [245, 130, 48], [70, 240, 240]]
_ILASTIK_05 = ("DataSets", "Classifier")  # groups of the layout that ilastik left with 0.6


@dataclass(frozen=True)
class ClassLabel:
    """A class: its name, and its colour as red, green, blue from 0 to 255."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ClassificationStage:
    """One pixel classification: features and the forests that were trained on them.

    Attributes
    ----------
    channels
        Channels of its input image.
    classes
        All classes of the project, also those without training samples.
    selection
        The features.
    forests
        The classifier.
    """

    channels: int
    classes: tuple[ClassLabel, ...]
    selection: FeatureSelection
    forests: ForestArrays


@dataclass(frozen=True)
class Project:
    """A trained project.

    Attributes
    ----------
    name
        The file's name.
    sha256
        SHA-256 of the file's bytes, in hexadecimal.
    ilastik_version, workflow
        As stored in the file.
    lane
        What it says of its training image.
    stages
        One stage; two in an Autocontext project, the second of which sees the image's channels followed by the first
        one's probabilities.
    """

    name: str
    sha256: str
    ilastik_version: str
    workflow: str
    lane: Lane
    stages: tuple[ClassificationStage, ...]

    @property
    def axes(self) -> str:
        """The training image's axes, such as ``"yxc"``; empty where the file does not say."""
        return self.lane.axes

    @property
    def channels(self) -> int:
        """Channels that an image must have."""
        return self.stages[0].channels

    @property
    def classes(self) -> tuple[ClassLabel, ...]:
        """The classes of the result."""
        return self.stages[-1].classes

    @property
    def is_2d(self) -> bool:
        """Whether every filter sees planes by themselves, so that a z-stack is many images."""
        return all(stage.selection.is_all_2d for stage in self.stages)

    def stage(self, number: int) -> Project:
        """This project ending with its first or its second stage (1 or 2), for results of an earlier stage.

        Raises
        ------
        ProjectError
            It has no such stage.
        """
        if not 1 <= number <= len(self.stages):
            raise ProjectError(f"{self.name}: has {pluralize(len(self.stages), 'stage')}, there is no stage {number}")
        return replace(self, stages=self.stages[:number])


def read_project(source: Path | str | bytes, *, name: str | None = None) -> Project:
    """Read a Pixel Classification or Autocontext project of ilastik 0.6 to 1.4, or the pixel part of one with objects.

    Parameters
    ----------
    source
        A path, or the file's bytes.
    name
        The file's name for messages and records; by default the path's last part.

    Raises
    ------
    ProjectError
        The file is not such a project, is broken or unsafe, or has no stored classifier. The message says where.
    """
    with open_hdf5(source, name) as (root, sha256):
        return read_pixel_part(root, sha256)


def read_pixel_part(root: Hdf5Group, sha256: str) -> Project:
    """Read the pixel classifier of an open project, whose bytes have this SHA-256.

    Raises
    ------
    ProjectError
        As `read_project`.
    """
    version = read_version(root)
    workflow = read_workflow(root)
    if workflow not in _SUFFIXES:
        raise ProjectError(f"{root.file}: {unsupported_workflow_message(workflow)}")
    if not root.has("FeatureSelections") or not root.has("PixelClassification"):
        raise untrained_project_error(root.file, "it has no features and no classifier")
    lane = read_first_lane(root)
    stages: list[ClassificationStage] = []
    for suffix in _SUFFIXES[workflow]:
        before = stages[-1] if stages else None
        stages.append(_read_stage(root, suffix, lane, before))
    return Project(root.file, sha256, version, workflow, lane, tuple(stages))


def read_workflow(root: Hdf5Group) -> str:
    """Read the name of the project's workflow; early files, which have none, are of Pixel Classification."""
    return read_text(root, "workflowName") if root.has("workflowName") else PIXEL


def read_version(root: Hdf5Group) -> str:
    """Read the version of ilastik that wrote the file; early ones stored a number.

    Raises
    ------
    ProjectError
        It has the layout of ilastik 0.5, which is not read.
    """
    version = "unknown"
    if root.has("ilastikVersion"):
        stored = root.array("ilastikVersion")
        numeric = stored.dtype.kind in "iuf" and stored.size == 1
        version = f"{float(stored.item()):g}" if numeric else read_text(root, "ilastikVersion")
    old = any(root.has(group) for group in _ILASTIK_05) and not root.has("PixelClassification")
    if old or re.match(r"0\.5(\.|$)", version):
        raise ProjectError(
            f"{root.file}: was saved by ilastik 0.5, whose layout is not read; open it in ilastik 1.0 to 1.2, "
            "check its features, train (Live Update) and save it"
        )
    return version


def _read_stage(root: Hdf5Group, suffix: str, lane: Lane, before: ClassificationStage | None) -> ClassificationStage:
    features, home = f"FeatureSelections{suffix}", f"PixelClassification{suffix}"
    which = {"": "", "01": " of stage 2"}[suffix]
    if not root.has(features) or not root.group(features).has("SelectionMatrix"):
        raise untrained_project_error(root.file, f"no features{which} are selected")
    if not root.has(home) or not (group := root.group(home)).has("ClassifierForests"):
        raise untrained_project_error(root.file, f"it has no classifier{which}")
    selection = read_selection(root.group(features))
    if not selection.used_scales():
        raise untrained_project_error(root.file, f"no features{which} are selected")
    forests = read_forests(group.group("ClassifierForests"))
    classes = read_classes(group, forests.known_labels)
    if forests.known_labels[-1] > len(classes):
        raise group.error(
            "ClassifierForests",
            f"was trained with label {forests.known_labels[-1]}, but the project names "
            f"{pluralize(len(classes), 'label')}: labels were removed since; open it in ilastik, "
            "train (Live Update) and save it",
        )
    expected = before.channels + len(before.classes) if before else lane.extent("c")
    for candidate in _dimensions(selection, lane):
        channels, rest = divmod(forests.column_count, candidate.feature_count(2))
        if not rest and channels == (expected or channels) and channels >= 1:
            return ClassificationStage(channels, classes, candidate, forests)
    raise group.error(
        "ClassifierForests",
        f"looks at {forests.column_count} features; the selection gives {selection.feature_count(2)} per channel and "
        f"the project's image has {expected or 'an unknown number of'} channels",
    )


def _dimensions(selection: FeatureSelection, lane: Lane) -> list[FeatureSelection]:
    """The selection as it may have been trained: projects older than 1.3.1 do not say whether on planes or volumes."""
    if selection.compute_in_2d is not None:
        return [selection]
    flat, deep = replace(selection, trained_on_planes=True), selection
    return {1: [flat], None: [deep, flat]}.get(lane.extent("z"), [deep])


def read_classes(home: Hdf5Group, known: tuple[int, ...]) -> tuple[ClassLabel, ...]:
    """Read names and colours of a classification's classes; where an early version stored none, ilastik's own.

    ``known`` are the labels that the classifier was trained with.

    Raises
    ------
    ProjectError
        There are no classes, too many, or no colour for one of them.
    """
    names = _read_names(home) or tuple(f"Label {number}" for number in range(1, known[-1] + 1))
    if not 1 <= len(names) <= 255:
        raise home.error("LabelNames", f"has {len(names)} classes, expected 1 to 255")
    which = next((name for name in ("PmapColors", "LabelColors") if home.has(name)), None)
    colors = (
        read_numbers(home, which, "iu").tolist() if which else [_COLORS[i % len(_COLORS)] for i in range(len(names))]
    )
    if len(colors) < len(names) or not all(isinstance(c, list) and len(c) == 3 for c in colors):
        raise home.error(which or "", f"has no red, green, blue for each of {len(names)} classes")
    if not all(0 <= v <= 255 for color in colors for v in color):
        raise home.error(which or "", "has colours outside of 0 to 255")
    return tuple(ClassLabel(n, (c[0], c[1], c[2])) for n, c in zip(names, colors, strict=False))


def _read_names(home: Hdf5Group) -> tuple[str, ...]:
    if not home.has("LabelNames"):
        return ()
    if (empty := home.attribute("isEmpty", "LabelNames")) is not None and empty.any():
        raise untrained_project_error(home.file, "it has no classes")
    return read_texts(home, "LabelNames", also_latin=True)  # people's own words: ilastik on Windows wrote Latin-1

"""An ilastik project file (``.ilp``) as frozen data. Nothing in it is ever unpickled or executed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.forest import Forests, read_forests
from omero_pixclf.ilastik.hdf5 import Branch, numbers, opened, text, texts
from omero_pixclf.ilastik.lane import Lane, read_lane
from omero_pixclf.ilastik.selection import FeatureSelection, read_selection
from omero_pixclf.wording import counted

__all__ = ["ClassLabel", "Project", "Stage", "read_project"]

PIXEL, AUTOCONTEXT = "Pixel Classification", "AutocontextTwoStage"


@dataclass(frozen=True)
class ClassLabel:
    """A class: its name, and its colour as red, green, blue from 0 to 255."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Stage:
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
    forests: Forests


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
    stages: tuple[Stage, ...]

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
    def flat(self) -> bool:
        """Whether every filter sees planes by themselves, so that a z-stack is many images."""
        return all(stage.selection.all_flat for stage in self.stages)

    def stage(self, number: int) -> Project:
        """This project ending with its first or its second stage (1 or 2), for results of an earlier stage.

        Raises
        ------
        ProjectError
            It has no such stage.
        """
        if not 1 <= number <= len(self.stages):
            raise ProjectError(f"{self.name}: has {counted(len(self.stages), 'stage')}, there is no stage {number}")
        return replace(self, stages=self.stages[:number])


def read_project(source: Path | str | bytes, *, name: str | None = None) -> Project:
    """Read a Pixel Classification or Autocontext project of ilastik 1.2 to 1.4.

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
    with opened(source, name) as (root, sha256):
        return _read(root, sha256)


def _read(root: Branch, sha256: str) -> Project:
    version = _read_version(root)
    workflow = text(root, "workflowName") if root.has("workflowName") else PIXEL
    suffixes = {PIXEL: ("",), AUTOCONTEXT: ("", "01")}.get(workflow)
    if suffixes is None:
        raise root.refuse("workflowName", f"is {workflow!r:.60}; expected {PIXEL!r} or {AUTOCONTEXT!r}")
    if not root.has("FeatureSelections") or not root.has("PixelClassification"):
        raise root.refuse("", "has no features or no classifier: expected a trained Pixel Classification project")
    lane = read_lane(root)
    stages: list[Stage] = []
    for suffix in suffixes:
        before = stages[-1] if stages else None
        stages.append(_read_stage(root, suffix, lane, before))
    return Project(root.file, sha256, version, workflow, lane, tuple(stages))


def _read_version(root: Branch) -> str:
    """The version of ilastik that wrote the file; files of versions that nobody has compared with are refused."""
    if not root.has("ilastikVersion"):
        return "unknown"
    stored = root.array("ilastikVersion")
    if stored.dtype.kind in "SO":
        version = text(root, "ilastikVersion")
        if not re.match(r"(0|1\.[01])(\.|$)", version):
            return version
    else:
        version = str(stored.ravel()[:1].tolist())
    raise root.refuse(
        "ilastikVersion",
        f"is {version!r:.40}: what ilastik before 1.2 wrote is not established; open and save it in ilastik 1.4",
    )


def _read_stage(root: Branch, suffix: str, lane: Lane, before: Stage | None) -> Stage:
    selection = read_selection(root.group(f"FeatureSelections{suffix}"))
    home = root.group(f"PixelClassification{suffix}")
    if not home.has("ClassifierForests"):
        raise home.refuse(
            "ClassifierForests", "is missing: open the project in ilastik, train (Live Update or export) and save it"
        )
    forests = read_forests(home.group("ClassifierForests"))
    classes = _read_classes(home)
    if forests.known_labels[-1] > len(classes):
        raise home.refuse("ClassifierForests", f"knows label {forests.known_labels[-1]} of {len(classes)} classes")
    expected = before.channels + len(before.classes) if before else lane.extent("c")
    for candidate in _dimensions(selection, lane):
        channels, rest = divmod(forests.column_count, candidate.width(2))
        if not rest and channels == (expected or channels) and channels >= 1:
            return Stage(channels, classes, candidate, forests)
    raise home.refuse(
        "ClassifierForests",
        f"looks at {forests.column_count} features; the selection gives {selection.width(2)} per channel and the "
        f"project's image has {expected or 'an unknown number of'} channels",
    )


def _dimensions(selection: FeatureSelection, lane: Lane) -> list[FeatureSelection]:
    """The selection as it may have been trained: projects older than 1.3.1 do not say whether on planes or volumes."""
    if selection.compute_in_2d is not None:
        return [selection]
    flat, deep = replace(selection, planes=True), selection
    return {1: [flat], None: [deep, flat]}.get(lane.extent("z"), [deep])


def _read_classes(home: Branch) -> tuple[ClassLabel, ...]:
    if (empty := home.attribute("isEmpty", "LabelNames")) is not None and empty.any():
        raise home.refuse("LabelNames", "is empty: the project has no classes")
    names = texts(home, "LabelNames")
    if not 1 <= len(names) <= 255:
        raise home.refuse("LabelNames", f"has {len(names)} classes, expected 1 to 255")
    which = "PmapColors" if home.has("PmapColors") else "LabelColors"
    colors = numbers(home, which, "iu").tolist()
    if len(colors) < len(names) or not all(isinstance(c, list) and len(c) == 3 for c in colors):
        raise home.refuse(which, f"has no red, green, blue for each of {len(names)} classes")
    if not all(0 <= v <= 255 for color in colors for v in color):
        raise home.refuse(which, "has colours outside of 0 to 255")
    return tuple(ClassLabel(n, (c[0], c[1], c[2])) for n, c in zip(names, colors, strict=False))

"""An ilastik Object Classification project as frozen data: thresholds, selected features, classes, forest, labels.

Nothing in the file is ever unpickled or executed: ``ExportSettings`` and the stored features are not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.lanes import Lane, read_first_lane
from omero_pixclf.ilastik.object_features import (
    NEIGHBORHOOD,
    Dimensions,
    Margin,
    ObjectFeature,
    column_count,
    exists_in,
    is_known,
    plugin_exists_in,
)
from omero_pixclf.ilastik.project import ClassLabel, Project, read_classes, read_pixel_part, read_version, read_workflow
from omero_pixclf.ilastik.random_forest import ForestArrays, read_forests
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, open_hdf5, read_numbers
from omero_pixclf.ilastik.workflows import OBJECT, PIXEL_AND_OBJECT, untrained_project_error
from omero_pixclf.image import Int64Array

__all__ = [
    "ObjectLabels",
    "ObjectProject",
    "ObjectSource",
    "ThresholdMethod",
    "ThresholdSettings",
    "read_object_project",
]

ObjectSource = Literal["predictions", "binary", "labels", "pixels"]
ThresholdMethod = Literal["simple", "hysteresis", "identity-preserving"]

_METHODS: dict[int, ThresholdMethod] = {0: "simple", 1: "hysteresis", 3: "identity-preserving"}
_GRAPH_CUT = 2
_MAX_MARGIN, _MAX_CHANNELS, _MAX_OBJECTS = 10_000, 256, 16_000_000


@dataclass(frozen=True)
class ThresholdSettings:
    """How a project finds objects in probabilities, as its ``ThresholdTwoLevels`` group says.

    Attributes
    ----------
    method
        ``simple``: one threshold, ``low``. ``hysteresis``: objects above ``low`` that contain a core above ``high``.
        ``identity-preserving``: cores above ``high`` that grow down to ``low`` without merging.
    channel, core_channel
        0-based class whose probability makes the objects, and the one that makes their cores.
    low, high
        The thresholds.
    sigma
        Gaussian along (z, y, x), in pixels.
    min_size, max_size
        Pixels of an object (and of a core), both included.
    """

    method: ThresholdMethod = "simple"
    channel: int = 0
    core_channel: int = 0
    low: float = 0.5
    high: float = 0.8
    sigma: tuple[float, float, float] = (1.0, 1.0, 1.0)
    min_size: int = 10
    max_size: int = 1_000_000


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """The classes that a user gave to the objects of one time point of a training image.

    Attributes
    ----------
    lane
        Number of the training image, from 0.
    t
        The time point.
    classes
        int64 ``(n,)``: the 1-based class of object 1, 2, … n; 0 for objects without a label.
    """

    lane: int
    t: int
    classes: Int64Array


@dataclass(frozen=True)
class ObjectProject:
    """A trained Object Classification project.

    Attributes
    ----------
    name
        The file's name.
    sha256
        SHA-256 of the file's bytes, in hexadecimal.
    ilastik_version, workflow
        As stored in the file.
    source
        Where its objects come from: prediction maps, a binary or label image, or the project's own pixel classifier.
    lane
        Axes and shape of its first training image.
    pixels
        The pixel classifier; None unless ``source`` is ``pixels``.
    threshold
        How objects are found in probabilities; None for binary and label images.
    features
        The selected features, in the order of the classifier's columns.
    computed
        All known features that the project computes, also those that are not selected, in the same order.
    classes
        All classes, also those without labelled objects.
    forests
        The classifier.
    trained_on
        The pairs (dimensions, channels) of images that give the classifier's number of columns.
    labels
        The user's labels.
    """

    name: str
    sha256: str
    ilastik_version: str
    workflow: str
    source: ObjectSource
    lane: Lane
    pixels: Project | None
    threshold: ThresholdSettings | None
    features: tuple[ObjectFeature, ...]
    computed: tuple[ObjectFeature, ...]
    classes: tuple[ClassLabel, ...]
    forests: ForestArrays
    trained_on: tuple[tuple[Dimensions, int], ...]
    labels: tuple[ObjectLabels, ...]

    def features_for(self, dims: Dimensions, channels: int) -> tuple[ObjectFeature, ...]:
        """Return the features that make the classifier's columns for an image.

        Plug-ins for images of the other dimension do not count, as in ilastik.

        Raises
        ------
        ProjectError
            The classifier was trained on images with another number of dimensions or channels.
        """
        if (dims, channels) not in self.trained_on:
            known = " or ".join(f"{d}D images with {c} channel(s)" for d, c in self.trained_on[:4])
            raise ProjectError(
                f"{self.name}: the object classifier was trained on {known}; this image is {dims}D and has "
                f"{channels} channel(s). Choose an image with as many channels, or train the project on such an image"
            )
        return tuple(feature for feature in self.features if plugin_exists_in(feature.plugin, dims))


def read_object_project(source: Path | str | bytes, *, name: str | None = None) -> ObjectProject:
    """Read an Object Classification project of ilastik 1.2 to 1.4 (from predictions, binary or label image, pixels).

    Parameters
    ----------
    source
        A path, or the file's bytes.
    name
        The file's name for messages and records; by default the path's last part.

    Raises
    ------
    ProjectError
        The file is not such a project, is broken or unsafe, has no stored object classifier, or uses a feature or a
        thresholding method that is not known here. The message says which and where.
    """
    with open_hdf5(source, name) as (root, sha256):
        version = read_version(root)
        workflow = read_workflow(root)
        if workflow not in OBJECT:
            raise ProjectError(
                f"{root.file}: is a project of ilastik's workflow {workflow[:120]!r}; expected one of "
                f"{', '.join(repr(known) for known in OBJECT)}"
            )
        if not root.has("ObjectClassification"):
            raise untrained_project_error(root.file, "it has no object classifier")
        project = _read(root, sha256, version, workflow)
        if workflow != PIXEL_AND_OBJECT:
            return project
        return replace(project, pixels=read_pixel_part(root, sha256))


def _read(root: Hdf5Group, sha256: str, version: str, workflow: str) -> ObjectProject:
    group = root.group("ObjectClassification")
    if not group.has("ClassifierForests"):
        raise untrained_project_error(root.file, "it has no object classifier")
    origin, lane = cast(ObjectSource, OBJECT[workflow]), read_first_lane(root)
    features, computed = _read_features(root, group)
    forests = read_forests(group.group("ClassifierForests"))
    classes = read_classes(group, forests.known_labels)
    if forests.known_labels[-1] > len(classes):
        raise group.error(
            "ClassifierForests",
            f"was trained with label {forests.known_labels[-1]}, but the project names {len(classes)} labels; "
            "open it in ilastik, train (Live Update) and save it",
        )
    trained_on = _find_training_images(features, forests.column_count, lane)
    if not trained_on:
        raise group.error(
            "ClassifierForests",
            f"looks at {forests.column_count} columns, which the {len(features)} selected features do not give for an "
            f"image with axes {lane.axes or 'unknown'!r}; open it in ilastik, train (Live Update) and save it",
        )
    return ObjectProject(
        root.file,
        sha256,
        version,
        workflow,
        origin,
        lane,
        None,
        _read_threshold(root) if origin in ("predictions", "pixels") else None,
        features,
        computed,
        classes,
        forests,
        trained_on,
        tuple(_read_labels(group, len(classes))),
    )


def _read_features(root: Hdf5Group, group: Hdf5Group) -> tuple[tuple[ObjectFeature, ...], tuple[ObjectFeature, ...]]:
    """Read the selected and the computed features; both with the one margin that ilastik uses for all of them."""
    if not group.has("SelectedFeatures") or not (chosen := group.group("SelectedFeatures")).names():
        raise untrained_project_error(root.file, "no features of objects are selected")
    stored = root.group("ObjectExtraction") if root.has("ObjectExtraction") else None
    extraction = stored.group("Features") if stored is not None and stored.has("Features") else chosen
    margin = np.max([_read_margin(g) for g in (chosen, extraction)], axis=0).tolist()
    features = _list_features(chosen, (margin[0], margin[1], margin[2]))
    for feature in features:
        if not is_known(feature):
            raise chosen.error(
                f"{feature.plugin}/{feature.name}",
                "is not a feature of ilastik's default plug-ins; select other features in ilastik and train again",
            )
        if feature.margin is not None and not any(feature.margin):
            raise chosen.error(f"{feature.plugin}/{feature.name}", "has a neighborhood of 0 pixels")
    return features, tuple(f for f in _list_features(extraction, (margin[0], margin[1], margin[2])) if is_known(f))


def _list_features(plugins: Hdf5Group, margin: Margin) -> tuple[ObjectFeature, ...]:
    return tuple(
        ObjectFeature(plugin, name, margin if name.endswith(NEIGHBORHOOD) else None)
        for plugin in plugins.names()
        for name in plugins.group(plugin).names()
    )


def _read_margin(plugins: Hdf5Group) -> Margin:
    """Read the largest margin of any feature; files have one number, or one for each of x, y and z."""
    largest = [0, 0, 0]
    for plugin in plugins.names():
        features = plugins.group(plugin)
        for name in features.names():
            if not name.endswith(NEIGHBORHOOD) or not (feature := features.group(name)).has("margin"):
                continue
            found = read_numbers(feature, "margin", "iuf").ravel()
            if found.size not in (1, 2, 3) or not ((found >= 0) & (found <= _MAX_MARGIN)).all():
                raise feature.error("margin", f"is {found.tolist()!r:.60}, expected up to 3 numbers of pixels")
            own = np.resize(found.astype(np.int64), 3) if found.size != 2 else np.append(found.astype(np.int64), 0)
            largest = np.maximum(largest, own).tolist()
    return largest[0], largest[1], largest[2]


def _find_training_images(
    features: tuple[ObjectFeature, ...], columns: int, lane: Lane
) -> tuple[tuple[Dimensions, int], ...]:
    """List the (dimensions, channels) that give so many columns, as far as the training image leaves them open."""
    depth, count = lane.extent("z"), lane.extent("c")
    known: tuple[Dimensions, ...] = (2, 3) if depth is None else (3,) if depth > 1 else (2,)
    found: list[tuple[Dimensions, int]] = []
    for dims in known:
        own = [feature for feature in features if plugin_exists_in(feature.plugin, dims)]
        for channels in range(1, _MAX_CHANNELS + 1) if count is None else (count,):
            if all(exists_in(f, dims, channels) for f in own):
                width = sum(column_count(f, dims, channels) for f in own)
                if width == columns:
                    found.append((dims, channels))
                elif width > columns:
                    break  # more channels give more columns
    return tuple(found)


def _read_threshold(root: Hdf5Group) -> ThresholdSettings:
    """Read the settings; what an older version did not store has ilastik's default."""
    default = ThresholdSettings()
    if not root.has("ThresholdTwoLevels"):
        return default
    group = root.group("ThresholdTwoLevels")
    number = _read_whole(group, "CurOperator", 0)
    if number == _GRAPH_CUT:
        raise group.error(
            "CurOperator",
            "asks for thresholding by graph cut, which is not supported; "
            "choose Simple, Hysteresis or Hysteresis with identity preservation in ilastik and train again",
        )
    if number not in _METHODS:
        raise group.error("CurOperator", f"is {number}, expected one of {sorted(_METHODS)}")
    method = _METHODS[number]
    single = method == "simple" and group.has("SingleThreshold")  # until 2017 a setting of its own
    channel = _read_whole(group, "Channel", default.channel)
    own_cores = group.has("CoreChannel")  # until 2017 cores came from the objects' channel
    return ThresholdSettings(
        method,
        channel,
        _read_whole(group, "CoreChannel", 0) if own_cores else channel,
        _read_number(group, "SingleThreshold" if single else "LowThreshold", default.low),
        _read_number(group, "HighThreshold", default.high),
        _read_sigma(group),
        _read_whole(group, "MinSize", default.min_size),
        _read_whole(group, "MaxSize", default.max_size),
    )


def _read_sigma(group: Hdf5Group) -> tuple[float, float, float]:
    if not group.has("SmootherSigma"):
        return ThresholdSettings().sigma
    sigma = group.group("SmootherSigma")
    z, y, x = (_read_number(sigma, axis, 1.0) for axis in "zyx")
    if not all(0 <= width <= 1000 for width in (z, y, x)):
        raise group.error("SmootherSigma", f"is {(z, y, x)}, expected 0 to 1000 along (z, y, x)")
    return z, y, x


def _read_number(group: Hdf5Group, name: str, default: float) -> float:
    if not group.has(name):
        return default
    found = read_numbers(group, name, "iuf").ravel()
    if found.size != 1 or not math.isfinite(found[0]):
        raise group.error(name, f"is {found.tolist()!r:.60}, expected a number")
    return float(found[0])


def _read_whole(group: Hdf5Group, name: str, default: int) -> int:
    found = _read_number(group, name, float(default))
    if not found.is_integer() or not 0 <= found < 2**53:
        raise group.error(name, f"is {found}, expected a whole number from 0 upwards")
    return int(found)


def _read_labels(group: Hdf5Group, classes: int) -> list[ObjectLabels]:
    """Read the labels of all lanes; they are stored with a first entry for the background."""
    if not group.has("LabelInputs"):
        return []
    found = []
    lanes = group.group("LabelInputs")
    for number, name in enumerate(lanes.names()):
        lane = lanes.group(name)
        for t in sorted((t for t in lane.names() if t.isdecimal()), key=lambda text: (len(text), text)):
            values = read_numbers(lane, t, "iuf").ravel()
            if values.size > _MAX_OBJECTS or not np.isin(values, np.arange(classes + 1)).all():
                raise lane.error(t, f"labels objects with other classes than 0 to {classes}")
            found.append(ObjectLabels(number, int(t[:9]), values[1:].astype(np.int64)))
    return found

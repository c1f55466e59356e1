"""The table of ilastik's object classification: a row per object, columns by ilastik's names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from omero_pixclf.ilastik.object_features import DEFAULT_FEATURES, STANDARD, ObjectFeature, display_name
from omero_pixclf.ilastik.object_project import ObjectProject
from omero_pixclf.image import Array, Int64Array
from omero_pixclf.objects.object_classifier import ObjectClasses

__all__ = ["build_object_columns", "default_features"]


def default_features(features: Sequence[ObjectFeature]) -> tuple[ObjectFeature, ...]:
    """Return the features that ilastik writes into every table, without those that are among ``features`` already.

    Examples
    --------
    >>> [feature.name for feature in default_features([ObjectFeature("Standard Object Features", "Count")])]
    ['Coord<Minimum>', 'Coord<Maximum>', 'RegionCenter']
    """
    every = [ObjectFeature(STANDARD, name) for name in DEFAULT_FEATURES]
    return tuple(feature for feature in every if feature not in features)


def build_object_columns(
    project: ObjectProject,
    frames: Mapping[int, ObjectClasses],
    features: Sequence[ObjectFeature],
    *,
    user_labels: Mapping[int, Int64Array] | None = None,
    originals: Mapping[int, Array] | None = None,
) -> dict[str, Array]:
    """Return the columns of the table that ilastik exports, in its order.

    ilastik shuffles the plug-ins, and the features of each, from run to run; here they keep the order of ``features``.
    Coordinates and sizes are in pixels, bounding boxes end exclusively.

    Parameters
    ----------
    project
        The classifier, for the names of its classes.
    frames
        The classified objects of each time point. Their features must include ``features`` and what
        `default_features` adds to them.
    features
        The features to write, as float32; the default ones follow as float64.
    user_labels
        The classes (1-based, 0 for none) that the user gave to object 1, 2, … of a time point.
    originals
        For label images: the number of object 1, 2, … of a time point in the image, for a last column.

    Returns
    -------
    dict
        ``object_id`` (from 0), ``timestep``, ``labelimage_oid`` int64; ``User Label`` (``"0"`` for none) and
        ``Predicted Class`` as text; ``Probability of …`` and features float32 ``(n,)`` each. Features of several
        columns have ``_0``, ``_1``, … after their names.
    """
    names = np.array(["0", *(label.name for label in project.classes)], dtype=object)
    times = [np.full(len(frame.label), t, np.int64) for t, frame in sorted(frames.items())]
    parts = [frame for _, frame in sorted(frames.items())]
    label = _join([frame.label for frame in parts], np.int64)
    given = [_look_up(user_labels, t, frame.label, 0) for t, frame in sorted(frames.items())]
    columns: dict[str, Array] = {
        "object_id": np.arange(len(label)),
        "timestep": _join(times, np.int64),
        "labelimage_oid": label,
        "User Label": names[_join(given, np.int64)],
        "Predicted Class": names[_join([frame.predicted for frame in parts], np.int64)],
    }
    for i, own in enumerate(project.classes):
        columns[f"Probability of {own.name}"] = _join([frame.probabilities[:, i] for frame in parts], np.float32)
    for feature in features:
        columns |= _split_feature(feature, parts, np.float32)
    for feature in default_features(features):
        columns |= _split_feature(feature, parts, np.float64)
    if originals is not None:
        found = [_look_up(originals, t, frame.label, 0) for t, frame in sorted(frames.items())]
        columns["original_oid"] = _join(found, np.int64)
    return columns


def _join(parts: Sequence[Array], dtype: type[np.generic]) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _look_up(values: Mapping[int, Array] | None, t: int, label: Int64Array, missing: int) -> Array:
    """The values of objects, which are stored in the order of their labels from 1."""
    own = np.zeros(0, np.int64) if values is None or t not in values else np.asarray(values[t], np.int64)
    padded = np.concatenate(([missing], own, np.full(max(int(label.max(initial=0)) - len(own), 0), missing)))
    return np.asarray(padded[label])


def _split_feature(feature: ObjectFeature, parts: Sequence[ObjectClasses], dtype: type[np.generic]) -> dict[str, Array]:
    """A column for each component of a feature; numbers too large for float32 are infinite, as in ilastik."""
    if not parts:
        return {}
    with np.errstate(over="ignore"):
        values = np.concatenate([frame.features.values[feature] for frame in parts]).astype(dtype)
    name = display_name(feature)
    if values.shape[1] == 1:
        return {name: values[:, 0]}
    return {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}

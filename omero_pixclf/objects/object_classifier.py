"""An ilastik object classifier applied: objects from its own thresholds, their features, probabilities and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import label as label_components

from omero_pixclf.ilastik.object_features import Dimensions, ObjectFeature
from omero_pixclf.ilastik.object_project import ObjectProject, ThresholdSettings
from omero_pixclf.image import Array, Float32Array, Int64Array
from omero_pixclf.objects.features.compute import FeatureTable, compute_features
from omero_pixclf.objects.two_level_threshold import two_level_threshold
from omero_pixclf.pixels.random_forest import build_bit_forest, predict_proba

__all__ = [
    "ObjectClasses",
    "classify_features",
    "classify_objects",
    "feature_matrix",
    "find_objects",
    "label_equal_values",
    "number_consecutively",
    "paint_objects",
]


@dataclass(frozen=True, eq=False)
class ObjectClasses:
    """The classes of n objects of one time point.

    Attributes
    ----------
    label
        int64 ``(n,)``: the objects' labels.
    probabilities
        float32 ``(n, classes)``, in the order of the project's classes.
    predicted
        int64 ``(n,)``: the 1-based class with the highest probability, the first of equal ones.
    features
        The features of the objects.
    """

    label: Int64Array
    probabilities: Float32Array
    predicted: Int64Array
    features: FeatureTable


def find_objects(probabilities: Array, settings: ThresholdSettings) -> Array:
    """Find objects in probabilities with a project's threshold settings.

    Parameters
    ----------
    probabilities
        ``(t, z, y, x, c)``, from 0 to 1.
    settings
        As `read_object_project` gives them.

    Returns
    -------
    int32 ``(t, z, y, x)``, numbered at each t as in ilastik's "Object Identities".

    Raises
    ------
    ValueError
        The settings name a channel that the probabilities do not have.
    """
    used = max(settings.channel, 0 if settings.method == "simple" else settings.core_channel)
    if used >= probabilities.shape[-1]:
        raise ValueError(
            f"objects are thresholded in channel {used} (from 0), the probabilities have {probabilities.shape[-1]}"
        )
    return two_level_threshold(probabilities, settings)


def label_equal_values(image: Array) -> Array:
    """Label the connected parts of equal value of a segmentation image, as ilastik does for binary images.

    Parameters
    ----------
    image
        ``(t, z, y, x)`` of integers; 0 is background. Direct neighbours are connected.

    Returns
    -------
    int32 ``(t, z, y, x)``, numbered in raster order at each t.

    Examples
    --------
    >>> label_equal_values(np.array([[[[2, 2, 0, 1, 3]]]])).tolist()
    [[[[1, 1, 0, 2, 3]]]]
    """
    frames = [label_components(frame, background=0, connectivity=1) for frame in image]
    return np.stack(frames).astype(np.int32)


def number_consecutively(image: Array) -> tuple[Array, tuple[Array, ...]]:
    """Renumber the objects of a label image without gaps, in increasing order of their numbers, at each t.

    Parameters
    ----------
    image
        ``(t, z, y, x)`` of integers; 0 is background.

    Returns
    -------
    labels, originals
        int32 ``(t, z, y, x)``, and for each t the original number of object 1, 2, …

    Examples
    --------
    >>> labels, originals = number_consecutively(np.array([[[[0, 7, 3, 7]]]]))
    >>> labels.tolist(), originals[0].tolist()
    ([[[[0, 2, 1, 2]]]], [3, 7])
    """
    labels = np.zeros(image.shape, np.int32)
    originals = []
    for frame, out in zip(image, labels, strict=True):
        numbers = np.unique(frame)
        numbers = numbers[numbers != 0]
        out[...] = np.where(frame != 0, np.searchsorted(numbers, frame) + 1, 0)
        originals.append(numbers)
    return labels, tuple(originals)


def classify_objects(project: ObjectProject, labels: Array, image: Array) -> ObjectClasses:
    """Classify the objects of one time point.

    Parameters
    ----------
    project
        The object classifier.
    labels
        ``(z, y, x)`` of integers, 0 is background.
    image
        ``(z, y, x, c)``, the image that the project calls "Raw Data".

    Raises
    ------
    ProjectError
        The classifier was trained on images with another number of dimensions or channels.
    """
    dims: Dimensions = 3 if labels.shape[0] > 1 else 2
    features = project.features_for(dims, image.shape[-1])
    return classify_features(project, compute_features(labels, image, features), features)


def classify_features(project: ObjectProject, table: FeatureTable, features: Sequence[ObjectFeature]) -> ObjectClasses:
    """Classify objects whose features are known; ``features`` are the classifier's columns, in its order."""
    matrix = feature_matrix(table, features)
    forest = build_bit_forest(project.forests, len(project.classes))
    probabilities = predict_proba(forest, np.ascontiguousarray(matrix.T))
    return ObjectClasses(table.label, probabilities, 1 + probabilities.argmax(axis=1), table)


def feature_matrix(table: FeatureTable, features: Sequence[ObjectFeature]) -> Float32Array:
    """Return the classifier's columns, ``(n, columns)``; what is not finite in float32 becomes 0, as in ilastik."""
    with np.errstate(over="ignore"):
        columns = [table.values[feature].astype(np.float32) for feature in features]
    matrix = np.concatenate(columns, axis=1)
    return np.where(np.isfinite(matrix), matrix, np.float32(0))


def paint_objects(labels: Array, numbers: Int64Array, values: Array) -> Array:
    """Draw a value for each object into its pixels; background is 0.

    Parameters
    ----------
    labels
        ``(z, y, x)`` of integers.
    numbers
        ``(n,)`` the labels of the objects that have a value.
    values
        ``(n,)`` or ``(n, k)``.

    Returns
    -------
    An array ``(z, y, x)`` or ``(z, y, x, k)`` of the dtype of ``values``.

    Examples
    --------
    >>> paint_objects(np.array([[[0, 1, 2]]]), np.array([1, 2]), np.array([5, 9], np.uint8)).tolist()
    [[[0, 5, 9]]]
    """
    size = int(max(labels.max(initial=0), numbers.max(initial=0))) + 1
    table = np.zeros((size, *values.shape[1:]), values.dtype)
    table[numbers] = values
    return np.asarray(table[labels])

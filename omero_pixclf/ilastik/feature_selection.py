"""The features of a project: ilastik's table of filters and scales."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from omero_pixclf.errors import ImageError
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, read_numbers, read_texts

__all__ = ["FeatureSelection", "SelectedFeature", "read_selection"]

_FEATURE_NAMES = {
    "GaussianSmoothing": "Gaussian Smoothing",
    "LaplacianOfGaussian": "Laplacian of Gaussian",
    "GaussianGradientMagnitude": "Gaussian Gradient Magnitude",
    "DifferenceOfGaussians": "Difference of Gaussians",
    "StructureTensorEigenvalues": "Structure Tensor Eigenvalues",
    "HessianOfGaussianEigenvalues": "Hessian of Gaussian Eigenvalues",
}
_VECTORS = ("StructureTensorEigenvalues", "HessianOfGaussianEigenvalues")
_WINDOW = 3.5
_MAX_SCALE = 1000.0


@dataclass(frozen=True)
class SelectedFeature:
    """One filter at one scale, and whether it sees planes (True) or the volume."""

    name: str
    scale: float
    in_2d: bool

    @property
    def components(self) -> int:
        """Numbers that the filter gives per pixel and channel: its eigenvalues, or one."""
        return (2 if self.in_2d else 3) if self.name in _VECTORS else 1


@dataclass(frozen=True)
class FeatureSelection:
    """ilastik's selected features.

    Attributes
    ----------
    ids
        Filter names in the order of the project.
    scales
        Sigmas in pixels, in the order of the project.
    matrix
        ``matrix[feature][scale]``: whether that pair is computed.
    compute_in_2d
        Per scale, whether it sees planes by themselves; None in projects older than 1.3.1, where the depth of the
        image decides.
    planes
        In a project without that table, whether it was trained on single planes: then a stack is many images.
    """

    feature_ids: tuple[str, ...]
    scales: tuple[float, ...]
    matrix: tuple[tuple[bool, ...], ...]
    compute_in_2d: tuple[bool, ...] | None
    trained_on_planes: bool = False

    def is_2d(self, scale: int, depth: int) -> bool:
        """Whether a scale (by its index) sees the planes of an image of that depth by themselves."""
        return depth == 1 or self.trained_on_planes if self.compute_in_2d is None else self.compute_in_2d[scale]

    @property
    def is_all_2d(self) -> bool:
        """Whether every filter sees planes by themselves, so that a z-stack is many images."""
        return all(self.is_2d(s, 2) for s in self.used_scales())

    def used_scales(self) -> tuple[int, ...]:
        """Indices of the scales at which anything is computed."""
        return tuple(s for s in range(len(self.scales)) if any(row[s] for row in self.matrix))

    def selected_features(self, depth: int) -> Iterator[SelectedFeature]:
        """Every selected filter and scale, in the order of the feature vector, for an image of that depth."""
        for name, row in zip(self.feature_ids, self.matrix, strict=True):
            for s, chosen in enumerate(row):
                if chosen:
                    yield SelectedFeature(name, self.scales[s], self.is_2d(s, depth) or depth == 1)

    def feature_count(self, depth: int) -> int:
        """Features per channel for an image of that depth."""
        return sum(feature.components for feature in self.selected_features(depth))

    def feature_names(self, depth: int, channels: int) -> tuple[str, ...]:
        """Names of the features in ilastik's words, in the order of the feature vector."""
        named = []
        for feature in self.selected_features(depth):
            label = f"{_FEATURE_NAMES[feature.name]} (σ={feature.scale})"
            s = self.scales.index(feature.scale)
            label += " in 2D" if self.compute_in_2d is not None and self.compute_in_2d[s] else ""
            many = channels * feature.components
            named += [label if many == 1 else f"{label} [{i}]" for i in range(many)]
        return tuple(named)

    def minimum_size(self, depth: int) -> tuple[int, int]:
        """The smallest depth, and the smallest height and width, to which the filters can be applied."""
        plane = [math.ceil(_WINDOW * self.scales[s]) + 1 for s in self.used_scales()]
        deep = [math.ceil(_WINDOW * self.scales[s]) + 1 for s in self.used_scales() if not self.is_2d(s, depth)]
        return max(deep, default=1), max(plane, default=1)

    def check_size(self, name: str, depth: int, height: int, width: int) -> None:
        """Refuse an image on which a filter does not fit.

        Raises
        ------
        ImageError
            The image is smaller than ilastik's own rule allows: ``ceil(3.5 scale) + 1`` along every axis of a filter.
        """
        deep, wide = self.minimum_size(depth)
        if depth < deep:
            raise ImageError(
                f"{name}: {depth} z-planes; the project's filters see the volume and need at least {deep} planes"
            )
        if min(height, width) < wide:
            raise ImageError(f"{name}: {height} x {width} pixels; the project's filters need at least {wide} x {wide}")


def read_selection(group: Hdf5Group) -> FeatureSelection:
    """Read and validate a ``FeatureSelections`` group.

    Raises
    ------
    ProjectError
        Something is missing, malformed or unknown.
    """
    ids = read_texts(group, "FeatureIds")
    for name in ids:
        if name not in _FEATURE_NAMES:
            raise group.error("FeatureIds", f"names the filter {name!r:.60}; known are {', '.join(_FEATURE_NAMES)}")
    if len(set(ids)) != len(ids):
        raise group.error("FeatureIds", f"names a filter twice: {', '.join(ids)}")
    scales = tuple(float(s) for s in read_numbers(group, "Scales", "fiu", shape=(None,)))
    if not all(0.0 < s <= _MAX_SCALE for s in scales) or len(set(scales)) != len(scales) or len(scales) > 100:
        raise group.error("Scales", f"holds {scales!r:.80}, expected different sigmas up to {_MAX_SCALE:g} pixels")
    matrix = read_numbers(group, "SelectionMatrix", "biu", shape=(len(ids), len(scales)))
    rows = tuple(tuple(bool(selected) for selected in row) for row in matrix.tolist())
    return FeatureSelection(ids, scales, rows, _read_flags(group, len(scales)))


def _read_flags(group: Hdf5Group, count: int) -> tuple[bool, ...] | None:
    if not group.has("ComputeIn2d"):
        return None
    flags = read_numbers(group, "ComputeIn2d", "biu", shape=(None,))
    if flags.size == 0:
        return None
    if flags.size != count:
        raise group.error("ComputeIn2d", f"has {flags.size} values for {count} scales")
    return tuple(bool(flag) for flag in flags)

"""Every feature of objects that ilastik's default plug-ins offer: names, display names, numbers of columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "DEFAULT_FEATURES",
    "HULL_2D",
    "HULL_3D",
    "NEIGHBORHOOD",
    "SKELETON_2D",
    "STANDARD",
    "Dimensions",
    "Margin",
    "ObjectFeature",
    "available_features",
    "column_count",
    "display_name",
    "exists_in",
    "is_known",
    "plugin_exists_in",
]

STANDARD, SKELETON_2D = "Standard Object Features", "2D Skeleton Features"
HULL_2D, HULL_3D = "2D Convex Hull Features", "3D Convex Hull Features"
NEIGHBORHOOD = " in neighborhood"
DEFAULT_FEATURES = ("Coord<Minimum>", "Coord<Maximum>", "RegionCenter", "Count")
"""What ilastik computes for every object, whether it is selected or not."""

Dimensions = Literal[2, 3]
_Channels = Literal["any", "one", "many"]
Margin = tuple[int, int, int]


@dataclass(frozen=True)
class ObjectFeature:
    """A feature of a project or table.

    Attributes
    ----------
    plugin
        ilastik's plug-in that computes it, such as ``Standard Object Features``.
    name
        Its name there, such as ``Mean`` or ``Mean in neighborhood``.
    margin
        Size of the neighborhood along (x, y, z), in pixels; None for features without one.
    """

    plugin: str
    name: str
    margin: Margin | None = None


@dataclass(frozen=True)
class _Definition:
    """How many columns a feature has (a product of c: channels, d: dimensions, and numbers), and for which images."""

    columns: str
    display: str = ""
    channels: _Channels = "any"


_PRINCIPAL = ("PowerSum<2>", "PowerSum<3>", "PowerSum<4>", "Skewness", "Kurtosis")

_INTENSITY = {
    "Sum": _Definition("c", "Total Intensity"),
    "Mean": _Definition("c", "Mean Intensity"),
    "Minimum": _Definition("c", "Minimum intensity"),
    "Maximum": _Definition("c", "Maximum intensity"),
    "Variance": _Definition("c", "Variance of Intensity"),
    "Skewness": _Definition("c", "Skewness of Intensity"),
    "Kurtosis": _Definition("c", "Kurtosis of Intensity"),
    "Histogram": _Definition("64", "Histogram of Intensity", "one"),
    "Covariance": _Definition("c*c", "Covariance of Channel Intensity", "many"),
}
_STANDARD = {
    **_INTENSITY,
    **{f"Central<PowerSum<{k}>>": _Definition("c") for k in (2, 3, 4)},
    "Quantiles": _Definition("7", "Quantiles of Intensity", "one"),
    "Global<Minimum>": _Definition("1", channels="one"),
    "Global<Maximum>": _Definition("1", channels="one"),
    "Count": _Definition("1", "Size in pixels"),
    "Coord<Minimum>": _Definition("d", "Bounding Box Minimum"),
    "Coord<Maximum>": _Definition("d", "Bounding Box Maximum"),
    "Coord<PowerSum<1>>": _Definition("d"),
    "Coord<ArgMinWeight>": _Definition("d", channels="one"),
    "Coord<ArgMaxWeight>": _Definition("d", channels="one"),
    "Coord<DivideByCount<Principal<PowerSum<2>>>>": _Definition("d"),
    **{f"Coord<Principal<{what}>>": _Definition("d") for what in _PRINCIPAL},
    "RegionCenter": _Definition("d", "Center of the object"),
    "RegionRadii": _Definition("d", "Radii of the object"),
    "RegionAxes": _Definition("d*d", "Principal components of the object"),
    "Weighted<PowerSum<0>>": _Definition("1", channels="one"),
    "Weighted<Coord<PowerSum<1>>>": _Definition("d", channels="one"),
    "Weighted<Coord<DivideByCount<Principal<PowerSum<2>>>>>": _Definition("d", channels="one"),
    **{f"Weighted<Coord<Principal<{what}>>>": _Definition("d", channels="one") for what in _PRINCIPAL},
    "Weighted<RegionCenter>": _Definition("d", channels="one"),
    "Weighted<RegionRadii>": _Definition("d", channels="one"),
    "Weighted<RegionAxes>": _Definition("d*d", channels="one"),
    **{
        f"Principal<{what}>": _Definition("c", channels="many")
        for what in (*_PRINCIPAL, "Variance", "Minimum", "Maximum")
    },
    "PrincipalAxes": _Definition("c*c", channels="many"),
    **{
        name + NEIGHBORHOOD: _Definition(own.columns, own.display + NEIGHBORHOOD, own.channels)
        for name, own in _INTENSITY.items()
    },
}
_HULL = {
    "Convexity": _Definition("1"),
    "DefectCenter": _Definition("d", "Defect Center"),
    "DefectCount": _Definition("1", "Number of Defects"),
    "DefectDisplacementMean": _Definition("1", "Mean Defect Displacement"),
    "DefectVolumeKurtosis": _Definition("1", "Kurtosis of Defect Area"),
    "DefectVolumeMean": _Definition("1", "Mean Defect Area"),
    "DefectVolumeSkewness": _Definition("1", "Skewness of Defect Area"),
    "DefectVolumeVariance": _Definition("1", "Variance of Defect Area"),
    "HullCenter": _Definition("d", "Convex Hull Center"),
    "HullVolume": _Definition("1", "Convex Hull Area"),
    "InputCenter": _Definition("d", "Object Center"),
    "InputVolume": _Definition("1", "Object Area"),
}
_SKELETON = {
    "Average Length": _Definition("1", "Average Branch Length"),
    "Branch Count": _Definition("1", "Number of Branches"),
    "Diameter": _Definition("1"),
    "Euclidean Diameter": _Definition("1"),
    "Hole Count": _Definition("1", "Number of Holes"),
    "Skeleton Center": _Definition("d", "Center of the Skeleton"),
    "Terminal 1": _Definition("d"),
    "Terminal 2": _Definition("d"),
    "Total Length": _Definition("1", "Length of the Skeleton"),
}
_PLUGINS = {STANDARD: _STANDARD, SKELETON_2D: _SKELETON, HULL_2D: _HULL, HULL_3D: _HULL}
_ONLY_IN: dict[str, Dimensions] = {SKELETON_2D: 2, HULL_2D: 2, HULL_3D: 3}
_FACTOR = re.compile(r"[cd]|\d+")


def available_features(dims: Dimensions, channels: int, margin: Margin) -> tuple[ObjectFeature, ...]:
    """List all features that ilastik offers for such images, sorted by plug-in and name.

    Parameters
    ----------
    dims
        2 for images of one plane, 3 for volumes.
    channels
        Number of the image's channels.
    margin
        Size of the neighborhood along (x, y, z) for the features that have one.

    Examples
    --------
    >>> len(available_features(2, 1, (3, 3, 1))), len(available_features(3, 2, (3, 3, 1)))
    (69, 53)
    """
    return tuple(
        ObjectFeature(plugin, name, margin if name.endswith(NEIGHBORHOOD) else None)
        for plugin in sorted(_PLUGINS)
        for name in sorted(_PLUGINS[plugin])
        if exists_in(ObjectFeature(plugin, name), dims, channels)
    )


def is_known(feature: ObjectFeature) -> bool:
    """Whether one of ilastik's default plug-ins offers the feature for some image."""
    return feature.name in _PLUGINS.get(feature.plugin, {})


def plugin_exists_in(plugin: str, dims: Dimensions) -> bool:
    """Whether a plug-in computes anything for images of so many dimensions; ilastik leaves it out where it does not.

    Examples
    --------
    >>> plugin_exists_in("2D Skeleton Features", 3)
    False
    """
    return _ONLY_IN.get(plugin, dims) == dims


def exists_in(feature: ObjectFeature, dims: Dimensions, channels: int) -> bool:
    """Whether ilastik has the feature for images of so many dimensions and channels."""
    if not is_known(feature) or not plugin_exists_in(feature.plugin, dims):
        return False
    return _PLUGINS[feature.plugin][feature.name].channels in ("any", "one" if channels == 1 else "many")


def column_count(feature: ObjectFeature, dims: Dimensions, channels: int) -> int:
    """Return the number of columns of a feature.

    Examples
    --------
    >>> column_count(ObjectFeature("Standard Object Features", "RegionAxes"), 3, 1)
    9
    """
    product = 1
    for factor in _FACTOR.findall(_PLUGINS[feature.plugin][feature.name].columns):
        product *= {"c": channels, "d": dims}.get(factor) or int(factor)
    return product


def display_name(feature: ObjectFeature) -> str:
    """Return the name that ilastik shows in its dialogs and writes into its tables.

    Examples
    --------
    >>> display_name(ObjectFeature("Standard Object Features", "Mean in neighborhood"))
    'Mean Intensity in neighborhood'
    """
    return _PLUGINS[feature.plugin][feature.name].display or feature.name

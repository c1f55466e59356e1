"""Read a project's information about its training images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, read_numbers, read_text
from omero_pixclf.text import parse_json

__all__ = ["Lane", "parse_axistags", "parse_lane", "raw_data_groups", "read_first_lane"]


@dataclass(frozen=True)
class Lane:
    """The first training image.

    Attributes
    ----------
    axes
        Its axes in the order of the file, such as ``"yxc"``; empty where the project does not say.
    shape
        Its extents along those axes; None in projects older than 1.3.3.
    """

    axes: str
    shape: tuple[int, ...] | None

    def extent(self, axis: str) -> int | None:
        """Its extent along an axis; 1 for an axis it does not have, None where the project does not say."""
        if not self.axes:
            return None
        if axis not in self.axes:
            return 1
        return None if self.shape is None else self.shape[self.axes.index(axis)]


def parse_axistags(tags: str) -> str | None:
    """The axis letters of vigra's axistags in JSON, or None where they are not five-dimensional axistags."""
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        keys = "".join(axis["key"] for axis in parse_json(tags)["axes"])
        if keys and len(set(keys)) == len(keys) and set(keys) <= set("tzyxc"):
            return keys
    return None


def read_first_lane(root: Hdf5Group) -> Lane:
    """Read the first lane of ``Input Data``; a project without lanes gives an empty one.

    Raises
    ------
    ProjectError
        The lane is there and malformed.
    """
    for _, raw in raw_data_groups(root):
        if raw.names():
            return parse_lane(raw)
    return Lane("", None)


def raw_data_groups(root: Hdf5Group) -> Iterator[tuple[str, Hdf5Group]]:
    """The raw data groups of all lanes, by the lanes' names; they are empty where a lane has no image."""
    if not root.has("Input Data") or not root.group("Input Data").has("infos"):
        return
    infos = root.group("Input Data").group("infos")
    for name in infos.names():
        lane = infos.group(name)
        if lane.has("Raw Data"):
            yield name, lane.group("Raw Data")


def parse_lane(raw: Hdf5Group) -> Lane:
    """Axes and shape of a lane's raw data; ilastik before 1.2 may have stored neither.

    Raises
    ------
    ProjectError
        They are malformed.
    """
    if not raw.has("axistags") and not raw.has("axisorder"):
        return Lane("", None)
    axes = ""
    if raw.has("axistags"):
        axes = parse_axistags(read_text(raw, "axistags")) or ""
    if not axes and raw.has("axisorder"):
        axes = read_text(raw, "axisorder")
    if not axes or not set(axes) <= set("tzyxc") or len(set(axes)) != len(axes):
        raise raw.error("axistags", f"says axes {axes!r:.20}, expected different ones out of t, z, y, x, c")
    return Lane(axes, _read_shape(raw, len(axes)))


def _read_shape(raw: Hdf5Group, rank: int) -> tuple[int, ...] | None:
    if not raw.has("shape"):
        return None
    shape = tuple(int(n) for n in read_numbers(raw, "shape", "iu", shape=(None,)))
    if len(shape) != rank or min(shape) < 1:
        raise raw.error("shape", f"is {shape!r:.60}, expected {rank} extents")
    return shape

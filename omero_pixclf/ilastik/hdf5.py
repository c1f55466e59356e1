"""Reading a few groups and datasets of an HDF5 file that nobody vouches for.

Only hard links are followed, only plain datasets that lie in the file itself are read, and never more than a stated
number of bytes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ProjectError

__all__ = ["LARGEST", "Branch", "numbers", "text", "texts"]

LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Branch:
    """A group of a project file.

    Attributes
    ----------
    file
        The file's name, for messages.
    path
        The group's path in it.
    """

    file: str
    path: str
    node: Any

    def refuse(self, name: str, problem: str) -> ProjectError:
        """The error that says what is wrong with a child (or, with an empty name, with this group)."""
        where = f"{self.path}/{name}" if name else self.path or "/"
        return ProjectError(f"{self.file}: {where} {problem}")

    def names(self) -> list[str]:
        """Names of the children, sorted."""
        return sorted(self.node.keys())

    def has(self, name: str) -> bool:
        """Whether a child of that name is there."""
        return name in self.names()

    def group(self, name: str) -> Branch:
        """The child group of that name."""
        node = self._child(name)
        if not isinstance(node, h5py.Group):
            raise self.refuse(name, "is not a group")
        return Branch(self.file, f"{self.path}/{name}", node)

    def array(self, name: str, *, largest: int = LARGEST) -> NDArray[Any]:
        """The child dataset of that name, refused when it claims more than ``largest`` bytes."""
        node = self._child(name)
        if not isinstance(node, h5py.Dataset):
            raise self.refuse(name, "is not a dataset")
        size = node.size
        if size is None or size * max(node.dtype.itemsize, 1) > largest:
            raise self.refuse(name, f"claims {size} elements of {node.dtype}, more than {largest} bytes")
        return np.asarray(node[()])

    def attribute(self, name: str, child: str = "") -> Any:
        """An attribute of a child (or of this group), None where it is absent."""
        node = self._child(child) if child else self.node
        return node.attrs.get(name)

    def _child(self, name: str) -> Any:
        link = None
        with suppress(KeyError):
            link = self.node.get(name, getlink=True)
        if link is None:
            raise self.refuse(name, "is missing")
        if not isinstance(link, h5py.HardLink):
            raise self.refuse(name, "is a link to somewhere else; only what lies in the file itself is read")
        return self.node[name]


def numbers(
    branch: Branch, name: str, kinds: str, *, shape: tuple[int | None, ...] | None = None, largest: int = LARGEST
) -> NDArray[Any]:
    """A numeric dataset whose dtype kind is one of ``kinds`` and whose shape is as given (None: any length)."""
    found = branch.array(name, largest=largest)
    if found.dtype.kind not in kinds:
        raise branch.refuse(name, f"holds {found.dtype}, expected one of kinds {kinds!r}")
    fits = shape is None or (
        len(shape) == found.ndim and all(s is None or s == n for s, n in zip(shape, found.shape, strict=True))
    )
    if not fits:
        raise branch.refuse(name, f"has shape {found.shape}, expected {shape}")
    return found


def texts(branch: Branch, name: str) -> tuple[str, ...]:
    """A dataset of strings (one or many), decoded as UTF-8."""
    found = branch.array(name)
    return tuple(_decoded(branch, name, item) for item in found.ravel().tolist())


def text(branch: Branch, name: str) -> str:
    """A dataset that is one string."""
    found = texts(branch, name)
    if len(found) != 1:
        raise branch.refuse(name, f"holds {len(found)} strings, expected one")
    return found[0]


def _decoded(branch: Branch, name: str, item: object) -> str:
    if isinstance(item, bytes):
        with suppress(UnicodeDecodeError):
            return item.decode("utf-8")
    if isinstance(item, str):
        return item
    raise branch.refuse(name, f"holds {item!r:.40}, expected text")

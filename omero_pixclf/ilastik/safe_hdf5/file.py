"""Read groups and datasets of an untrusted HDF5 file.

The HDF5 library trusts its files: broken ones make it crash, loop, or allocate what they claim, and links, virtual
datasets and filters lead it out of the file. Projects use little of the format, so that little is read here, in Python,
with every offset checked, every loop bounded and every byte counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.safe_hdf5.objects import Message, read_links, read_messages, read_root_address
from omero_pixclf.ilastik.safe_hdf5.source import BrokenFileError, CheckedFile
from omero_pixclf.ilastik.safe_hdf5.values import LAYOUT, read_attribute, read_dataset
from omero_pixclf.image import Array
from omero_pixclf.text import printable

__all__ = ["Hdf5Group", "open_hdf5", "read_numbers", "read_text", "read_texts"]

_MAX_DATASET_BYTES = 64 * 2**20
_IN_MEMORY = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Hdf5Group:
    """A group of a project file.

    Attributes
    ----------
    file
        The file's name, for messages.
    path
        The group's path in it.
    source
        The file's bytes.
    header
        The messages of the group's header.
    children
        Where the headers of its children lie; None for links that lead elsewhere.
    """

    file: str
    path: str
    source: CheckedFile
    header: tuple[Message, ...]
    children: dict[str, int | None]

    @classmethod
    def root(cls, file: str, source: CheckedFile) -> Hdf5Group:
        """The root group of a file.

        Raises
        ------
        ProjectError
            It is not an HDF5 file, or broken.
        """
        try:
            return cls._at(file, "", source, read_root_address(source))
        except BrokenFileError as problem:
            raise ProjectError(f"{file}: {problem}") from problem

    @classmethod
    def _at(cls, file: str, path: str, source: CheckedFile, address: int) -> Hdf5Group:
        header = read_messages(source, address)
        if any(message.kind == LAYOUT for message in header):
            raise BrokenFileError("is a dataset, expected a group")
        return cls(file, path, source, tuple(header), read_links(source, header))

    def error(self, name: str, problem: str) -> ProjectError:
        """The error that says what is wrong with a child (or, with an empty name, with this group)."""
        where = f"{self.path}/{name}" if name else self.path or "/"
        return ProjectError(f"{self.file}: {where} {problem}")

    def names(self) -> list[str]:
        """Names of the children, sorted."""
        return sorted(self.children)

    def has(self, name: str) -> bool:
        """Whether a child of that name is there."""
        return name in self.children

    def group(self, name: str) -> Hdf5Group:
        """The child group of that name.

        Raises
        ------
        ProjectError
            It is missing, broken, a link to elsewhere or not a group.
        """
        address = self._address(name)
        try:
            return Hdf5Group._at(self.file, f"{self.path}/{name}", self.source, address)
        except BrokenFileError as problem:
            raise self.error(name, str(problem)) from problem

    def array(self, name: str, *, largest: int = _MAX_DATASET_BYTES) -> Array:
        """The values of the child dataset of that name; strings as bytes.

        Raises
        ------
        ProjectError
            It is missing, broken, a link to elsewhere, not a dataset, or larger than ``largest`` bytes.
        """
        address = self._address(name)
        try:
            return read_dataset(self.source, read_messages(self.source, address), largest)
        except BrokenFileError as problem:
            raise self.error(name, str(problem)) from problem

    def attribute(self, name: str, child: str) -> Array | None:
        """An attribute of a child, None where it is absent."""
        address = self._address(child)
        try:
            return read_attribute(self.source, read_messages(self.source, address), name)
        except BrokenFileError as problem:
            raise self.error(child, f"has an attribute {name!r} that {problem}") from problem

    def _address(self, name: str) -> int:
        if name not in self.children:
            raise self.error(name, "is missing")
        address = self.children[name]
        if address is None:
            raise self.error(name, "is a link to somewhere else; only what lies in the file itself is read")
        return address


@contextmanager
def open_hdf5(source: Path | str | bytes, name: str | None = None) -> Iterator[tuple[Hdf5Group, str]]:
    """The root group of a file, and the SHA-256 of its bytes in hexadecimal. Large files are not held in memory.

    Raises
    ------
    ProjectError
        It cannot be read, or is no HDF5 file.
    """
    called = printable(name or ("project.ilp" if isinstance(source, bytes) else Path(source).name or str(Path(source))))
    if isinstance(source, bytes):
        yield Hdf5Group.root(called, CheckedFile(source, len(source))), hashlib.sha256(source).hexdigest()
        return
    with _open(source, called) as file:
        size = os.fstat(file.fileno()).st_size
        Hdf5Group.root(called, CheckedFile(file.fileno(), size))
        digest, content = hashlib.sha256(), b""
        try:
            while part := file.read(_IN_MEMORY):
                digest.update(part)
                content = part if len(part) == size else b""
        except OSError as problem:
            raise ProjectError(f"{called}: cannot be read: {problem.strerror or problem}") from problem
        yield Hdf5Group.root(called, CheckedFile(content or file.fileno(), size)), digest.hexdigest()


def _open(path: Path | str, called: str) -> BinaryIO:
    try:
        if not Path(path).is_file():
            found = "is not a file" if Path(path).exists() else "is not there"
            raise ProjectError(f"{called}: {found} (looked for {printable(str(Path(path).absolute()))})")
        return Path(path).open("rb")
    except OSError as problem:
        raise ProjectError(f"{called}: cannot be read: {problem.strerror or problem}") from problem


def read_numbers(
    group: Hdf5Group,
    name: str,
    kinds: str,
    *,
    shape: tuple[int | None, ...] | None = None,
    largest: int = _MAX_DATASET_BYTES,
) -> Array:
    """A numeric dataset whose dtype kind is one of ``kinds`` and whose shape is as given (None: any length)."""
    found = group.array(name, largest=largest)
    if found.dtype.kind not in kinds:
        raise group.error(name, f"holds {found.dtype}, expected one of kinds {kinds!r}")
    fits = shape is None or (
        len(shape) == found.ndim and all(s is None or s == n for s, n in zip(shape, found.shape, strict=True))
    )
    if not fits:
        raise group.error(name, f"has shape {found.shape}, expected {shape}")
    return found


def read_texts(group: Hdf5Group, name: str, *, also_latin: bool = False) -> tuple[str, ...]:
    """A dataset of strings (one or many), decoded as UTF-8; with ``also_latin`` as Latin-1 where that fails."""
    found = group.array(name)
    return tuple(_decode_text(group, name, item, also_latin) for item in found.ravel().tolist())


def read_text(group: Hdf5Group, name: str) -> str:
    """A dataset that is one string."""
    found = read_texts(group, name)
    if len(found) != 1:
        raise group.error(name, f"holds {len(found)} strings, expected one")
    return found[0]


def _decode_text(group: Hdf5Group, name: str, item: object, also_latin: bool) -> str:
    if isinstance(item, bytes):
        with suppress(UnicodeDecodeError):
            return item.decode("utf-8")
        if also_latin:
            return item.decode("latin-1")
    if isinstance(item, str):
        return item
    raise group.error(name, f"holds {item!r:.40}, expected text")

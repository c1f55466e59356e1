"""Zarr stores in folders and ZIP files: access to metadata and arrays by their names in the store."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from omero_pixclf.errors import ImageError
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.existence import exists, is_dir, is_file
from omero_pixclf.files.ome_zarr.zarr_checks import check_blosc_sizes, checking_store
from omero_pixclf.files.references import check_within, resolve_reference
from omero_pixclf.files.stored_array import check_array_size
from omero_pixclf.text import parse_json

__all__ = [
    "STORE_SUFFIXES",
    "ZarrStore",
    "fingerprint_files",
    "is_store",
    "join_name",
    "open_store",
    "outermost_store",
]

STORE_SUFFIXES = (".zarr", ".ozx", ".zarr.zip")
"""Endings of the names of stores, in lower case; all except the first are ZIP files."""

_METADATA = (".zgroup", ".zattrs", ".zarray", "zarr.json")
_LARGEST_METADATA = 256 << 20  # bytes
_MOST_CHUNKS = 64  # chunks of an array whose files are part of its fingerprint
_UNSAFE_CODECS = ("pickle",)  # codecs that can execute code


class _StoreFiles(Protocol):
    """The files of a store by their names in it."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""

    def names(self, group: str) -> list[str]:
        """Return the names of the folders in a group, sorted."""

    def array(self, name: str, described: Mapping[str, Any]) -> Any:
        """Return zarr's array of this name."""


class _FolderFiles:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        file = self.path / name
        if not is_file(file):
            return None
        if file.stat().st_size > _LARGEST_METADATA:
            raise ImageError(f"{file}: has {file.stat().st_size} bytes, expected metadata")
        return file.read_bytes()

    def names(self, group: str) -> list[str]:
        folder = self.path / group
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if is_dir(folder) else []

    def array(self, name: str, described: Mapping[str, Any]) -> Any:
        import zarr

        if not hasattr(zarr.storage, "LocalStore"):  # zarr 2
            return zarr.open_array(str(self.path / name), mode="r")
        store = checking_store(zarr.storage.LocalStore(str(self.path), read_only=True), described)
        return zarr.open_array(store=store, path=name, mode="r")


class _ZipFiles:
    def __init__(self, path: Path, opened: ExitStack) -> None:
        self.path, self.opened = path, opened
        self.store: Any = None
        self.archive = opened.enter_context(zipfile.ZipFile(path))
        self.files = frozenset(self.archive.namelist())
        self.prefix = self._prefix()

    def _prefix(self) -> str:
        """Return the prefix of the store's names in the archive: "", or the name of the zipped folder."""
        if any(name in self.files for name in _METADATA):
            return ""
        tops = {name.partition("/")[0] for name in self.files}
        found = sorted(top for top in tops if any(f"{top}/{name}" in self.files for name in _METADATA))
        return f"{found[0]}/" if len(found) == 1 else ""

    def read(self, name: str) -> bytes | None:
        full = self.prefix + name
        if full not in self.files:
            return None
        if self.archive.getinfo(full).file_size > _LARGEST_METADATA:
            raise ImageError(f"{name}: has {self.archive.getinfo(full).file_size} bytes, expected metadata")
        return self.archive.read(full)

    def names(self, group: str) -> list[str]:
        start = self.prefix + (f"{group}/" if group else "")
        inner = (name[len(start) :] for name in self.files if name.startswith(start))
        return sorted({name.partition("/")[0] for name in inner if "/" in name})

    def array(self, name: str, described: Mapping[str, Any]) -> Any:
        import zarr

        if self.store is None:
            storage = getattr(zarr, "storage", zarr)  # zarr 2 and 3
            self.store = storage.ZipStore(str(self.path), mode="r")
            self.opened.callback(_close, self.store)
        store = checking_store(self.store, described)
        return zarr.open_array(store=store, path=(self.prefix + name).strip("/"), mode="r")


def _close(store: Any) -> None:
    if getattr(store, "_is_open", True):  # zarr 3 opens a file at its first use
        store.close()


class ZarrStore:
    """An open store. Names are relative to its root, with slashes; ``""`` is the root."""

    def __init__(self, path: Path, files: _StoreFiles) -> None:
        self.path = path
        self.files = files

    @property
    def is_folder(self) -> bool:
        """Whether the store is a folder, not a ZIP file."""
        return isinstance(self.files, _FolderFiles)

    def attributes(self, group: str = "") -> Mapping[str, Any]:
        """Return the attributes of a group of Zarr version 2 or 3; those under the key ``ome`` are merged in.

        Raises
        ------
        ImageError
            If they cannot be read.
        """
        for name in (".zattrs", "zarr.json"):
            found = self._json(join_name(group, name))
            if found is None:
                continue
            if name == "zarr.json":
                outer = _mapping(found.get("attributes"))
                return {**outer, **_mapping(outer.get("ome"))}
            return found
        return {}

    def _read(self, name: str) -> bytes | None:
        try:
            return self.files.read(name)
        except decoder_errors() as error:
            raise ImageError(f"{self.path}/{name}: not readable: {error}; copy or export the store again") from error

    def _json(self, name: str) -> dict[str, Any] | None:
        text = self._read(name)
        try:
            return None if text is None else _mapping(parse_json(text.decode("utf-8-sig")))
        except decoder_errors() as error:
            raise ImageError(f"{self.path}/{name}: not readable: {error}; export the store again") from error

    def has(self, group: str) -> bool:
        """Whether a group or an array of this name exists."""
        return any(self._read(join_name(group, name)) is not None for name in _METADATA)

    def is_array(self, name: str) -> bool:
        """Whether an array of this name exists."""
        described = self._json(join_name(name, "zarr.json")) or {}
        return self._read(join_name(name, ".zarray")) is not None or described.get("node_type") == "array"

    def arrays(self, group: str = "") -> list[str]:
        """Return the names of the arrays in a group."""
        return [join_name(group, name) for name in self.files.names(group) if self.is_array(join_name(group, name))]

    def resolve(self, base: str, name: object) -> str:
        """Resolve a path of the metadata, relative to a group, to a name in the store; ImageError if it is outside."""
        source = self.path / base
        found = resolve_reference(source, name, within=self.path, source=source, follow_links=not self.is_folder)
        return "" if found == self.path else found.relative_to(self.path).as_posix()

    def open_array(self, name: str) -> Any:
        """Open zarr's array of this name.

        Raises
        ------
        ImageError
            If it does not exist, cannot be read, or its chunks are too large for memory.
        """
        described = {file: self._json(join_name(name, file)) for file in (".zarray", "zarr.json")}
        for one in described.values():
            if codec := _unsafe_codec(one):
                raise ImageError(
                    f"{self.path}/{name}: uses the codec {codec}, which could run programs; export it again"
                )
        try:
            check_blosc_sizes()
            array = self.files.array(name, described["zarr.json"] or {})
            dtype, chunks = np.dtype(array.dtype), tuple(array.chunks)
        except decoder_errors() as error:
            raise ImageError(f"{self.path}: no readable Zarr array {name!r}: {error}") from error
        check_array_size(f"{self.path}/{name}", array.shape, dtype, chunks)
        return array


def join_name(group: str, name: str) -> str:
    """Join the name of a group and a name in it.

    >>> join_name("", "0"), join_name("A/1", "0"), join_name("A", "")
    ('0', 'A/1/0', 'A')
    """
    return f"{group}/{name}" if group and name else group or name


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _unsafe_codec(described: Any) -> str | None:
    """Return the name of a codec that can execute code, anywhere in an array's metadata; None if there is none."""
    waiting = [described]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key in ("id", "name"):
                name = one.get(key)
                if isinstance(name, str) and name.rpartition(".")[2].lower() in _UNSAFE_CODECS:
                    return name
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return None


@contextmanager
def open_store(path: Path) -> Iterator[ZarrStore]:
    """Open a store until the context ends.

    Raises
    ------
    ImageError
        If it does not exist, or its ZIP file cannot be read.
    """
    with ExitStack() as opened:
        if is_dir(path):
            yield ZarrStore(path, _FolderFiles(path))
            return
        if not is_file(path):
            raise ImageError(f"{path}: no such store")
        try:
            zipped = _ZipFiles(path, opened)
        except decoder_errors() as error:
            raise ImageError(f"{path}: not a readable ZIP file: {error}; copy or export it again") from error
        yield ZarrStore(path, zipped)


def is_store(folder: Path) -> bool:
    """Whether a folder is a Zarr store, and not only a folder whose name ends like one."""
    if any(is_file(folder / name) for name in _METADATA):
        return True
    inner = [p for p in folder.iterdir() if not p.name.lower().endswith(STORE_SUFFIXES)] if is_dir(folder) else []
    return any(is_file(group / name) for group in inner for name in _METADATA)


def outermost_store(path: Path) -> Path | None:
    """Return the outermost Zarr store that a path is or is in; None if there is none.

    >>> outermost_store(Path("/data/plate.ome.zarr/A/1/0/.zattrs"))
    PosixPath('/data/plate.ome.zarr')
    """
    return next((p for p in reversed([path, *path.parents]) if p.suffix.lower() == ".zarr"), None)


def fingerprint_files(store: ZarrStore, group: str, name: str, array: Any) -> tuple[Path, ...]:
    """Return the files and folders whose sizes and modification times show whether an array has changed.

    These are its metadata, up to 64 chunks spread evenly over the array, and the folders of these chunks: zarr replaces
    a chunk by renaming a new file, which changes its folder. Checking all chunks of a plate would take minutes. For a
    ZIP file it is the file itself.
    """
    if not store.is_folder:
        return (store.path,)
    home = store.path / name
    metadata = [store.path / group / file for file in _METADATA] + [home / file for file in _METADATA]
    chunks = [home / key for key in _sample_chunks(array)]
    folders = {parent for chunk in chunks for parent in chunk.parents if parent.is_relative_to(home)}
    for chunk in chunks:
        if chunk.is_symlink():
            check_within(chunk, store.path)
    return tuple(p for p in dict.fromkeys((*metadata, *sorted(folders), *chunks)) if exists(p))


def _sample_chunks(array: Any) -> list[str]:
    """Return the names of the files of chunks, or of shards, spread evenly over an array."""
    pieces = getattr(array, "shards", None) or array.chunks
    counts = [max(1, -(-int(n) // int(m))) for n, m in zip(array.shape, pieces, strict=True)]
    total = 1
    for count in counts:
        total *= count
    last = max(1, min(total, _MOST_CHUNKS) - 1)
    numbers = dict.fromkeys(i * (total - 1) // last for i in range(min(total, _MOST_CHUNKS)))
    return [_chunk_key(array, _chunk_index(number, counts)) for number in numbers]


def _chunk_index(number: int, counts: list[int]) -> tuple[int, ...]:
    """Return the index of a chunk from its number in C order; the number may exceed numpy's integers."""
    place = []
    for count in reversed(counts):
        number, index = divmod(number, count)
        place.append(index)
    return tuple(reversed(place))


def _chunk_key(array: Any, place: tuple[int, ...]) -> str:
    encode = getattr(getattr(array, "metadata", None), "encode_chunk_key", None) or array._chunk_key
    return PurePosixPath(str(encode(place))).as_posix()

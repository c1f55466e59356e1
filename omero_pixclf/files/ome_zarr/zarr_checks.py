"""Errors for truncated chunks of Zarr stores, which the libraries read as zeros or as other memory.

zarr treats an empty shard, and a chunk beyond the end of its shard, as never written. numcodecs reads beyond the end of
a Blosc chunk that is shorter than its header says.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

__all__ = ["check_blosc_sizes", "checking_store"]

_BLOSC_HEADER = 16  # bytes, of which the last four are the size of all
_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
_NEVER_WRITTEN = 2**64 - 1  # as offset of a chunk in a shard's index
_lock = threading.Lock()


def check_blosc_sizes() -> None:
    """Make numcodecs' Blosc raise for a chunk that is shorter than its header says; done once per process."""
    from numcodecs import blosc  # type: ignore[import-untyped]

    with _lock:
        decode = blosc.Blosc.decode
        if getattr(decode, "checks_size", False):
            return

        def checked(self: Any, buf: Any, out: Any = None) -> Any:
            found = memoryview(buf).cast("B")
            said = int.from_bytes(found[12:_BLOSC_HEADER], "little") if len(found) >= _BLOSC_HEADER else _BLOSC_HEADER
            if len(found) < max(said, _BLOSC_HEADER):
                raise RuntimeError(f"a chunk has {len(found)} of {said} bytes")
            return decode(self, buf, out)

        checked.checks_size = True  # type: ignore[attr-defined]
        blosc.Blosc.decode = checked


def checking_store(store: Any, described: Mapping[str, Any]) -> Any:
    """Return zarr's store with a check of every chunk that is read; ``described`` is the array's ``zarr.json``.

    zarr 2, which has no shards, raises by itself.
    """
    kind = _checking_store_class()
    return store if kind is None else kind(store, _index_at_start(described))


def _index_at_start(described: Mapping[str, Any]) -> int:
    """Return the number of chunks in a shard whose index is at its start; 0 for all other arrays.

    Raises
    ------
    ValueError
        If such an index is encoded by other codecs than those that all writers use.
    """
    codecs = described.get("codecs")
    for codec in codecs if isinstance(codecs, list) else ():
        settings = codec.get("configuration") if isinstance(codec, dict) else None
        if not isinstance(settings, dict) or codec.get("name") != "sharding_indexed":
            continue
        if settings.get("index_location") != "start":
            return 0
        names = [c.get("name") if isinstance(c, dict) else c for c in settings.get("index_codecs", ())]
        if names[:1] != ["bytes"] or set(names[1:]) - {"crc32c"}:
            raise ValueError(f"an index of shards is encoded by {names}, expected bytes and crc32c")
        shard = described["chunk_grid"]["configuration"]["chunk_shape"]
        return int(np.prod([-(-a // b) for a, b in zip(shard, settings["chunk_shape"], strict=True)]))
    return 0


@cache
def _checking_store_class() -> Any:
    """Return the class of stores that check chunks; None with zarr 2."""
    import zarr

    wrapper = getattr(zarr.storage, "WrapperStore", None)
    if wrapper is None:
        return None

    class CheckedStore(wrapper):  # type: ignore[misc, valid-type]
        """A store that raises if a chunk is empty or ends before the requested range."""

        def __init__(self, store: Any, index_chunks: int = 0) -> None:
            super().__init__(store)
            self.index_chunks = index_chunks

        def _with_store(self, store: Any) -> Any:
            return type(self)(store, self.index_chunks)

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            found = await self._store.get(key, prototype, byte_range)
            if found is not None and key.rpartition("/")[2] not in _METADATA:
                self._check(key, found, byte_range)
            return found

        def _check(self, key: str, found: Any, byte_range: Any) -> None:
            expected = _requested_bytes(byte_range)
            if len(found) < expected:
                raise RuntimeError(f"chunk {key} has {len(found)} bytes where {expected} are expected")
            if byte_range is None and self.index_chunks:
                end = _end_of_shard(found.to_bytes(), self.index_chunks)
                if len(found) < end:
                    raise RuntimeError(f"shard {key} has {len(found)} of {end} bytes")

    return CheckedStore


def _requested_bytes(byte_range: Any) -> int:
    """Return the number of bytes that a read must give; an existing chunk has at least one."""
    if byte_range is None:
        return 1
    start, end = getattr(byte_range, "start", None), getattr(byte_range, "end", None)
    if start is not None and end is not None:
        return int(end) - int(start)
    return int(getattr(byte_range, "suffix", 0))


def _end_of_shard(shard: bytes, count: int) -> int:
    """Return the end of the last chunk of a shard by the index at its start."""
    size = 16 * count
    if len(shard) < size:
        return size
    index = np.frombuffer(shard[:size], "<u8").reshape(-1, 2)
    written = index[index[:, 0] != _NEVER_WRITTEN]
    return max(size, *(int(offset) + int(length) for offset, length in written))

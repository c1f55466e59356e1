"""Checksums of files, with the names that OMERO uses; client and embedded server compute the same."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["CHECKSUM_ALGORITHMS", "file_checksum"]

_SIZE = "File-Size-64"
_BLOCK = 1 << 22


class _Sum32:
    """adler32 and crc32 with the interface of hashlib."""

    def __init__(self, function: Callable[[bytes, int], int], start: int) -> None:
        self._function, self._value = function, start

    def update(self, data: bytes) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_HASHERS: dict[str, Callable[[], Any]] = {
    "SHA1-160": lambda: hashlib.sha1(usedforsecurity=False),
    "MD5-128": lambda: hashlib.md5(usedforsecurity=False),
    "Adler-32": lambda: _Sum32(zlib.adler32, 1),
    "CRC-32": lambda: _Sum32(zlib.crc32, 0),
}

CHECKSUM_ALGORITHMS = (*_HASHERS, _SIZE)
"""Those that can be calculated, the preferred ones first."""


def file_checksum(path: Path, algorithm: str) -> str:
    """The checksum of a file's bytes; KeyError for an algorithm that is not among `CHECKSUM_ALGORITHMS`."""
    if algorithm == _SIZE:
        return f"{path.stat().st_size:016x}"
    digest = _HASHERS[algorithm]()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return str(digest.hexdigest())

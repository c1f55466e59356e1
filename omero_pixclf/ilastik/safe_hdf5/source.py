"""Read the bytes of an HDF5 file with every offset checked and all work limited."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

__all__ = ["UNDEFINED", "BrokenFileError", "CheckedFile"]

UNDEFINED = 0xFFFFFFFFFFFFFFFF
_MAX_READS, _MAX_BYTES = 600_000, 160 * 2**20


class BrokenFileError(ValueError):
    """The bytes are not what the format asks for, or ask for what is not supported."""


@dataclass
class CheckedFile:
    """A file, in memory or open for reading.

    Attributes
    ----------
    content
        The bytes, or a file descriptor.
    size
        Number of bytes.
    """

    content: bytes | int
    size: int
    reads: int = field(default=0, init=False)
    reserved: int = field(default=0, init=False)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes at an offset.

        Raises
        ------
        BrokenFileError
            They lie outside of the file, or more has been asked for than any project needs.
        """
        self.reads += 1
        if self.reads > _MAX_READS:
            raise BrokenFileError("takes more steps to read than any project needs")
        if offset < 0 or count < 0 or offset + count > self.size:
            place = f"points to bytes {offset} to {offset + count} of a file of {self.size}"
            raise BrokenFileError(f"{place}; was it copied whole?")
        if isinstance(self.content, bytes):
            return self.content[offset : offset + count]
        part = os.pread(self.content, count, offset)
        if len(part) != count:
            raise BrokenFileError("became shorter while it was read")
        return part

    def reserve(self, count: int) -> None:
        """Count bytes of results against what a project may ask for."""
        self.reserved += count
        if self.reserved > _MAX_BYTES:
            raise BrokenFileError(f"claims more than {_MAX_BYTES} bytes of project data")

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        """Little-endian numbers at an offset, as `struct` names them."""
        return struct.unpack("<" + form, self.read(offset, struct.calcsize("<" + form)))

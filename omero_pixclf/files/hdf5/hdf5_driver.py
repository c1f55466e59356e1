"""A file object for h5py that survives a full disk.

The HDF5 library cannot close a file if its last bytes do not fit on the disk: it keeps the file open and crashes when
the process ends. This file object ignores writes after the first failure, and `check` raises that failure.
"""

from __future__ import annotations

from typing import Any, BinaryIO

__all__ = ["GuardedFile"]


class GuardedFile:
    """An unbuffered binary file with the methods that h5py needs; it ignores writes after the first failed one."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one.

        Raises
        ------
        OSError
            What the file system said.
        """
        if self.failure is not None:
            raise self.failure

    def write(self, data: Any) -> int:
        """Write all bytes at the current position."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.failure is None:
                left = left[self.raw.write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros after the end of the file."""
        left = memoryview(buffer).cast("B")
        size = len(left)
        while left:
            got = self.raw.readinto(left)  # type: ignore[attr-defined]
            if not got:
                left[:] = bytes(len(left))
                break
            left = left[got:]
        return size

    def read(self, size: int) -> bytes:
        """Read this number of bytes from the current position."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        try:
            if self.failure is None:
                return self.raw.truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def seek(self, place: int, whence: int = 0) -> int:
        """Move to a position."""
        return self.raw.seek(place, whence)

    def tell(self) -> int:
        """Return the position."""
        return self.raw.tell()

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""

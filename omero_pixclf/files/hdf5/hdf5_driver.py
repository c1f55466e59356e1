"""A file for HDF5 to write to that survives a full disk.

The HDF5 library cannot close a file whose last bytes find no room: it keeps the file open and crashes at the end of
the process. This file takes what comes after the first failure as written, and tells of the failure when asked.
"""

from __future__ import annotations

from typing import Any, BinaryIO

__all__ = ["GuardedFile"]


class GuardedFile:
    """An unbuffered binary file as h5py wants it; after a failed write it only pretends."""

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
        """Write all of it at the current place."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.failure is None:
                left = left[self.raw.write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; with zeros from the end of the file on."""
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
        """That many bytes from the current place."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Make the file that long."""
        try:
            if self.failure is None:
                return self.raw.truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def seek(self, place: int, whence: int = 0) -> int:
        """Go there."""
        return self.raw.seek(place, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self.raw.tell()

    def flush(self) -> None:
        """Nothing is held back."""

"""The location of an image's pixels in a server's storage: files, planes, OME-Zarr."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PixelLocation", "StoredFile", "legacy_repository_path"]


def legacy_repository_path(holder: Literal["Pixels", "Files"], ident: int) -> str:
    """Where OMERO keeps the bytes of what has no place in a repository, below its data directory.

    A thousand of them lie in a folder, which stands within that of the thousand before the last three digits.

    Examples
    --------
    >>> legacy_repository_path("Pixels", 51), legacy_repository_path("Files", 1234567)
    ('Pixels/51', 'Files/Dir-001/Dir-234/1234567')
    """
    folders = ""
    rest = ident // 1000
    while rest:
        rest, digits = divmod(rest, 1000)
        folders = f"Dir-{digits:03}/{folders}"
    return f"{holder}/{folders}{ident}"


@dataclass(frozen=True)
class StoredFile:
    """A file or folder on the server.

    Attributes
    ----------
    path
        Absolute on the server, or below ``root`` where there is one: ``"lab_2/2026-11/26/plate.ome.tiff"``.
    root
        The repository's folder on the server, ``"/OMERO/ManagedRepository"``.
    size
        Bytes; None where the server does not say.
    sha1
        40 hex digits, "" where it was not stored.
    """

    path: str
    root: str = ""
    size: int | None = None
    sha1: str = ""

    def __str__(self) -> str:
        return f"{self.root.rstrip('/')}/{self.path}" if self.root else self.path


@dataclass(frozen=True)
class PixelLocation:
    """The pixels of one image.

    Attributes
    ----------
    kind
        ``multiscales``: an OME-Zarr image, ``file`` is its group; ``fileset``: image number ``series`` of what was
        imported by ``file``; ``planes``: all planes one after the other, big-endian, in the order XYZCT.
    roots
        The folders of the server's repositories.
    """

    kind: Literal["multiscales", "fileset", "planes"]
    file: StoredFile
    series: int = 0
    roots: tuple[str, ...] = ()

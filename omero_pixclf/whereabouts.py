"""Where a server keeps the pixels of an image, in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["StoredFile", "Whereabouts"]


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
class Whereabouts:
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

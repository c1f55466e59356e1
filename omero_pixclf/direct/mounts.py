"""Map paths of a server's storage to mounted folders, and never to a path outside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.pixel_location import PixelLocation
from omero_pixclf.text import expand_home

__all__ = [
    "NOTHING_MOUNTED",
    "DirectSettings",
    "Mount",
    "NotMountedError",
    "locate_file",
    "parse_mount",
    "resolve_in_mounts",
]

_LINKS = 8  # of symbolic links in a row


@dataclass(frozen=True)
class Mount:
    """A folder of the server that is mounted locally.

    Attributes
    ----------
    local
        The local path.
    server
        Its path on the server; "" if it is the folder of a repository, or the one that contains repositories.
    """

    local: Path
    server: str = ""

    def __str__(self) -> str:
        return f"{self.server}={self.local}" if self.server else str(self.local)

    def covers(self, path: PurePosixPath) -> bool:
        """Whether this mount, if its server path is known, contains a path on the server."""
        return bool(self.server) and path.is_relative_to(self.server)


@dataclass(frozen=True)
class DirectSettings:
    """Settings for reading pixels directly from files.

    Attributes
    ----------
    check
        ``sample``: a few regions of each image are compared with the server's; ``all``: every pixel.
    """

    mounts: tuple[Mount, ...] = ()
    check: Literal["sample", "all"] = "sample"


NOTHING_MOUNTED = DirectSettings()


class NotMountedError(ImageError):
    """A file is in none of the mounted folders."""


def parse_mount(text: str) -> Mount:
    """Parse a mount: ``"/mnt/omero"`` or ``"/OMERO=/mnt/omero"`` (server path, local path).

    Raises
    ------
    UsageError
        If a path is missing, or the server's is not absolute.

    Examples
    --------
    >>> parse_mount("/OMERO=/mnt/omero").server
    '/OMERO'
    """
    server, sign, local = text.partition("=")
    if not sign:
        server, local = "", text
    if not local or (sign and not server.startswith("/")):
        raise UsageError(f"--direct {text!r}: expected a local folder, or /SERVER/PATH=LOCAL_PATH")
    here = Path(expand_home(local)).absolute()
    return Mount(here, server.rstrip("/") or ("/" if sign else ""))


def locate_file(mounts: Sequence[Mount], where: PixelLocation) -> Path:
    """Return the local path of a file, with all symbolic links resolved.

    Raises
    ------
    NotMountedError
        If it is in none of the mounts, or these folders do not exist.
    ImageError
        If it does not exist in a mounted folder, or its path or a link leads out of the mounts.
    """
    file = where.file
    if ".." in PurePosixPath(str(file)).parts or "\0" in str(file):
        raise ImageError(f"{file}: a path that leads out of its folder is not allowed")
    tried = [path for mount in mounts for folder, path in _candidates(mount, where) if folder.is_dir()]
    if not tried:
        raise NotMountedError(f"{file}: in none of {', '.join(map(str, mounts))}")
    found = next((path for path in tried if os.path.lexists(path)), None)
    if found is None:
        raise ImageError(f"{file}: not found locally as {' or '.join(map(str, tried))}")
    return resolve_in_mounts(mounts, found)


def _candidates(mount: Mount, where: PixelLocation) -> Iterator[tuple[Path, Path]]:
    """Yield the possible local paths of a file, each with the folder that must exist for it."""
    file, on_server = where.file, PurePosixPath(str(where.file))
    roots = [PurePosixPath(root) for root in ((file.root,) if file.root else where.roots)]
    if not on_server.is_absolute():  # below the data directory, which is a repository's folder or holds them
        holders = dict.fromkeys(folder for root in roots for folder in (root, root.parent))
        known = [mount.local / f.relative_to(mount.server) for f in holders if mount.covers(f)]
        for folder in known if mount.server else [mount.local]:
            yield folder / on_server.parts[0], folder / on_server
    elif mount.server:
        if mount.covers(on_server):
            yield mount.local, mount.local / on_server.relative_to(mount.server)
    else:
        for root in roots:
            if on_server.is_relative_to(root):
                for folder in (mount.local, mount.local / root.name):
                    yield folder, folder / on_server.relative_to(root)


def resolve_in_mounts(mounts: Sequence[Mount], path: Path) -> Path:
    """Resolve all symbolic links of a path; targets that are server paths are converted to local paths.

    Raises
    ------
    ImageError
        If a link leads out of the mounts, or its target does not exist.
    """
    at = path
    for _ in range(_LINKS):
        if not at.is_symlink():
            break
        target = PurePosixPath(at.readlink())
        known = (m.local / target.relative_to(m.server) for m in mounts if m.covers(target))
        at = next(known, at.parent / target)
    try:
        found = at.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ImageError(f"{path}: its links cannot be resolved: {error}") from error
    if not any(found.is_relative_to(m.local.resolve()) for m in mounts):
        raise ImageError(f"{path}: a link leads to {found}, outside the mounted folders; add its folder with --direct")
    if not (found.is_file() or found.is_dir()):
        raise ImageError(f"{path}: is neither a file nor a folder")
    return found

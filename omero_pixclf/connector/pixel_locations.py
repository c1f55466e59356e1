"""Find where a server stores the pixels of its images: registered OME-Zarr, imported files, or its own plane files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixel_location import PixelLocation, StoredFile, legacy_repository_path

__all__ = ["NGFF_ENTITY", "OmeroStorage"]

NGFF_ENTITY = ("com.glencoesoftware.ngff:multiscales", 3)
"""Type and id of the external info by which OMERO's Zarr pixel buffer finds an image; its LSID is the Zarr group."""
_SHA1 = "SHA1-160"


@dataclass
class OmeroStorage:
    """Looks up on a server where pixels are stored."""

    session: Session

    @cached_property
    def roots(self) -> dict[str, str]:
        """The folders of the server's repositories, by the repository's id in the records of files."""
        found = self.session.read("repositories", lambda sf: sf.sharedResources().repositories())
        return {d.hash.val: f"{d.path.val.rstrip('/')}/{d.name.val}" for d in found.descriptions if d.hash is not None}

    def whereabouts(self, image: ImageInfo) -> PixelLocation:
        """Return where an image's pixels are stored; looks in the same order as a server does."""
        ident = parse_key(image.key)[1]
        roots = tuple(self.roots.values())
        if group := self._multiscales(ident):
            return PixelLocation("multiscales", StoredFile(group), roots=roots)
        if imported := self._imported(ident):
            series, file = imported
            return PixelLocation("fileset", file, series, roots)
        pixels, _, digest = image.fingerprint.removeprefix("Pixels:").partition(" sha1:")
        return PixelLocation(
            "planes", StoredFile(legacy_repository_path("Pixels", int(pixels)), sha1=digest), roots=roots
        )

    def _multiscales(self, image: int) -> str:
        rows = self.session.query_rows(
            "select e.entityType, e.entityId, e.lsid from Image i join i.details.externalInfo e where i.id = :id",
            id=image,
        )
        return next((lsid for kind, ident, lsid in rows if lsid and (kind, ident) == NGFF_ENTITY), "")

    def _imported(self, image: int) -> tuple[int, StoredFile] | None:
        """Return the image's series number in its fileset and the fileset's main file, which is the first one."""
        rows = self.session.query_rows(
            "select i.series, f.path, f.name, f.size, f.repo, f.hash, h.value from Image i join i.fileset s "
            "join s.usedFiles u join u.originalFile f left outer join f.hasher h "
            "where i.id = :id and index(u) = 0",
            id=image,
        )
        if not rows:
            return None
        series, path, name, size, repository, digest, hasher = rows[0]
        root = self.roots.get(repository, "")
        return int(series or 0), _make_stored_file(path, name, size, root, digest if hasher == _SHA1 else "")


def _make_stored_file(path: str, name: str, size: Any, root: str, digest: str | None) -> StoredFile:
    return StoredFile(f"{path.strip('/')}/{name}".lstrip("/"), root, None if size is None else int(size), digest or "")

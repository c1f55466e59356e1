"""OME-TIFF images that lie in several files: where their metadata is, and which files are missing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_xml import has_entities, named_files, parsed
from omero_pixclf.files.references import resolve_reference

__all__ = ["companion_of", "missing_files", "use_whole_metadata"]

_LARGEST_COMPANION = 1 << 30  # bytes
_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


def missing_files(path: Path, xml: str | None) -> list[str]:
    """Names of the files that OME-XML spreads its planes over and that are not there."""
    return [name for name in named_files(xml) if not (path.parent / name).is_file() and name != path.name]


def use_whole_metadata(path: Path, tiff: Any, within: Path) -> None:
    """Let tifffile see the OME-XML of the whole set: of the companion file, or of a file that was renamed.

    Raises
    ------
    ImageError
        Where the metadata cannot be read, or is in a file that is not there or outside of the folder ``within``.
    """
    xml = tiff.ome_metadata
    if not xml:
        return
    root = _root(path, xml)
    own = root.get("UUID")
    companion = companion_of(path, xml, within)
    if companion is not None:
        root = _of_companion(path, companion)
        own = own or _uuid_of(root, path.name)
        if own is not None:
            root.set("UUID", own)
    elif own is None and (only := _renamed(path, root)) is not None:
        root.set("UUID", only)
    else:
        return
    tiff.pages.first.description = ET.tostring(root, encoding="unicode")


def _root(path: Path, xml: str) -> ET.Element:
    if has_entities(xml):
        raise ImageError(f"{path}: its OME-XML declares entities, which are not expanded; export it again")
    root = parsed(xml)
    if root is None:
        raise ImageError(f"{path}: its OME-XML is damaged; export it again")
    return deepcopy(root)


def companion_of(path: Path, xml: str | None, within: Path) -> Path | None:
    """The file that has the metadata of a file which has none of its own; None where it has.

    Raises
    ------
    ImageError
        Where it is not there, or outside of the folder ``within``.
    """
    root = parsed(xml or "")
    binary_only = None if root is None else next((e for e in root if _tag(e) == "BinaryOnly"), None)
    if binary_only is None:
        return None
    name = binary_only.get("MetadataFile", "")
    file = resolve_reference(path.parent, name, within=within, source=path)
    if not name or not file.is_file():
        raise ImageError(
            f"{path} is incomplete: its metadata is in {name or 'a file without a name'}, which is not there; "
            "put all files of the set into one folder"
        )
    return file


def _of_companion(path: Path, file: Path) -> ET.Element:
    """The OME-XML that another file of the set holds."""
    import tifffile

    if file.suffix.lower() in _TIFF:
        with tifffile.TiffFile(file) as other:
            text = str(other.ome_metadata or "")
    elif file.stat().st_size > _LARGEST_COMPANION:
        raise ImageError(f"{file}: has {file.stat().st_size} bytes, expected OME-XML of less than a gigabyte")
    else:
        text = file.read_text(encoding="utf-8-sig")
    root = _root(file, text)
    if any(_tag(e) == "BinaryOnly" for e in root):
        raise ImageError(f"{path}: its metadata is in {file.name}, which refers to another file, too; export it again")
    return root


def _uuid_of(root: ET.Element, name: str) -> str | None:
    """The UUID by which OME-XML knows a file."""
    found = (e.text for e in root.iter() if _tag(e) == "UUID" and e.get("FileName", "").lower() == name.lower())
    return next(found, None)


def _renamed(path: Path, root: ET.Element) -> str | None:
    """The UUID of the only file of an image, where that was renamed since it was written; else None."""
    known = {(e.text, e.get("FileName", "")) for e in root.iter() if _tag(e) == "UUID"}
    if len({uuid for uuid, _ in known}) != 1:
        return None
    uuid, name = next(iter(known))
    if name.lower() == path.name.lower() or (path.parent / name).is_file():
        return None
    return uuid


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]

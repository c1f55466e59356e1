"""OME-TIFF images that lie in several files: where their metadata is, and which files are missing."""

from __future__ import annotations

import filecmp
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.references import resolve_reference
from omero_pixclf.files.tiff.ome_xml import has_entities, images_with_pixels, named_files, parse_ome_xml

__all__ = [
    "check_member_uuids",
    "companion_file",
    "find_missing_files",
    "set_folders",
    "use_names_of_links",
    "use_only_image",
    "use_whole_metadata",
]

_LARGEST_COMPANION = 1 << 30  # bytes
_OWN_UUID = re.compile(rb"<(?:\w+:)?OME\b[^>]*?\bUUID\s*=\s*[\"']([^\"']*)[\"']")
_BEGINNING = 1 << 14  # bytes of a description in which OME-XML's first element is
_DESCRIPTION = 270
_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


def find_missing_files(path: Path, xml: str | None) -> list[str]:
    """Names of the files that OME-XML spreads its planes over and that are not there."""
    return [name for name in named_files(xml) if not (path.parent / name).is_file() and name != path.name]


def set_folders(path: Path) -> tuple[Path, ...]:
    """The folders that the other files of a user's set may be in: the file's own, and that of what it is a link to."""
    return tuple(dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)))


def use_names_of_links(path: Path, tiff: Any) -> None:
    """Let tifffile look for the other files of a set where the file is a link, if they are there.

    It looks in the folder of what the link leads to; workflow engines put links to files of many folders into one.
    """
    own, others = path.name.lower(), named_files(tiff.ome_metadata)
    if path.is_symlink() and any(os.path.lexists(path.parent / name) for name in others if name.lower() != own):
        tiff.filehandle._dir, tiff.filehandle._name = os.path.split(os.path.abspath(path))  # noqa: PTH100


def use_whole_metadata(path: Path, tiff: Any, within: Path | None) -> None:
    """Let tifffile see the OME-XML of the whole set: of the companion file, or of a file that was renamed.

    Raises
    ------
    ImageError
        Where the metadata cannot be read, or is in a file that is not there or outside of the folder ``within``, as
        `companion_file`.
    """
    xml = tiff.ome_metadata
    if not xml:
        return
    root = _root(path, xml)
    own = root.get("UUID")
    companion = companion_file(path, xml, within)
    if companion is not None:
        root = _read_companion(path, companion)
        own = own or _uuid_of(root, path.name)
    elif own is None and (only := _uuid_before_renaming(path, root)) is not None:
        own = only
    else:
        return
    _replace_metadata(tiff, root, list(root), own)


def check_member_uuids(path: Path, tiff: Any) -> None:
    """Refuse a set, whose series tifffile has read, with a file in it that is another one than the set is made of.

    OME-XML knows each file of a set by a UUID, which the file has, too: a copy of one file by the name of another has
    the wrong one. A file that has none passes, and so does the only file of an image, or one whose UUID is another
    file's although its bytes are its own.

    Raises
    ------
    ImageError
        The message names the file.
    """
    root = parse_ome_xml(tiff.ome_metadata or "")
    if root is None:
        return
    known: dict[str, list[str]] = {}
    for element in (e for e in root.iter() if _tag(e) == "UUID" and e.get("FileName")):
        known.setdefault(element.get("FileName", ""), []).append((element.text or "").strip())
    for name, uuids in known.items() if len(known) > 1 else ():
        itself = name.lower() == path.name.lower()
        members = {id(m): m for uuid in uuids if (m := tiff._files.get(uuid)) not in (None, tiff)}
        for found in [root.get("UUID")] if itself else [_uuid_in(member) for member in members.values()]:
            if found is not None and found.strip() not in uuids:
                others = [n for n, ids in known.items() if n != name and found.strip() in ids]
                if others and not any(_are_equal(path.with_name(name), path.with_name(n)) for n in others):
                    continue  # no copy: some writers put the same OME-XML, with one UUID, into every file
                raise ImageError(
                    f"{path}: {name} is not the file that {'its OME-XML' if itself else path.name} names, perhaps a "
                    f"copy of another (its UUID is {found}, expected {uuids[0]}); copy the files of the set again"
                )


def _are_equal(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes; sizes tell most that have not."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _uuid_in(tiff: Any) -> str | None:
    """The UUID that a file of a set has of its own; tifffile has closed the file."""
    tag = tiff.pages.first.tags.get(_DESCRIPTION)
    if tag is None:
        return None
    with Path(tiff.filehandle.path).open("rb") as file:
        file.seek(tag.valueoffset)
        found = _OWN_UUID.search(file.read(min(tag.count, _BEGINNING)))
    return None if found is None else found[1].decode(errors="replace")


def use_only_image(tiff: Any, number: int) -> bool:
    """Let tifffile see one image of OME-XML only, so that it opens no more files than that one takes.

    Returns whether there are others; the image is number 0 then.
    """
    images = images_with_pixels(tiff.ome_metadata)
    root = parse_ome_xml(tiff.ome_metadata or "")
    if root is None or len(images) < 2 or not 0 <= number < len(images):
        return False
    if tiff.is_shaped or tiff.is_lsm or tiff.is_mmstack:  # tifffile takes other metadata than OME-XML there
        return False
    wanted = images[number].pixels
    kept = [e for e in root if _tag(e) != "Plate" and (_tag(e) != "Image" or any(child is wanted for child in e))]
    _replace_metadata(tiff, root, kept, root.get("UUID"))
    return True


def _replace_metadata(tiff: Any, root: ET.Element, children: Sequence[ET.Element], uuid: str | None) -> None:
    """Give tifffile another OME-XML text than its file has: the same root with some elements and another UUID."""
    other = ET.Element(root.tag, {**root.attrib, **({"UUID": uuid} if uuid is not None else {})})
    other.extend(children)
    tiff.pages.first.description = ET.tostring(other, encoding="unicode")


def _root(path: Path, xml: str) -> ET.Element:
    if has_entities(xml):
        raise ImageError(f"{path}: its OME-XML declares entities, which are not expanded; export it again")
    root = parse_ome_xml(xml)
    if root is None:
        raise ImageError(f"{path}: its OME-XML is damaged; export it again")
    return root


def companion_file(path: Path, xml: str | None, within: Path | None) -> Path | None:
    """The file that has the metadata of a file which has none of its own; None where it has.

    It lies in the folder ``within``, also behind links; where that is None, with the file, or is a link there.

    Raises
    ------
    ImageError
        Where it is not there, or outside of the folder ``within``.
    """
    root = parse_ome_xml(xml or "")
    binary_only = None if root is None else next((e for e in root if _tag(e) == "BinaryOnly"), None)
    if binary_only is None:
        return None
    name = binary_only.get("MetadataFile", "")
    file = resolve_reference(path.parent, name, within=within, source=path, follow_links=within is None)
    if within is None:
        file = next((place / name for place in set_folders(path) if (place / name).is_file()), file)
    if not name or not file.is_file():
        raise ImageError(
            f"{path} is incomplete: its metadata is in {name or 'a file without a name'}, which is not there; "
            "put all files of the set into one folder"
        )
    return file


def _read_companion(path: Path, file: Path) -> ET.Element:
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


def _uuid_before_renaming(path: Path, root: ET.Element) -> str | None:
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

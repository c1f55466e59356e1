"""OME-TIFF images in several files: their metadata, missing files, and files that do not belong to the set."""

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
    """Return the names of files that OME-XML assigns planes to and that do not exist."""
    return [name for name in named_files(xml) if not (path.parent / name).is_file() and name != path.name]


def set_folders(path: Path) -> tuple[Path, ...]:
    """Return the folders in which other files of a set may be: that of the file, and that of its link's target."""
    return tuple(dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)))


def use_names_of_links(path: Path, tiff: Any) -> None:
    """Make tifffile look for the other files of a set in the folder of a symbolic link, if they are there.

    By default it looks in the folder of the link's target; workflow engines collect links to files of many folders.
    """
    own, others = path.name.lower(), named_files(tiff.ome_metadata)
    if path.is_symlink() and any(os.path.lexists(path.parent / name) for name in others if name.lower() != own):
        tiff.filehandle._dir, tiff.filehandle._name = os.path.split(os.path.abspath(path))  # noqa: PTH100


def use_whole_metadata(path: Path, tiff: Any, within: Path | None) -> None:
    """Give tifffile the OME-XML of the whole set: that of the companion file, or that of a renamed file.

    Raises
    ------
    ImageError
        If the metadata cannot be read, or is in a file that does not exist or is outside the folder ``within``, as for
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
    """Refuse a set whose series tifffile has read if a file in it is not the one that the set was written with.

    OME-XML identifies each file of a set by a UUID, which the file contains, too: a copy of one file under the name of
    another has the wrong UUID. Accepted are files without a UUID, the only file of an image, and a file with the UUID
    of another file but different content.

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
                    continue  # not a copy: some writers put the same OME-XML, with one UUID, into every file
                raise ImageError(
                    f"{path}: {name} is not the file that {'its OME-XML' if itself else path.name} names, perhaps a "
                    f"copy of another (its UUID is {found}, expected {uuids[0]}); copy the files of the set again"
                )


def _are_equal(one: Path, other: Path) -> bool:
    """Whether two files have the same content; most differences show in the size."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _uuid_in(tiff: Any) -> str | None:
    """Return the UUID in a file of a set, which tifffile has closed; None if it has none."""
    tag = tiff.pages.first.tags.get(_DESCRIPTION)
    if tag is None:
        return None
    with Path(tiff.filehandle.path).open("rb") as file:
        file.seek(tag.valueoffset)
        found = _OWN_UUID.search(file.read(min(tag.count, _BEGINNING)))
    return None if found is None else found[1].decode(errors="replace")


def use_only_image(tiff: Any, number: int) -> bool:
    """Make tifffile see only one image of OME-XML, so that it opens only the files of that image.

    Returns whether there are other images; if so, the image becomes number 0.
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
    """Replace the OME-XML that tifffile uses: the same root element with these children and UUID."""
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
    """Return the companion file with the metadata of a file; None if the file has its own metadata.

    It is in the folder ``within``, also after following links. If ``within`` is None, it is in the folder of the file,
    or a link there.

    Raises
    ------
    ImageError
        If it does not exist, or is outside the folder ``within``.
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
            f"{path} is incomplete: its metadata is in {name or 'a file without a name'}, which does not exist; "
            "put all files of the set into one folder"
        )
    return file


def _read_companion(path: Path, file: Path) -> ET.Element:
    """Return the OME-XML of another file of the set."""
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
    """Return the UUID of a file in OME-XML; None if there is none."""
    found = (e.text for e in root.iter() if _tag(e) == "UUID" and e.get("FileName", "").lower() == name.lower())
    return next(found, None)


def _uuid_before_renaming(path: Path, root: ET.Element) -> str | None:
    """Return the UUID of the only file of an image if the file was renamed after it was written; else None."""
    known = {(e.text, e.get("FileName", "")) for e in root.iter() if _tag(e) == "UUID"}
    if len({uuid for uuid, _ in known}) != 1:
        return None
    uuid, name = next(iter(known))
    if name.lower() == path.name.lower() or (path.parent / name).is_file():
        return None
    return uuid


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]

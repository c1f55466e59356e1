"""Protection of input files (images, masks, projects) against being overwritten by outputs.

Paths are compared through symbolic links, hard links and other spellings, and without regard to case and Unicode form,
since the same folder may be used from macOS or Windows.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omero_pixclf.errors import PixclfError, UsageError
from omero_pixclf.files.export.naming import SLICE_INDEX
from omero_pixclf.files.paths import DataPath, expand_paths

__all__ = ["Identity", "ProtectedFiles", "check_results_folder", "file_identities"]

Identity = tuple[str, str] | tuple[int, int]

_HDF5, _TIFF = (".h5", ".hdf5", ".ilp"), (".tif", ".tiff")
_ADVICE = "Choose another name or folder with --output_filename_format"


@dataclass(frozen=True)
class _Input:
    """One input: its role in messages, and the array of its file that is read (None: the whole file)."""

    role: str
    name: str
    file: Path
    array: str | None = None


class ProtectedFiles:
    """The inputs of a command, and the check that an output is not one of them.

    Examples
    --------
    >>> protected = ProtectedFiles()
    >>> protected.add("image", Path("/data/a.tif"))
    >>> protected.check(Path("/data/b.tif"), of="/data/a.tif")
    >>> protected.check(Path("/data/x/../A.tif"), of="/data/a.tif")
    Traceback (most recent call last):
    ...
    omero_pixclf.errors.UsageError: /data/a.tif: its result would overwrite the image itself, ...
    """

    def __init__(self) -> None:
        self._inputs: dict[Identity, list[_Input]] = {}
        self._folders: dict[Identity, _Input] = {}
        self._seen: set[tuple[str, str | None]] = set()

    def add(self, role: str, file: Path, array: str | None = None) -> None:
        """Protect a file, a store (a folder such as OME-Zarr) or one array of an HDF5 file."""
        one = _Input(role, str(DataPath(file, array)), file, array)
        if (str(file), array) in self._seen:
            return
        self._seen.add((str(file), array))
        for path in {file, Path(os.path.realpath(file))}:
            for identity in file_identities(path):
                self._inputs.setdefault(identity, []).append(one)
        for folder in Path(os.path.realpath(file)).parents:
            self._folders.setdefault(_name_identity(folder), one)

    def add_images(self, role: str, paths: Iterable[str]) -> None:
        """Protect all files that images or masks, as named on the command line, are read from.

        Paths that do not exist are ignored here; opening them fails later.
        """
        for path in paths:
            with suppress(PixclfError):
                for data in expand_paths(path):
                    self._add_data(role, data)

    def _add_data(self, role: str, data: DataPath) -> None:
        if data.kind not in _HDF5:
            self.add(role, data.file)
            for member in _ome_tiff_members(data) if data.kind in _TIFF else ():
                self.add(role, member)
            return
        name, linked = _hdf5_sources(data.file, data.inside)
        self.add(role, data.file, name)
        for file, array in linked:
            self.add(role, file, array)

    def check(
        self, output: Path, array: str | None = None, *, of: str, what: str = "its result", advice: str = _ADVICE
    ) -> None:
        """Refuse an output that is an input, is in a store that is an input, or is a folder that contains one.

        Parameters
        ----------
        output
            The file to be written; ``{slice_index}`` in its name stands for any number.
        array
            The name of the array, for an HDF5 file that may hold others.
        of
            The image whose result it is, or the option that names it.
        what, advice
            Words of the message: what would overwrite the input, and what to do.

        Raises
        ------
        UsageError
            The message names the input and says what to do.
        """
        for path in _output_files(output):
            for one in self._inputs_at(path):
                if array is None or one.array is None or _arrays_overlap(one.file, one.array, array):
                    raise UsageError(_overwrite_message(one, path, array, of, what, advice))

    def _inputs_at(self, path: Path) -> Iterator[_Input]:
        for identity in file_identities(path):
            yield from self._inputs.get(identity, ())
        for folder in Path(os.path.realpath(path.parent), path.name).parents:
            yield from self._inputs.get(_name_identity(folder), ())
        if (inner := self._folders.get(_name_identity(path))) is not None:
            yield _Input(inner.role, inner.name, inner.file)


def file_identities(path: Path) -> list[Identity]:
    """Return the identities of a file: its folder and name without case, and its device and inode numbers."""
    found: list[Identity] = [_name_identity(path)]
    with suppress(OSError, ValueError):
        facts = path.stat()
        found.append((facts.st_dev, facts.st_ino))
    return found


def check_results_folder(folder: Path) -> None:
    """Refuse a results folder that is a Zarr store or is in one: nothing is added to images.

    Raises
    ------
    UsageError
        The message names the store.
    """
    from omero_pixclf.files.ome_zarr.zarr_store import is_store

    real = Path(os.path.realpath(folder))
    for place in (real, *real.parents):
        if place.suffix.lower() == ".zarr" and is_store(place):
            raise UsageError(
                f"{folder}: results would be written into the image {place}; name another folder with --out"
            )


def _name_identity(path: Path) -> Identity:
    """Return the real folder of a path, and its name as a file system without case distinction compares it."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - a link at the end is not followed
    return os.path.realpath(whole.parent), unicodedata.normalize("NFC", whole.name).casefold()


def _output_files(output: Path) -> list[Path]:
    """Return the files of an output: the file itself, or the existing files of a sequence."""
    if SLICE_INDEX not in output.name:
        return [output]
    before, _, after = output.name.partition("{" + SLICE_INDEX)
    number = re.compile(rf"{re.escape(before)}\d+{re.escape(after.partition('}')[2])}", re.IGNORECASE)
    with suppress(OSError):
        return [path for path in output.parent.iterdir() if number.fullmatch(path.name)]
    return []


def _overwrite_message(one: _Input, path: Path, array: str | None, of: str, what: str, advice: str) -> str:
    where = path if array is None else f"{path}/{array}"
    itself = f"the {one.role} itself, {where}" if one.name == of else f"the {one.role} {one.name} (as {where})"
    other = ", or another array with --output_internal_path" if array is not None and one.array is not None else ""
    return f"{of}: {what} would overwrite {itself}; nothing was computed. {advice}{other}"


def _name_parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _arrays_overlap(file: Path, read: str, written: str) -> bool:
    """Whether writing one array of an HDF5 file would replace the other, or a group that contains it."""
    a, b = _name_parts(read), _name_parts(written)
    if a[: len(b)] == b or b[: len(a)] == a:
        return True
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            there = opened.get("/".join(b))
            if there is None:
                return False
            source = opened["/".join(a)]
            return bool(there == source or (isinstance(there, h5py.Group) and _contains_object(there, source)))
    except (OSError, RuntimeError, KeyError, ValueError):
        return True  # a file that cannot be read is not changed


def _contains_object(group: Any, wanted: Any) -> bool:
    return group.visititems(lambda _, item: True if item == wanted else None) is True


def _ome_tiff_members(data: DataPath) -> tuple[Path, ...]:
    """Return the files of an OME-TIFF image in several files; none if the file cannot be read."""
    from omero_pixclf.files.tiff.tiff_file import list_member_files, open_tiff_file

    with suppress(PixclfError), open_tiff_file(data.file, alone=True) as tiff:
        if any(mark in (tiff.ome_metadata or "") for mark in ("FileName=", "BinaryOnly")):
            return list_member_files(data.file)
    return ()


def _hdf5_sources(file: Path, inside: str | None) -> tuple[str | None, list[tuple[Path, str | None]]]:
    """Return the name of the array that is read (None if unknown), and the other files that it is stored in."""
    from omero_pixclf.files.hdf5.hdf5_reader import array_names

    try:
        names = [inside] if inside else array_names(file)
        if len(names) != 1:
            return None, []
    except (PixclfError, OSError, RuntimeError, KeyError, ValueError):
        return inside, []
    return names[0], list(_linked_sources(file, names[0]))


def _linked_sources(file: Path, name: str) -> Iterator[tuple[Path, str | None]]:
    """Yield the files (and arrays) that an array takes its values from, through any number of linked files.

    A file that cannot be opened is protected as a whole, since its links are unknown.
    """
    import h5py

    waiting = [(file, name)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        file, name = waiting.pop()
        place = (os.path.realpath(file), tuple(_name_parts(name)))
        if place in seen:
            continue
        seen.add(place)
        try:
            with h5py.File(file, "r") as opened:
                for other, array, whole in _next_sources(opened, file, name):
                    yield other, None if whole else array
                    if array is not None:
                        waiting.append((other, array))
        except KeyError:
            continue  # no such array: nothing is read through it
        except (OSError, RuntimeError, ValueError):
            yield file, None


def _next_sources(opened: Any, file: Path, name: str) -> Iterator[tuple[Path, str | None, bool]]:
    """Yield the files that an array refers to directly: by a link, raw files or virtual sources.

    The third value is True if the whole file is protected.
    """
    import h5py

    parts = _name_parts(name)
    for end in range(1, len(parts) + 1):
        link = opened.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            for other in _candidate_paths(file, link.filename):
                yield other, "/".join([link.path, *parts[end:]]), True
            return
        if isinstance(link, h5py.SoftLink):
            around = [] if link.path.startswith("/") else parts[: end - 1]
            yield file, "/".join([*around, link.path, *parts[end:]]), False
            return
    item = opened[name]
    if isinstance(item, h5py.Dataset):
        for entry in item.external or ():
            yield from ((other, None, True) for other in _candidate_paths(file, os.fsdecode(entry[0])))
        for source in item.virtual_sources() if item.is_virtual else ():
            own = source.file_name == "."
            for other in [file] if own else _candidate_paths(file, source.file_name.replace("%%", "%")):
                yield other, source.dset_name, False


def _candidate_paths(file: Path, name: str) -> list[Path]:
    """Return the paths at which HDF5 looks for a linked file: in the folder of the file, and of its link's target."""
    return list(dict.fromkeys((file.parent / name, Path(os.path.realpath(file)).parent / name)))

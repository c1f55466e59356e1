"""Files that a command reads: images, masks, projects. No output may replace or change one of them.

Names are compared as every file system may take them: through symbolic links, hard links and other spellings, and
without regard to case and Unicode form, since the same folder may be used from macOS or Windows.
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

__all__ = ["ProtectedFiles", "check_results_folder", "file_identities"]

Identity = tuple[str, str] | tuple[int, int]

_HDF5, _TIFF = (".h5", ".hdf5", ".ilp"), (".tif", ".tiff")
_ADVICE = "Choose another name or folder with --output_filename_format"


@dataclass(frozen=True)
class _Input:
    """One input: what it is for the user, and which array of its file is read (None: the whole file)."""

    role: str
    name: str
    file: Path
    array: str | None = None


class ProtectedFiles:
    """The inputs of a command, and the check that an output is none of them.

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
        """Protect a file, a store (a folder, such as OME-Zarr) or one array of an HDF5 file."""
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
        """Protect everything that images or masks are read from, as the command line names them.

        Names that lead nowhere are left to whoever opens them.
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
        """Refuse an output that is an input, lies in a store that is one, or is a folder around one.

        Parameters
        ----------
        output
            The file to be written; ``{slice_index}`` in its name stands for any number.
        array
            Its array, where it is an HDF5 file that may hold others.
        of
            The image that it is the result of, or the option that names it.
        what, advice
            Words of the message: what would overwrite the input, and what to do.

        Raises
        ------
        UsageError
            The message says which input it is and what to do.
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
    """What tells that two names are one file: folder and name without case, and the file's number on its disk."""
    found: list[Identity] = [_name_identity(path)]
    with suppress(OSError, ValueError):
        facts = path.stat()
        found.append((facts.st_dev, facts.st_ino))
    return found


def check_results_folder(folder: Path) -> None:
    """Refuse a folder for results that is a Zarr store or in one: stores are images, and nothing is added to them.

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
    """The real folder of a path, and its last part as a file system that ignores case compares it."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - a link at the end is a name of its own
    return os.path.realpath(whole.parent), unicodedata.normalize("NFC", whole.name).casefold()


def _output_files(output: Path) -> list[Path]:
    """The files that an output will be: itself, or those there are already of a sequence."""
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
    """Whether writing one array of an HDF5 file would replace the other, or a group around it."""
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
        return True  # a file that cannot be looked into is not written to


def _contains_object(group: Any, wanted: Any) -> bool:
    return group.visititems(lambda _, item: True if item == wanted else None) is True


def _ome_tiff_members(data: DataPath) -> tuple[Path, ...]:
    """The other files of an OME-TIFF that is several; none where the file cannot be read."""
    from omero_pixclf.files.tiff.tiff_file import list_member_files, open_tiff_file

    with suppress(PixclfError), open_tiff_file(data.file, alone=True) as tiff:
        if any(mark in (tiff.ome_metadata or "") for mark in ("FileName=", "BinaryOnly")):
            return list_member_files(data.file)
    return ()


def _hdf5_sources(file: Path, inside: str | None) -> tuple[str | None, list[tuple[Path, str | None]]]:
    """The name of the array that is read, None where it cannot be told, and the other files that it is stored in."""
    from omero_pixclf.files.hdf5.hdf5_reader import array_names

    try:
        names = [inside] if inside else array_names(file)
        if len(names) != 1:
            return None, []
    except (PixclfError, OSError, RuntimeError, KeyError, ValueError):
        return inside, []
    return names[0], list(_linked_sources(file, names[0]))


def _linked_sources(file: Path, name: str) -> Iterator[tuple[Path, str | None]]:
    """Files (and arrays) that an array takes its values from, through any number of files on the way.

    A file that cannot be opened is there as a whole, since what it takes from others cannot be told.
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
    """Files that an array is in by one step: a link, raw files, virtual sources; True where all of it is protected."""
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
    """Where HDF5 looks for a file that another one names: in its folder, and in that of the file it is a link to."""
    return list(dict.fromkeys((file.parent / name, Path(os.path.realpath(file)).parent / name)))

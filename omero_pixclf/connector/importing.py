"""Import files into OMERO with its import protocol: the server stores them and reads them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import omero
import omero.clients  # must be imported before other modules of omero
import omero.cmd
import omero.grid
import omero.model
from omero.rtypes import rbool, rstring

from omero_pixclf import __version__
from omero_pixclf.checksums import CHECKSUM_ALGORITHMS, file_checksum
from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.results.annotations import make_reference
from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS, describe_error, make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import create_container, find_containers
from omero_pixclf.errors import InputError, MissingError, ServerError, UsageError
from omero_pixclf.text import path_text

__all__ = [
    "ImportOptions",
    "ImportResult",
    "Pause",
    "format_client_path",
    "import_file_set",
    "is_imported",
    "resolve_target",
]

_BLOCK = 4 << 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 2.0
_TARGETS = ("Dataset", "Screen")

Pause = Callable[[float], None]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import.

    Attributes
    ----------
    target
        ``"Dataset:7"`` or ``"Screen:2"``; with None, images and plates are in no container.
    name, description
        Replace those in the files; None keeps these.
    algorithm
        Checksum algorithm; None uses the one that the server prefers.
    thumbnails, statistics
        Whether the server creates thumbnails and computes the range of each channel.
    comments
        Pairs of namespace and text; each becomes a comment on all created objects.
    annotations
        Ids of annotations to link to all created objects.
    anchors
        Folders that were given as ``folder/./below``. The paths sent to the server keep this mark, so that other
        programs find the files by the part after it.
    """

    target: str | None = None
    name: str | None = None
    description: str | None = None
    algorithm: str | None = None
    thumbnails: bool = True
    statistics: bool = True
    comments: tuple[tuple[str, str], ...] = ()
    annotations: tuple[int, ...] = ()
    anchors: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ImportResult:
    """Ids of the objects that an import created, in the order of the images; ``loose_images`` are on no plate."""

    fileset: int
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    plates: tuple[int, ...]
    loose_images: tuple[int, ...]


def import_file_set(
    session: Session,
    files: Sequence[Path],
    options: ImportOptions | None = None,
    *,
    report_progress: Callable[[str], None] | None = None,
    pause: Pause = time.sleep,
) -> ImportResult:
    """Import files that form one fileset, main file first; ``report_progress`` is called with messages.

    Raises
    ------
    MissingError
        The target does not exist or is not visible.
    InputError
        The server cannot read the files.
    ServerError
        The server refuses for another reason, or a checksum differs.
    """
    wanted = options or ImportOptions()
    say = report_progress or (lambda _: None)
    target, group = _find_target(session, wanted.target)
    fileset = _make_fileset(files, wanted.anchors)

    def attempt(factory: Any) -> ImportResult:
        context = session.context(group)
        repository = _managed_repository(factory)
        settings = _make_settings(repository, wanted, target, context)
        process = repository.importFileset(fileset, settings, context)
        try:
            return _send_files(process, files, settings, say, pause, context)
        finally:
            with suppress(*REMOTE_ERRORS):
                process.close(context)

    made = session.write_once(f"importing {files[0].name}", attempt, group=group)
    return replace(made, loose_images=_find_loose_images(session, made))


def _send_files(
    process: Any,
    files: Sequence[Path],
    settings: Any,
    say: Callable[[str], None],
    pause: Pause,
    context: dict[str, str],
) -> ImportResult:
    """Upload the files of an import process and wait for the server's result."""
    hashes = [_upload_file(process, index, file, settings, say, context) for index, file in enumerate(files)]
    handle = process.verifyUpload(hashes, context)
    say("files verified")
    try:
        return _wait_for_result(handle, files, pause, context)
    finally:
        with suppress(*REMOTE_ERRORS):
            handle.close(context)


def _find_target(session: Session, key: str | None) -> tuple[Any, int]:
    """Return the container as an unloaded object, and the group to import into."""
    if key is None:
        return None, session.group_id
    kind, ident = parse_key(key)
    if kind not in _TARGETS:
        raise UsageError(f"{key}: images are imported into {' or '.join(_TARGETS)}")
    found = session.query_ids(f"select o.details.group.id from {kind} o where o.id = :id", id=ident)
    if not found:
        raise make_missing_error(kind, ident)
    return make_reference(kind, ident), found[0]


def format_client_path(file: Path, anchors: Sequence[Path] = ()) -> str:
    """Return a file's path in the form of OMERO's clients: absolute, without the root; see `ImportOptions.anchors`.

    Symbolic links are not resolved. A backslash in a name would separate folders there and becomes ``_``.

    >>> format_client_path(Path("/data/plate/a.tif"), [Path("/data")])
    'data/./plate/a.tif'
    """
    whole = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links and change names
    known = [Path(os.path.abspath(anchor)) for anchor in anchors]  # noqa: PTH100
    anchor = next((a for a in known if whole.is_relative_to(a)), None)
    marked = whole.as_posix() if anchor is None else f"{anchor.as_posix()}/./{whole.relative_to(anchor).as_posix()}"
    text = path_text(marked)
    return (text if os.sep == "\\" else text.replace("\\", "_")).lstrip("/")


def _make_fileset(files: Sequence[Path], anchors: Sequence[Path]) -> Any:
    made = omero.model.FilesetI()
    for file in files:
        entry = omero.model.FilesetEntryI()
        entry.clientPath = rstring(format_client_path(file, anchors))
        made.addFilesetEntry(entry)
    upload = omero.model.UploadJobI()
    facts = {"omero_pixclf.version": __version__, "os.name": platform.system(), "os.version": platform.release()}
    upload.setVersionInfo([omero.model.NamedValue(name, value) for name, value in facts.items()])
    made.linkJob(upload)
    return made


def _managed_repository(factory: Any) -> Any:
    found = factory.sharedResources().repositories()
    for proxy in found.proxies:
        managed = omero.grid.ManagedRepositoryPrx.checkedCast(proxy) if proxy is not None else None
        if managed is not None:
            return managed
    raise MissingError("the server has no managed repository and cannot import")


def _make_settings(repository: Any, options: ImportOptions, target: Any, context: dict[str, str]) -> Any:
    made = omero.grid.ImportSettings()
    made.userSpecifiedTarget = target
    made.userSpecifiedName = rstring(options.name) if options.name is not None else None
    made.userSpecifiedDescription = rstring(options.description) if options.description is not None else None
    made.doThumbnails, made.noStatsInfo = rbool(options.thumbnails), rbool(not options.statistics)
    made.userSpecifiedAnnotationList = [
        *map(_make_comment, options.comments),
        *map(_make_annotation_reference, options.annotations),
    ]
    made.checksumAlgorithm = _choose_algorithm(repository, options.algorithm, context)
    return made


def _make_comment(pair: tuple[str, str]) -> Any:
    made = omero.model.CommentAnnotationI()
    made.ns, made.textValue = rstring(pair[0]), rstring(pair[1])
    return made


def _make_annotation_reference(ident: int) -> Any:
    return omero.model.CommentAnnotationI(ident, False)


def _choose_algorithm(repository: Any, wanted: str | None, context: dict[str, str]) -> Any:
    """Return the checksum algorithm that client and server both support."""
    if wanted is not None and wanted not in CHECKSUM_ALGORITHMS:
        raise UsageError(f"checksum algorithm {wanted!r}: expected one of {', '.join(CHECKSUM_ALGORITHMS)}")
    known = []
    for name in (wanted,) if wanted is not None else CHECKSUM_ALGORITHMS:
        algorithm = omero.model.ChecksumAlgorithmI()
        algorithm.value = rstring(name)
        known.append(algorithm)
    found = repository.suggestChecksumAlgorithm(known, context)
    if found is None:
        raise ServerError(
            f"the server supports none of the checksum algorithms {', '.join(a.value.val for a in known)}"
        )
    return found


def _upload_file(
    process: Any, index: int, file: Path, settings: Any, say: Callable[[str], None], context: dict[str, str]
) -> str:
    """Send a file's bytes; return their checksum."""
    say(f"uploading {file}")
    store = process.getUploader(index, context)
    try:
        offset = 0
        with file.open("rb") as source:
            if not os.fstat(source.fileno()).st_size:
                store.write(b"", 0, 0, context)  # also creates empty files
            while block := source.read(_BLOCK):
                store.write(block, offset, len(block), context)
                offset += len(block)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    finally:
        store.close(context)
    return file_checksum(file, settings.checksumAlgorithm.value.val)


def _wait_for_result(handle: Any, files: Sequence[Path], pause: Pause, context: dict[str, str]) -> ImportResult:
    wait = _FIRST_PAUSE_S
    while (answer := handle.getResponse(context)) is None:
        pause(wait)
        wait = min(_LONGEST_PAUSE_S, wait * 1.5)
    if isinstance(answer, omero.cmd.ERR):
        raise _to_import_error(answer, files)
    request = handle.getRequest(context)
    return ImportResult(
        fileset=int(request.activity.parent.id.val),
        pixels=tuple(int(p.id.val) for p in answer.pixels),
        images=tuple(int(p.image.id.val) for p in answer.pixels),
        plates=tuple(int(o.id.val) for o in answer.objects if isinstance(o, omero.model.Plate)),
        loose_images=(),
    )


def _find_loose_images(session: Session, made: ImportResult) -> tuple[int, ...]:
    """Return the images of an import that are on none of its plates."""
    if not made.plates:
        return made.images
    hql = "select distinct s.image.id from WellSample s where s.well.plate.id in (:ids)"
    on_plates = set(session.query_ids(hql, ids=list(made.plates)))
    return tuple(image for image in made.images if image not in on_plates)


def _to_import_error(answer: Any, files: Sequence[Path]) -> InputError | ServerError:
    text = describe_error(omero.CmdError(answer)).partition(": ")[2] or answer.name
    kind = InputError if answer.name in ("import-unknown-format", "import-file-exception") else ServerError
    return kind(f"{files[0].name}: not imported: {text} ({answer.name})")


def is_imported(session: Session, main: Path, *, by_path: bool, anchors: Sequence[Path] = ()) -> bool:
    """Whether this user has imported a file of that name, or with ``by_path`` of that path, before."""
    whole = format_client_path(main, anchors)
    value = whole if by_path else whole.rpartition("/")[2]
    field = "e.clientPath" if by_path else "e.originalFile.name"
    hql = f"select e.id from FilesetEntry e where {field} = :value and e.details.owner.id = :owner"
    return bool(session.query_ids(hql, value=value, owner=session.user_id))


def resolve_target(session: Session, text: str) -> str:
    """Return the container for a target in the syntax of OMERO's importer, as ``"Dataset:7"``; create it if missing.

    ``Dataset:7`` is an id, ``Dataset:name:Mitosis`` the latest dataset of that name, ``Dataset:-name:…`` the earliest,
    ``Dataset:%name:…`` the only one, ``Dataset:@name:…`` always a new one. The same applies to ``Screen``.

    Raises
    ------
    UsageError
        The target is not valid, or ``%`` finds several.
    """
    kind, _, rest = text.partition(":")
    how, colon, name = rest.partition(":")
    if kind not in ("Dataset", "Screen") or (not colon and not rest.isdigit()):
        raise UsageError(f"target {text!r}: expected Dataset:ID, Screen:ID or Dataset:name:NAME")
    if not colon:
        return text
    if how == "id" and name.isdigit():
        return f"{kind}:{name}"
    sign = how.removesuffix("name")
    if sign not in ("", "+", "-", "%", "@") or not how.endswith("name") or not name:
        raise UsageError(
            f"target {text!r}: this importer supports the templates id and name, with +, -, % or @ before them"
        )
    known = [] if sign == "@" else find_containers(session, kind, name)
    if sign == "%" and len(known) > 1:
        raise UsageError(f"target {text!r}: {len(known)} containers of that name, expected one")
    if known:
        return f"{kind}:{known[0] if sign == '-' else known[-1]}"
    return f"{kind}:{create_container(session, kind, name)}"

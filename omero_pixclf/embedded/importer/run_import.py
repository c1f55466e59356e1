"""The program that replaces Java under `omero import`: omero_pixclf's importer with OME's command line.

It is not OME's importer and has none of Bio-Formats' readers. `omero-pixclf embedded importer` creates the program
``java`` that calls it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from omero_pixclf import __version__
from omero_pixclf.embedded.importer.arguments import (
    IMPORTER_CLASS,
    ImporterArguments,
    find_anchors,
    parse_importer_arguments,
    split_java_arguments,
)
from omero_pixclf.errors import PixclfError, UsageError

if TYPE_CHECKING:
    from omero_pixclf.connector.importing import ImportResult
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.embedded.series.reading import FileSet

__all__ = ["NOTICE", "run_importer", "run_java"]

NOTICE = (
    "omero_pixclf's importer (not OME's: TIFF, OME-TIFF, PNG, JPEG, BMP, GIF, OME-Zarr, cellSens .vsi and .fake only)"
)
_DONE, _WRONG_USAGE, _FAILED = 0, 1, 2  # OME's own exit codes
_LINE = "#" + "=" * 38


def run_java(arguments: Sequence[str]) -> int:
    """Execute a call of ``java`` that `omero import` makes; return the exit code."""
    if list(arguments) in (["-version"], ["--version"]):
        print(f"omero_pixclf {__version__}: not Java, but its replacement for `omero import`", file=sys.stderr)  # noqa: T201
        return _DONE
    name, own, depth = split_java_arguments(arguments)
    try:
        if name != IMPORTER_CLASS:
            raise UsageError(f"{name or 'no class'}: this is not Java, but its replacement for `omero import` only")
        return run_importer(parse_importer_arguments(own, depth))
    except UsageError as error:
        print(f"{NOTICE}\nerror: {error}", file=sys.stderr)  # noqa: T201
        return _WRONG_USAGE
    except PixclfError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return _FAILED


@dataclass
class _ImportSummary:
    """Counts for the summary of an import."""

    files: int = 0
    filesets: int = 0
    images: int = 0
    errors: int = 0

    def line(self, seconds: float) -> str:
        minutes, left = divmod(seconds, 60)
        hours, minutes = divmod(int(minutes), 60)
        parts = (_count(self.files, "file", "uploaded"), _count(self.filesets, "fileset", "created"))
        more = (_count(self.images, "image", "imported"), _count(self.errors, "error", "in"))
        return f"{', '.join((*parts, *more))} {hours}:{minutes:02d}:{left:06.3f}"


def _count(number: int, noun: str, verb: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'} {verb}"


def run_importer(given: ImporterArguments, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Import, or list, the files in the arguments; print results to ``out`` and messages to ``err``."""
    out, err = out or sys.stdout, err or sys.stderr

    def say(text: str) -> None:
        print(text, file=err, flush=True)

    say(NOTICE)
    if given.show_help:
        say("options: those of `omero import --help` except -l and --transfer; see docs/embedded.md")
        return _WRONG_USAGE
    if given.send_reports:
        say("reports are not sent")
    found, errors = _file_sets(given, say)
    if given.list_only:
        for one in found:
            lines = [_LINE, f"# Group: {one.main} SPW: {_on_plates(one)} Reader: omero_pixclf", *map(str, one.files)]
            print("\n".join(lines), file=out)
        return _DONE
    if not found:
        say("No imports due to errors!" if errors else "No imports found")
        return _FAILED if errors else _WRONG_USAGE
    if errors and not given.continue_on_error:
        say("Exiting on error; use -c to continue with the others")
        return _FAILED
    return _import_all(given, found, errors, say, out)


def _file_sets(given: ImporterArguments, say: Callable[[str], None]) -> tuple[list[FileSet], int]:
    """Return the file sets in the arguments and the number of paths that cannot be imported."""
    from omero_pixclf.embedded.series.reading import FileSet, find_file_sets

    names = [line.rstrip("\n") for line in sys.stdin] if given.paths == ["-"] else given.paths
    found, errors = [], 0
    for one in find_file_sets([Path(os.path.abspath(name)) for name in names if name], given.depth):  # noqa: PTH100
        if isinstance(one, FileSet):
            found.append(one)
        else:
            errors += 1
            say(f"error: {one}")
    say(f"{sum(len(one.files) for one in found)} file(s) parsed into {len(found)} group(s) [{errors} unknowns]")
    return found, errors


def _on_plates(one: FileSet) -> str:
    from omero_pixclf.embedded.series.reading import open_series

    try:
        with open_series(one.main) as content:
            return str(bool(content.plates)).lower()
    except PixclfError:
        return "false"


def _import_all(
    given: ImporterArguments, found: Sequence[FileSet], errors: int, say: Callable[[str], None], out: TextIO
) -> int:
    from omero_pixclf.embedded.series.reading import read_remarks

    tally, begun = _ImportSummary(errors=errors), time.monotonic()
    with _session(given) as session:
        printer = _PRINTERS[given.output]
        for one in _select_file_sets(session, found, given, say):
            try:
                made = _import(session, given, one, say)
            except PixclfError as error:
                tally.errors += 1
                say(f"error: {error}")
                if not given.continue_on_error:
                    say("Exiting on error")
                    break
                continue
            tally = replace(
                tally,
                files=tally.files + len(one.files),
                filesets=tally.filesets + 1,
                images=tally.images + len(made.images),
            )
            for remark in read_remarks(one.main):
                say(f"{one.main}: {remark}")
            say(f"IMPORT_DONE Imported file: {one.main}")
            printer(made, out)
            _print_others(made, say)
    say(f"\n==> Summary\n{tally.line(time.monotonic() - begun)}")
    return _FAILED if tally.errors else _DONE


def _session(given: ImporterArguments) -> AbstractContextManager[Session]:
    """Join the session that `omero import` opened."""
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import connect

    if given.password:
        raise UsageError("-w: other users can see passwords in arguments; log in with `omero login`")
    return connect(Login(host=given.host, port=given.port, user=given.user, key=given.key))


def _import(session: Session, given: ImporterArguments, one: FileSet, say: Callable[[str], None]) -> ImportResult:
    from omero_pixclf.connector.importing import ImportOptions, import_file_set, resolve_target

    options = ImportOptions(
        target=resolve_target(session, given.target) if given.target else None,
        name=given.name,
        description=given.description,
        algorithm=given.algorithm,
        thumbnails=given.thumbnails,
        statistics=given.statistics,
        comments=tuple(zip(given.namespaces, given.texts, strict=True)),
        annotations=tuple(given.annotations),
        anchors=find_anchors(given.paths),
    )
    return import_file_set(session, one.files, options, report_progress=say)


def _select_file_sets(
    session: Session, found: Sequence[FileSet], given: ImporterArguments, say: Callable[[str], None]
) -> Iterator[FileSet]:
    """Yield the file sets, without those imported before if ``--exclude`` is given."""
    from omero_pixclf.connector.importing import is_imported

    by_path, anchors = given.exclude == "clientpath", find_anchors(given.paths)
    for one in found:
        if given.exclude is not None and is_imported(session, one.main, by_path=by_path, anchors=anchors):
            say(f"{one.main}: skipped, it was imported before (--exclude={given.exclude})")
        else:
            yield one


# ---- what is printed ---------------------------------------------------------------------------------------------
def _print_ids(made: ImportResult, out: TextIO) -> None:
    kind, ids = ("Plate", made.plates) if made.plates else ("Image", made.images)
    print(f"{kind}:{','.join(map(str, ids))}", file=out, flush=True)


def _print_legacy(made: ImportResult, out: TextIO) -> None:
    print("\n".join(map(str, made.pixels)), file=out, flush=True)


def _print_yaml(made: ImportResult, out: TextIO) -> None:
    groups = {"Plate": made.plates, "Image": made.images}
    lines = ["---", f"- Fileset: {made.fileset}"]
    lines += [f"  {kind}: [{', '.join(map(str, ids))}]" for kind, ids in groups.items() if ids]
    print("\n".join(lines), file=out, flush=True)


_PRINTERS: dict[str, Callable[[ImportResult, TextIO], None]] = {
    "ids": _print_ids,
    "legacy": _print_legacy,
    "yaml": _print_yaml,
}


def _print_others(made: ImportResult, say: Callable[[str], None]) -> None:
    say("Other imported objects:")
    say(f"Fileset:{made.fileset}")
    for plate in made.plates:
        say(f"Plate:{plate}")

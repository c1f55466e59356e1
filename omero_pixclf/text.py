"""Text that people read and write: plurals, sizes, printable names, ``~`` in paths, errors in settings files."""

from __future__ import annotations

import difflib
import json
import os
import re
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and those who read JSON need none of it
    from pydantic import BaseModel, ValidationError

__all__ = [
    "expand_home",
    "format_size",
    "format_validation_error",
    "parse_json",
    "path_text",
    "pluralize",
    "printable",
    "safe_file_stem",
    "to_one_line",
]

_LONGEST = 40  # letters of a value that are repeated in a message
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def pluralize(count: int, noun: str) -> str:
    """How many of something there are, in words; of nouns whose plural ends with an s.

    Examples
    --------
    >>> pluralize(1, "image"), pluralize(2, "image"), pluralize(0, "Nucleus object")
    ('1 image', '2 images', '0 Nucleus objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_size(size: int) -> str:
    """Bytes in the largest unit of which there is at least one.

    Examples
    --------
    >>> format_size(1536), format_size(512 * 2**20), format_size(3 * 2**29), format_size(0)
    ('1.5 KiB', '512 MiB', '1.5 GiB', '0 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}".replace(".0 ", " ")
    return f"{size} bytes"


def to_one_line(text: str) -> str:
    r"""A text on one line: line breaks and control characters are spaces, bytes that are no text are U+FFFD.

    >>> to_one_line("new\nline"), to_one_line("a\r\n\tb"), to_one_line("caf\udce9")
    ('new line', 'a b', 'caf\ufffd')
    """
    return _SURROGATES.sub("\ufffd", _BREAKS.sub(" ", text))


def printable(text: str) -> str:
    r"""A text that UTF-8 can hold: file names may have bytes that are no text, which Python keeps as lone surrogates.

    >>> printable("caf\udce9.tif")
    'caf\\udce9.tif'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def safe_file_stem(name: str, *, most: int = 150) -> str:
    r"""The stem of a file name for what is made of something of that name: any file system takes it.

    >>> safe_file_stem("a/b: new\nline.ome.tif"), safe_file_stem("..")
    ('a_b_ new line.ome', '_')
    """
    stem = name[: name.rindex(".")] if "." in name.strip(".") else name
    plain = re.sub(r'[/\\\\:*?"<>|]', "_", to_one_line(stem)).strip(" .")
    return plain.encode()[:most].decode("utf-8", "ignore").strip(" .") or "_"


def path_text(path: str) -> str:
    r"""A path, or a part of one, as Unicode text; bytes that are no UTF-8 count as Latin-1, which old shares have.

    Python has such bytes as lone surrogates, which no server and no table takes.

    Examples
    --------
    >>> path_text("caf\udce9.tif"), path_text("日本.tif")
    ('café.tif', '日本.tif')
    """
    try:
        text = os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it is no name of a file here, and text already
        return path.encode("utf-8", "replace").decode()
    return "".join(chr(ord(letter) - 0xDC00) if "\udc80" <= letter <= "\udcff" else letter for letter in text)


def parse_json(text: str) -> Any:
    """The value of a JSON text that may be hostile.

    Raises
    ------
    ValueError
        For all that is wrong, also nesting so deep that Python's parser gives up.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def format_validation_error(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line for each thing that is wrong: where, what was expected and what was found.

    Examples
    --------
    >>> from pydantic import BaseModel, ValidationError
    >>> class Model(BaseModel, extra="forbid"):
    ...     threshold: float = 0.5
    >>> try:
    ...     Model(treshold=0.6)
    ... except ValidationError as error:
    ...     print(format_validation_error(error, Model, "nuclei.toml"))
    nuclei.toml: treshold: no such key; did you mean 'threshold'?
    """
    return "\n".join(f"{where}: {_format_error(entry, model)}" for entry in error.errors())


def _format_error(entry: Any, model: type[BaseModel]) -> str:
    place = [part for part in entry["loc"] if part not in ("tuple", "list")]
    key = ".".join(map(str, place))
    if entry["type"] == "extra_forbidden":
        return f"{key}: no such key; {_suggest_key(str(place[-1]), _known_keys(model, place[:-1]))}"
    said = entry["msg"].removeprefix("Value error, ").replace("Input should be", "expected", 1)
    shown = repr(entry["input"])
    found = f", found {shown}" if said.startswith("expected") and len(shown) <= _LONGEST else ""
    return f"{key}: {said}{found}" if key else said


def _suggest_key(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def _known_keys(model: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """The keys that a model knows at a place within it."""
    for part in place:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_find_models(field.annotation), model)
    return list(model.model_fields)


def _find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _find_models(part)


def expand_home(path: str, folder: str = "") -> str:
    """A path with a leading ``~`` made the home folder, unless something of that very name is there (in ``folder``).

    Shells leave the sign in where it follows ``=``, as in ``--out=~/results``, and files of settings have no shell.

    Examples
    --------
    >>> expand_home("results/~"), expand_home("~/x").endswith("/x")
    ('results/~', True)
    """
    if not path.startswith("~") or os.path.lexists(os.path.join(folder, path)):  # noqa: PTH118
        return path
    return os.path.expanduser(path)  # noqa: PTH111 - Path's raises for ~nobody

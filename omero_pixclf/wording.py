"""Numbers of things and names, as people write and read them."""

from __future__ import annotations

import os
import re

__all__ = ["attachment_stem", "counted", "one_line", "path_text", "printable", "size_text"]

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def counted(count: int, noun: str) -> str:
    """How many of something there are, in words; of nouns whose plural ends with an s.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "Nucleus object")
    ('1 image', '2 images', '0 Nucleus objects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """Bytes in the largest unit of which there is at least one.

    Examples
    --------
    >>> size_text(1536), size_text(512 * 2**20), size_text(3 * 2**29), size_text(0)
    ('1.5 KiB', '512 MiB', '1.5 GiB', '0 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}".replace(".0 ", " ")
    return f"{size} bytes"


def one_line(text: str) -> str:
    r"""A text on one line: line breaks and control characters are spaces, bytes that are no text are U+FFFD.

    >>> one_line("new\nline"), one_line("a\r\n\tb"), one_line("caf\udce9")
    ('new line', 'a b', 'caf\ufffd')
    """
    return _SURROGATES.sub("\ufffd", _BREAKS.sub(" ", text))


def printable(text: str) -> str:
    r"""A text that UTF-8 can hold: file names may have bytes that are no text, which Python keeps as lone surrogates.

    >>> printable("caf\udce9.tif")
    'caf\\udce9.tif'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def attachment_stem(name: str, *, most: int = 150) -> str:
    r"""The stem of a file name for what is made of something of that name: any file system takes it.

    >>> attachment_stem("a/b: new\nline.ome.tif"), attachment_stem("..")
    ('a_b_ new line.ome', '_')
    """
    stem = name[: name.rindex(".")] if "." in name.strip(".") else name
    plain = re.sub(r'[/\\\\:*?"<>|]', "_", one_line(stem)).strip(" .")
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

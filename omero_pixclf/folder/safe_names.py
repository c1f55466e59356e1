"""Convert names of images and recipes to valid names of files and folders."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

__all__ = ["NAME_BYTES", "is_same_name", "safe_name", "short_hash"]

NAME_BYTES = 255
"""The length in bytes that most file systems allow for a name."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])([. ].*)?", re.IGNORECASE)
"""Names of devices on Windows, and on shares that it serves."""


def safe_name(text: str, *, most: int = NAME_BYTES) -> str:
    """Return a name that all file systems allow, without path separators, of at most ``most`` bytes.

    Different texts may give the same name, so callers must check what a folder contains. Names that are too long or
    reserved get a digest.

    >>> safe_name("nuclei/1"), safe_name("../x. ")
    ('nuclei_1', '_x')
    """
    plain = re.sub(r"[^\w. -]", "_", text).strip(" .") or "_"
    if len(plain.encode()) > most or _RESERVED.fullmatch(plain):
        cut = plain.encode()[: most - 10].decode(errors="ignore").strip(" .")
        plain = f"{'_' if _RESERVED.fullmatch(plain) else ''}{cut}-{short_hash(text)}"
    return os.fsdecode(plain.encode())  # UTF-8 on the disk, whatever encoding this process uses


def is_same_name(one: str, other: str) -> bool:
    r"""Whether two names may be the same file: some file systems ignore case or change the form of accents.

    >>> is_same_name("Nuclei", "nuclei"), is_same_name("caf\u00e9", "cafe\u0301"), is_same_name("a", "b")
    (True, True, False)
    """
    return _normalize(one) == _normalize(other)


def _normalize(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def short_hash(text: str) -> str:
    """Return a hash of eight characters for a text, also for a path that is not valid Unicode."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]

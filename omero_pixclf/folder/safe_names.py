"""Convert names of images and recipes to valid names of files and folders."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

__all__ = ["NAME_BYTES", "is_same_name", "safe_name", "short_hash"]

NAME_BYTES = 255
"""What most file systems allow for one name."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])([. ].*)?", re.IGNORECASE)
"""Names of devices on Windows, and on shares that it serves."""


def safe_name(text: str, *, most: int = NAME_BYTES) -> str:
    """A name that every file system takes and that stays within a folder; of at most so many bytes.

    Different texts may get the same name: whoever keeps things under it must be able to tell them apart. Names that
    are too long or reserved carry a digest.

    >>> safe_name("nuclei/1"), safe_name("../x. ")
    ('nuclei_1', '_x')
    """
    plain = re.sub(r"[^\w. -]", "_", text).strip(" .") or "_"
    if len(plain.encode()) > most or _RESERVED.fullmatch(plain):
        cut = plain.encode()[: most - 10].decode(errors="ignore").strip(" .")
        plain = f"{'_' if _RESERVED.fullmatch(plain) else ''}{cut}-{short_hash(text)}"
    return os.fsdecode(plain.encode())  # UTF-8 on the disk, whatever this process takes names for


def is_same_name(one: str, other: str) -> bool:
    r"""Whether two names may be one file: file systems ignore case, or write accents in their own way.

    >>> is_same_name("Nuclei", "nuclei"), is_same_name("caf\u00e9", "cafe\u0301"), is_same_name("a", "b")
    (True, True, False)
    """
    return _normalize(one) == _normalize(other)


def _normalize(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def short_hash(text: str) -> str:
    """Eight characters that stand for a text, also for a path whose bytes are no text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]

"""Patterns for HQL's ``like`` from plain text, with all other wildcards escaped.

``_`` and ``%`` are wildcards of ``like`` and frequent in ids and file names: the prefix ``run_1_`` also matches
``run_12``. Therefore every pattern is made here, which a test checks.
"""

from __future__ import annotations

import re

__all__ = ["glob_pattern", "prefix_pattern", "substring_pattern"]


def _escape(text: str) -> str:
    """Escape the wildcards of ``like`` by a backslash, PostgreSQL's default escape character."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def prefix_pattern(text: str) -> str:
    r"""Return the pattern of all texts that start with a text.

    >>> print(prefix_pattern("run_1_"))
    run\_1\_%
    """
    return f"{_escape(text)}%"


def substring_pattern(text: str) -> str:
    r"""Return the pattern of all texts that contain a text.

    >>> print(substring_pattern("100%"))
    %100\%%
    """
    return f"%{_escape(text)}%"


def glob_pattern(pattern: str) -> str:
    r"""Return a pattern that matches at least what a shell pattern matches; from a choice, ``[ab]``, on it matches all.

    >>> print(glob_pattern("a_*?[xy]z"))
    a\_%_%
    """
    plain, choice, _ = pattern.partition("[")
    signs = {"*": "%", "?": "_"}
    return "".join(signs.get(sign, _escape(sign)) for sign in plain) + ("%" if choice else "")

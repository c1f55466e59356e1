"""Patterns for HQL's ``like`` from plain text, in which nothing but what is meant is a wildcard.

``_`` and ``%`` are wildcards of ``like``, and ids, names and file names are full of them: the prefix ``run_1_`` of
the one thing also fits ``run_12`` of the other. So every pattern is made here; a test holds it.
"""

from __future__ import annotations

import re

__all__ = ["glob_pattern", "prefix_pattern", "substring_pattern"]


def _escape(text: str) -> str:
    """The text with the wildcards of ``like`` escaped by a backslash, which PostgreSQL takes without being told."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def prefix_pattern(text: str) -> str:
    r"""The pattern of everything that starts with a text.

    >>> print(prefix_pattern("run_1_"))
    run\_1\_%
    """
    return f"{_escape(text)}%"


def substring_pattern(text: str) -> str:
    r"""The pattern of everything that contains a text.

    >>> print(substring_pattern("100%"))
    %100\%%
    """
    return f"%{_escape(text)}%"


def glob_pattern(pattern: str) -> str:
    r"""A pattern that everything fits that fits a shell pattern; a choice, ``[ab]``, and what follows it fit all.

    >>> print(glob_pattern("a_*?[xy]z"))
    a\_%_%
    """
    plain, choice, _ = pattern.partition("[")
    signs = {"*": "%", "?": "_"}
    return "".join(signs.get(sign, _escape(sign)) for sign in plain) + ("%" if choice else "")

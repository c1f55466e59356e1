"""Replace ``~`` at the beginning of a path by the home folder."""

from __future__ import annotations

import os

__all__ = ["expand_home"]


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

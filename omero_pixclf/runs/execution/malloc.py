"""Reset the memory allocator of a worker process to the C library's defaults."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_KEPT = 32 * 2**20  # where glibc's own adjustment ends, on 64 bits: the most that it accepts


def keep_freed_memory() -> bool:
    """Let freed arrays of up to 32 MB be used again, instead of being given back to the system and asked for anew.

    glibc comes to this by itself, by what a program allocates and frees - unless a threshold is set by the environment,
    as dask does for its workers (``MALLOC_TRIM_THRESHOLD_=65536``): then every array of more than 128 kB is mapped,
    filled with zeros page by page, and unmapped. Computing on arrays takes a fifth more processor time so, as
    ``tests/benchmarks/scaling.py`` shows. Not more than 64 MB of freed memory are kept at the heap's end.

    Returns
    -------
    bool
        Whether the C library took it; others than glibc do not know of it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT))

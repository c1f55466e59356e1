"""A worker that somebody else has started keeps freed memory as any other process does."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from omero_pixclf.runs.execution.malloc import keep_freed_memory
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(2**18)
start = faults()
for _ in range(20):
    np.ones(2**18)  # 2 MB: 512 pages
print(faults() - start)
"""


def page_faults(before: str) -> int:
    """Of filling twenty arrays one after the other, in a process with the threshold that dask sets."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", FAULTS.format(before=before)]
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")
def test_freed_memory_is_used_again_whatever_threshold_a_process_was_started_with() -> None:
    assert page_faults("") > 20 * 256  # what this is about: each array's pages are cleared anew
    assert page_faults("assert keep_freed_memory()") < 256

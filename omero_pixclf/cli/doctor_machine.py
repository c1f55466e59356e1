"""Checks of this installation and this machine for ``omero-pixclf doctor``; they need no server."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from omero_pixclf import __version__
from omero_pixclf.cli.check_result import CheckResult

__all__ = [
    "LOW_DISK",
    "LOW_MEMORY",
    "NO_DISK",
    "available_memory",
    "check_clients",
    "check_compiler",
    "check_folder",
    "check_kernels",
    "check_machine",
    "check_memory",
    "check_processors",
    "check_python",
    "check_sessions",
]

_GIB = 2**30
LOW_MEMORY = _GIB
LOW_DISK = 5 * _GIB
NO_DISK = _GIB // 10
_SCIENCE = ("numpy", "h5py", "scikit-image", "zarr")
_QUOTA, _LIMIT = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/memory.max")


def check_machine(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield the results of all checks that need no server."""
    from omero_pixclf.pixels.kernels import NATIVE
    from omero_pixclf.pixels.tiling import available_processors
    from omero_pixclf.runs.state.manifest import state_folder

    yield check_python(sys.version_info[:2])
    yield check_clients()
    yield check_kernels(NATIVE is not None, environ)
    yield check_compiler(needed=NATIVE is None)
    yield check_processors(available_processors(), _text(_QUOTA))
    yield check_memory(available_memory(_text(Path("/proc/meminfo")), _text(_LIMIT)))
    yield check_folder("runs", state_folder(), "set another folder in OMERO_PIXCLF_STATE")
    yield check_folder("temporary", Path(tempfile.gettempdir()), "set another folder in TMPDIR")
    yield check_sessions(_user_folder(environ))


def check_python(version: tuple[int, ...]) -> CheckResult:
    """Check the versions of the program, Python and the numerical packages."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _SCIENCE)
    python = ".".join(map(str, version))
    found = f"omero_pixclf {__version__}, Python {python}, {platform.system()} {platform.machine()}, {packages}"
    if (3, 10) <= version < (3, 14):
        return CheckResult("versions", "ok", found)
    return CheckResult("versions", "warning", found, "this version is tested with Python 3.10 to 3.13")


def check_clients() -> CheckResult:
    """Check omero-py and Ice, which only work with OMERO needs."""
    try:
        ice = importlib.import_module("Ice").stringVersion()
        importlib.import_module("omero.clients")
    except ImportError as error:
        advice = "files work without it (predict, run --out); for OMERO build zeroc-ice 3.6.5: deploy/build_ice.py"
        return CheckResult("clients", "fail", f"omero-py cannot be imported: {error}", advice)
    found = f"omero-py {_version('omero-py')}, Ice {ice}"
    if ice.startswith("3.6."):
        return CheckResult("clients", "ok", found)
    return CheckResult("clients", "fail", found, "OMERO needs Ice 3.6: build zeroc-ice 3.6.5 with deploy/build_ice.py")


def check_kernels(native: bool, environ: Mapping[str, str]) -> CheckResult:
    """Check whether the compiled kernels are used."""
    if native:
        return CheckResult("kernels", "ok", "compiled")
    if environ.get("OMERO_PIXCLF_PURE", "") not in ("", "0"):
        return CheckResult("kernels", "warning", "numpy (slow), because OMERO_PIXCLF_PURE is set", "unset it")
    advice = "install a C compiler, then reinstall omero_pixclf: pip install --force-reinstall --no-deps"
    return CheckResult("kernels", "warning", "numpy (slow): the same numbers, many times slower", advice)


def check_compiler(*, needed: bool) -> CheckResult:
    """Check for a C or C++ compiler, which is needed for the installation only."""
    found = [path for path in map(shutil.which, ("cc", "gcc", "clang", "c++", "g++", "clang++")) if path]
    if found:
        return CheckResult("compiler", "ok", found[0])
    if not needed:
        return CheckResult("compiler", "ok", "none; not needed after the installation")
    return CheckResult("compiler", "warning", "none", "Debian: apt-get install g++ libssl-dev")


def check_processors(usable: int, quota: str) -> CheckResult:
    """Compare the number of usable processors with the container's CPU limit (``cpu.max`` of cgroups).

    >>> check_processors(8, "200000 100000").advice
    'use --threads 2'
    """
    found = f"{usable} usable of {os.cpu_count()}"
    allowed, _, period = quota.strip().partition(" ")
    if allowed.isdecimal() and period.isdecimal() and int(allowed) < usable * int(period):
        limit = int(allowed) / int(period)
        return CheckResult(
            "processors", "warning", f"{found}, limited to {limit:g} by cgroup", f"use --threads {max(1, round(limit))}"
        )
    return CheckResult("processors", "ok", found)


def check_memory(available: int | None) -> CheckResult:
    """Check the available memory in bytes; None if unknown."""
    if available is None:
        return CheckResult("memory", "ok", "unknown on this system")
    found = f"{available / _GIB:.1f} GiB available"
    if available < LOW_MEMORY:
        return CheckResult(
            "memory", "warning", found, f"use --memory {max(available // 2**21, 64)}M: images are processed in blocks"
        )
    return CheckResult("memory", "ok", found)


def available_memory(meminfo: str, limit: str) -> int | None:
    r"""Available bytes by ``/proc/meminfo``, or the container's limit if that is lower; None if unknown.

    >>> available_memory("MemTotal: 9 kB\nMemAvailable: 4 kB\n", "max"), available_memory("", "1024\n")
    (4096, 1024)
    """
    lines = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    known = [int(lines["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in lines else []
    known += [int(limit)] if limit.strip().isdecimal() else []
    return min(known, default=None)


def check_folder(name: str, folder: Path, elsewhere: str) -> CheckResult:
    """Check whether a folder, which may not exist yet, is writable and has space; ``elsewhere`` is advice."""
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return CheckResult(name, "fail", f"{folder}: not writable", elsewhere)
    free = shutil.disk_usage(existing).free
    found = f"{folder}: {free / _GIB:.1f} GiB free"
    if free < NO_DISK:
        return CheckResult(name, "fail", found, f"free some space, or {elsewhere}")
    if free < LOW_DISK:
        return CheckResult(name, "warning", found, f"label and probability images need space: {elsewhere}")
    return CheckResult(name, "ok", found)


def check_sessions(folder: Path) -> CheckResult:
    """Check whether other users of this machine can read the session files of ``omero login``."""
    if not folder.is_dir():
        return CheckResult("sessions", "ok", f"{folder}: no stored session")
    path = (folder, *folder.absolute().parents)
    if all(stat.S_IMODE(p.stat().st_mode) & 0o005 == 0o005 for p in path):
        return CheckResult(
            "sessions", "warning", f"{folder}: readable by other users of this machine", f"chmod 700 {folder}"
        )
    return CheckResult("sessions", "ok", str(folder))


def _user_folder(environ: Mapping[str, str]) -> Path:
    chosen = environ.get("OMERO_SESSIONDIR") or environ.get("OMERO_SESSION_DIR")
    user = environ.get("OMERO_USERDIR")
    return Path(chosen) if chosen else (Path(user) if user else Path.home() / "omero") / "sessions"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _text(file: Path) -> str:
    """Content of a file of the Linux kernel; "" if this system has no such file."""
    try:
        return file.read_text("ascii")
    except OSError:
        return ""

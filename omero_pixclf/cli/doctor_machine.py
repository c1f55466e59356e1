"""The doctor's look at this installation and this machine; needs no server."""

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
_SCIENCE = ("numpy", "h5py", "scikit-image", "zarr", "tables")
_QUOTA, _LIMIT = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/memory.max")


def check_machine(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Everything that can be said without a server."""
    from omero_pixclf.pixels.kernels import NATIVE
    from omero_pixclf.pixels.tiling import available_processors
    from omero_pixclf.runs.state.manifest import state_folder

    yield check_python(sys.version_info[:2])
    yield check_clients()
    yield check_kernels(NATIVE is not None, environ)
    yield check_compiler(needed=NATIVE is None)
    yield check_processors(available_processors(), _text(_QUOTA))
    yield check_memory(available_memory(_text(Path("/proc/meminfo")), _text(_LIMIT)))
    yield check_folder("runs", state_folder(), "name another folder in OMERO_PIXCLF_STATE")
    yield check_folder("temporary", Path(tempfile.gettempdir()), "name another folder in TMPDIR")
    yield check_sessions(_user_folder(environ))


def check_python(version: tuple[int, ...]) -> CheckResult:
    """Versions of the program, Python and the packages that compute."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _SCIENCE)
    python = ".".join(map(str, version))
    found = f"omero_pixclf {__version__}, Python {python}, {platform.system()} {platform.machine()}, {packages}"
    if (3, 10) <= version < (3, 14):
        return CheckResult("versions", "ok", found)
    return CheckResult("versions", "warning", found, "Python 3.10 to 3.13 is what this version is tested with")


def check_clients() -> CheckResult:
    """OMERO's client and Ice, which only some steps need."""
    try:
        ice = importlib.import_module("Ice").stringVersion()
        importlib.import_module("omero.clients")
    except ImportError as error:
        advice = "files still work (predict, run --out); for OMERO build zeroc-ice 3.6.5: deploy/build_ice.py"
        return CheckResult("clients", "fail", f"omero-py cannot be used: {error}", advice)
    found = f"omero-py {_version('omero-py')}, Ice {ice}"
    if ice.startswith("3.6."):
        return CheckResult("clients", "ok", found)
    return CheckResult("clients", "fail", found, "OMERO speaks Ice 3.6: build zeroc-ice 3.6.5 with deploy/build_ice.py")


def check_kernels(native: bool, environ: Mapping[str, str]) -> CheckResult:
    """Whether the compiled passes are there."""
    if native:
        return CheckResult("kernels", "ok", "compiled")
    if environ.get("OMERO_PIXCLF_PURE", "") not in ("", "0"):
        return CheckResult("kernels", "warning", "numpy's, the slow path, as OMERO_PIXCLF_PURE asks", "unset it")
    advice = "install a C compiler, then omero_pixclf anew: pip install --force-reinstall --no-deps"
    return CheckResult("kernels", "warning", "numpy's, the slow path: the same numbers, many times slower", advice)


def check_compiler(*, needed: bool) -> CheckResult:
    """Whether there is a C and C++ compiler; one is needed to install, not to run."""
    found = [path for path in map(shutil.which, ("cc", "gcc", "clang", "c++", "g++", "clang++")) if path]
    if found:
        return CheckResult("compiler", "ok", found[0])
    if not needed:
        return CheckResult("compiler", "ok", "none, and none is needed any more")
    return CheckResult("compiler", "warning", "none", "Debian: apt-get install g++ libssl-dev")


def check_processors(usable: int, quota: str) -> CheckResult:
    """Processors that threads are started for, against the share that a container may use (``cpu.max``).

    >>> check_processors(8, "200000 100000").advice
    'say --threads 2'
    """
    found = f"{usable} usable of {os.cpu_count()}"
    allowed, _, period = quota.strip().partition(" ")
    if allowed.isdecimal() and period.isdecimal() and int(allowed) < usable * int(period):
        share = int(allowed) / int(period)
        return CheckResult(
            "processors", "warning", f"{found}, limited to {share:g} by cgroup", f"say --threads {max(1, round(share))}"
        )
    return CheckResult("processors", "ok", found)


def check_memory(available: int | None) -> CheckResult:
    """Memory that is free now, in bytes."""
    if available is None:
        return CheckResult("memory", "ok", "unknown on this system")
    found = f"{available / _GIB:.1f} GiB available"
    if available < LOW_MEMORY:
        return CheckResult(
            "memory", "warning", found, f"say --memory {max(available // 2**21, 64)}M: images go in blocks then"
        )
    return CheckResult("memory", "ok", found)


def available_memory(meminfo: str, limit: str) -> int | None:
    r"""Bytes that are free by ``/proc/meminfo``, or the container's limit where that is less; None where unknown.

    >>> available_memory("MemTotal: 9 kB\nMemAvailable: 4 kB\n", "max"), available_memory("", "1024\n")
    (4096, 1024)
    """
    lines = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    known = [int(lines["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in lines else []
    known += [int(limit)] if limit.strip().isdecimal() else []
    return min(known, default=None)


def check_folder(name: str, folder: Path, elsewhere: str) -> CheckResult:
    """Whether a folder, which need not be there yet, can be written to and has room."""
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return CheckResult(name, "fail", f"{folder}: cannot be written to", elsewhere)
    free = shutil.disk_usage(there).free
    found = f"{folder}: {free / _GIB:.1f} GiB free"
    if free < NO_DISK:
        return CheckResult(name, "fail", found, f"make room, or {elsewhere}")
    if free < LOW_DISK:
        return CheckResult(name, "warning", found, f"label and probability images need room: {elsewhere}")
    return CheckResult(name, "ok", found)


def check_sessions(folder: Path) -> CheckResult:
    """Whether others on this machine can read the sessions that ``omero login`` keeps."""
    if not folder.is_dir():
        return CheckResult("sessions", "ok", f"{folder}: no session is kept")
    path = (folder, *folder.absolute().parents)
    if all(stat.S_IMODE(p.stat().st_mode) & 0o005 == 0o005 for p in path):
        return CheckResult(
            "sessions", "warning", f"{folder}: others on this machine can look into it", f"chmod 700 {folder}"
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
    """A file of the kernel's; empty where this system has no such file."""
    try:
        return file.read_text("ascii")
    except OSError:
        return ""

"""Build a zeroc-ice 3.6.5 wheel for the Python that runs this file, once per machine.

omero-py needs zeroc-ice 3.6.5. PyPI has only a source archive of that version, which does not compile with Python 3.11
and later. This program downloads the archive, checks its SHA-256, applies the changes below, compiles on all cores, and
stores the wheel in the user's cache folder, where further calls find it. It needs a C++ compiler and OpenSSL's headers.

    python deploy/build_ice.py            # prints the path of the wheel in its last line
    ICE_WHEEL=some.whl python deploy/build_ice.py   # another wheel (for instance from Glencoe Software)

It uses only the standard library and the setuptools of the environment that runs it.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSION = "3.6.5"
SHA256 = "4235ffeb605bcd4e22e716577f7d61e4aa1bc82f65276bb542701a81b7933356"

WITH_READ_BUFFER = """#include <Python.h>
#if PY_VERSION_HEX >= 0x030D0000
static inline int PyObject_AsReadBuffer(PyObject* object, const void** start, Py_ssize_t* length)
{
    Py_buffer view;
    if(PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) != 0)
    {
        return -1;
    }
    *start = view.buf;
    *length = view.len;
    PyBuffer_Release(&view);
    return 0;
}
#endif
"""

# (file, original text, new text, reason)
CHANGES = (
    ("src/Slice.cpp", "#include <eval.h>", "#include <ceval.h>", "eval.h was removed in Python 3.11"),
    ("src/Util.cpp", "PyThreadState_GET()->frame", "PyEval_GetFrame()", "thread states are opaque since 3.11"),
    ("lib/Ice.py", "import sys, string, imp, os,", "import sys, string, types, os,", "imp was removed in 3.12"),
    ("lib/Ice.py", "imp.new_module(", "types.ModuleType(", "imp was removed in 3.12"),
    ("src/Util.cpp", "PyEval_CallObject(", "PyObject_CallObject(", "PyEval_CallObject was removed in 3.13"),
    ("src/Types.cpp", "PyEval_CallObject(", "PyObject_CallObject(", "PyEval_CallObject was removed in 3.13"),
    ("src/Config.h", "#include <Python.h>", WITH_READ_BUFFER, "PyObject_AsReadBuffer was removed in 3.13"),
    # The archive contains bzip2 but does not compile it on Linux; with it, no libbz2 headers are needed.
    ("setup.py", "if d.find('bzip2') != -1:", "if False:", "compile the bundled bzip2"),
    ("setup.py", "'crypto', 'bz2', 'rt'", "'crypto', 'rt'", "compile the bundled bzip2"),
    ("setup.py", "'src/ice/cpp/src']", "'src/ice/cpp/src', 'src/ice/bzip2']", "compile the bundled bzip2"),
)


def say(message: str) -> None:
    """Print a line of progress to stderr; stdout is for the path of the wheel."""
    print(f"[zeroc-ice] {message}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Return the cache folder for the wheel of this Python: one per ABI and platform."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    return root / "omero_pixclf" / "wheels" / tag


def check_tools() -> None:
    """Exit with advice if there is no compiler or no OpenSSL header."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        sys.exit("[zeroc-ice] no C++ compiler: install one (Debian: apt-get install g++), or set ICE_WHEEL to a wheel")
    probe = subprocess.run(
        [*compiler.split(), "-E", "-x", "c++", "-"], input=b"#include <openssl/ssl.h>\n", capture_output=True
    )
    if probe.returncode:
        sys.exit(
            "[zeroc-ice] OpenSSL's headers are missing: install them (Debian: apt-get install libssl-dev; "
            "Fedora: dnf install openssl-devel), or set ICE_WHEEL to a wheel"
        )


def fetch(folder: Path) -> Path:
    """Download the source archive with pip, which uses the user's mirrors and proxies."""
    say(f"downloading the source archive of zeroc-ice {VERSION}")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "zeroc-ice"]
    subprocess.run([*command, "-d", str(folder), f"zeroc-ice=={VERSION}"], check=True, stdout=sys.stderr)
    archive = folder / f"zeroc-ice-{VERSION}.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"[zeroc-ice] {archive.name} has SHA-256 {digest}, expected {SHA256}. Not used")
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the sources and apply the changes."""
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)  # the archive's hash was checked
    source = folder / f"zeroc-ice-{VERSION}"
    for name, old, new, why in CHANGES:
        path = source / name
        text = path.read_text(encoding="utf-8")
        if old not in text:
            sys.exit(f"[zeroc-ice] {name} does not contain {old!r} ({why}): unknown archive")
        path.write_text(text.replace(old, new), encoding="utf-8")
    return source


def compile_in_parallel() -> None:
    """Let setuptools compile the sources of an extension in parallel, and print the progress."""
    import setuptools  # noqa: F401  (replaces the distutils of the standard library by its own)
    from distutils.ccompiler import CCompiler  # isort: skip

    def compile_all(
        self,
        sources,
        output_dir=None,
        macros=None,
        include_dirs=None,
        debug=0,  # type: ignore[no-untyped-def]
        extra_preargs=None,
        extra_postargs=None,
        depends=None,
    ):
        macros, objects, postargs, arguments, build = self._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        options = self._get_cc_args(arguments, debug, extra_preargs)
        start, done = time.monotonic(), 0

        def compile_one(item):  # type: ignore[no-untyped-def]
            nonlocal done
            name, (source, extension) = item
            self._compile(name, source, extension, options, postargs, arguments)
            done += 1
            if done % 20 == 0 or done == len(build):
                say(f"compiled {done} of {len(build)} files in {time.monotonic() - start:.0f} s")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, build.items()))
        return objects

    CCompiler.compile = compile_all


def build(source: Path, folder: Path) -> Path:
    """Compile the sources and build the wheel; this takes minutes."""
    minutes = 7 / (os.cpu_count() or 1)
    say(f"compiling for Python {sys.version.split()[0]} on {os.cpu_count()} cores, about {minutes:.0f} minutes, once")
    flags = f"{os.environ.get('CFLAGS', '')} -g0".strip()  # no debug symbols: the wheel has 6 MB instead of 80
    command = [sys.executable, str(Path(__file__).resolve()), "--inside", "-q", "bdist_wheel", "-d", str(folder)]
    log = folder / "build.log"
    with log.open("w") as out:
        code = subprocess.run(command, cwd=source, env={**os.environ, "CFLAGS": flags}, stdout=out).returncode
    if code:
        sys.exit(f"[zeroc-ice] the build failed with exit code {code}. See the compiler's messages above")
    return next(folder.glob("zeroc_ice-*.whl"))


def main() -> None:
    """Print the path of a wheel for this Python; build the wheel if there is none yet."""
    given = os.environ.get("ICE_WHEEL")
    if given:
        if not Path(given).is_file():
            sys.exit(f"[zeroc-ice] ICE_WHEEL={given}: no such file")
        print(given)
        return
    home = cache_folder()
    ready = sorted(home.glob(f"zeroc_ice-{VERSION}-*.whl"))
    if ready:
        say(f"using {ready[0]}")
        print(ready[0])
        return
    check_tools()
    start = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zeroc-ice-") as scratch:
        folder = Path(scratch)
        wheel = build(unpack(fetch(folder), folder), folder)
        part = home / f"{wheel.name}.{os.getpid()}.part"
        shutil.copy(wheel, part)
        part.replace(home / wheel.name)  # atomic, also with two builds at the same time
    say(f"done in {time.monotonic() - start:.0f} s: {home / wheel.name}")
    print(home / wheel.name)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        del sys.argv[1]
        compile_in_parallel()
        sys.argv[0] = "setup.py"
        sys.path.insert(0, "")
        runpy.run_path("setup.py", run_name="__main__")
    else:
        main()

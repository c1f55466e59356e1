"""A PostgreSQL of the tests' own: made, started and stopped by them, reached by a socket in its own folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "PROGRAMS", "postgres"]


def _programs() -> Path | None:
    """The folder with initdb and postgres: on the PATH, or where Debian keeps each version's."""
    named = shutil.which("initdb")
    found = [Path(named).resolve().parent] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "postgres").exists()), None)


PROGRAMS = _programs()
MISSING = "needs PostgreSQL (Debian: apt-get install postgresql), or a database named by OMERO_PIXCLF_TEST_POSTGRES"


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, which is gone with the context."""
    if given := os.environ.get("OMERO_PIXCLF_TEST_POSTGRES"):
        yield given
        return
    assert PROGRAMS is not None
    # Not below pytest's folder: that one is closed to others, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="pixclf-pg-") as name:
        folder, data = Path(name), Path(name, "data")
        someone = _someone_else(folder)
        init = [PROGRAMS / "initdb", "-D", data, "-U", "pixclf", "--auth=trust", "--no-sync"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=folder, **someone)
        serve = [PROGRAMS / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(serve, stderr=log, cwd=folder, **someone)
        try:
            _answering(server, folder)
            yield f"postgresql+psycopg://pixclf@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # its fast shutdown: clients are sent away
            assert server.wait(30) == 0, (folder / "log").read_text()


def _someone_else(folder: Path) -> dict[str, Any]:
    """For root: whom to run as, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    person = next(p for p in pwd.getpwall() if p.pw_name in ("postgres", "nobody"))
    os.chown(folder, person.pw_uid, person.pw_gid)
    return {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": []}


def _answering(server: subprocess.Popen[bytes], folder: Path) -> None:
    assert PROGRAMS is not None
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        asked = subprocess.run([PROGRAMS / "pg_isready", "-q", "-h", folder], check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"PostgreSQL does not answer:\n{(folder / 'log').read_text()}")

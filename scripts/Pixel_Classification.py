"""Apply an ilastik pixel classifier to what is selected in OMERO.web.

Installed by ``omero-pixclf script install``. This file only finds omero_pixclf, which does the work: in the Python
that the server's processor runs scripts with, or, where it is not installed there, in another one, which is (in this
order) what OMERO_PIXCLF_PYTHON names, what `script install --python` wrote below, or the one beside an omero-pixclf
command on the processor's PATH. `script install --direct` writes where the server's storage is mounted there, and
`--at-once` how many of these scripts may work at the same time.
"""

import os
import shutil
import sys
from pathlib import Path

PYTHON = ""
DIRECT = ()
AT_ONCE = 2


def elsewhere() -> None:
    """Run this file again, with the Python of the environment that omero_pixclf is installed in."""
    command = shutil.which("omero-pixclf")
    beside = str(Path(command).resolve().parent / "python") if command else ""
    python = os.environ.get("OMERO_PIXCLF_PYTHON") or PYTHON or beside
    if not python or "OMERO_PIXCLF_SCRIPT" in os.environ:
        raise SystemExit(
            f"{sys.executable} has no omero_pixclf: install it there, or say where it is with "
            "omero-pixclf script install --python PATH"
        )
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it is this Python's
    sys.stdout.flush()
    os.execve(python, [python, *sys.argv], {**kept, "OMERO_PIXCLF_SCRIPT": "1"})


if __name__ == "__main__":
    try:
        from omero_pixclf.omero_script.main import main
    except ImportError as error:
        if not (error.name or "").startswith("omero_pixclf"):
            raise
        elsewhere()
    main(DIRECT, AT_ONCE)

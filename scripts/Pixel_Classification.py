"""Apply an ilastik pixel classifier to the objects selected in OMERO.web.

`omero-pixclf script install` puts this file on the server. It only finds the package omero_pixclf, which does the work,
in the Python that runs it (OMERO's Processor). If the package is not installed there, another Python is used. That is,
in this order: the one in the environment variable OMERO_PIXCLF_PYTHON, the one written below by
`script install --python`, or the one next to the command omero-pixclf on the Processor's PATH.

`script install` also writes the mount points of the server's storage (`--direct`) and the number of these scripts that
may run at the same time (`--at-once`).
"""

import os
import shutil
import sys
from pathlib import Path

PYTHON = ""
DIRECT = ()
AT_ONCE = 2


def run_in_other_python() -> None:
    """Run this file again, with the Python of the environment that omero_pixclf is installed in."""
    command = shutil.which("omero-pixclf")
    beside = str(Path(command).resolve().parent / "python") if command else ""
    python = os.environ.get("OMERO_PIXCLF_PYTHON") or PYTHON or beside
    if not python or "OMERO_PIXCLF_SCRIPT" in os.environ:
        raise SystemExit(
            f"{sys.executable} has no omero_pixclf. Install it there, or name another Python with "
            "omero-pixclf script install --python PATH"
        )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # for this Python only
    sys.stdout.flush()
    os.execve(python, [python, *sys.argv], {**environment, "OMERO_PIXCLF_SCRIPT": "1"})


if __name__ == "__main__":
    try:
        from omero_pixclf.omero_script.main import main
    except ImportError as error:
        if not (error.name or "").startswith("omero_pixclf"):
            raise
        run_in_other_python()
    main(DIRECT, AT_ONCE)

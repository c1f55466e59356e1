"""Serves OMERO.web for a test; run by the Python that omero-web is installed in: HOME, OMERO's port, web port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from omero.config import ConfigXml

MIDDLEWARE = (
    "whitenoise.middleware.WhiteNoiseMiddleware",  # static files, which a web server in front serves otherwise
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)


def main(home: Path, omero_port: str, web_port: str) -> None:
    for folder in ("etc/grid", "var/log"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    settings = ConfigXml(str(home / "etc" / "grid" / "config.xml"))
    settings["omero.web.server_list"] = json.dumps([["127.0.0.1", int(omero_port), "embedded"]])
    settings["omero.web.static_root"] = str(home / "static")
    settings["omero.web.middleware"] = json.dumps([{"index": n, "class": name} for n, name in enumerate(MIDDLEWARE)])
    settings.close()
    environment = {**os.environ, "OMERODIR": str(home), "DJANGO_SETTINGS_MODULE": "omeroweb.settings"}
    subprocess.run([sys.executable, "-m", "django", "collectstatic", "--noinput", "-v0"], env=environment, check=True)
    serve = ["-m", "gunicorn", "-b", f"127.0.0.1:{web_port}", "--threads", "6", "omeroweb.wsgi:application"]
    os.execve(sys.executable, [sys.executable, *serve], environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

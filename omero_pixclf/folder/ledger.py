"""The ledger of a results folder: one JSON file in each folder of a run, readable by people."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from omero_pixclf.files.atomic import write_bytes
from omero_pixclf.image import parse_id
from omero_pixclf.provenance import RunRecord, is_alive, is_run_id
from omero_pixclf.text import parse_json, printable

__all__ = ["LEDGER", "is_being_written", "is_results_folder", "read_record", "write_record"]

LEDGER = "ledger.json"


def write_record(folder: Path, record: RunRecord) -> None:
    """Write a run's record into the folder of its results; while it runs, with the name of the writing process.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    facts = asdict(record)
    facts["started"] = record.started.isoformat()
    facts["finished"] = None if record.finished is None else record.finished.isoformat()
    if record.state == "running":
        facts["worker"] = _worker_name()
    write_bytes(folder / LEDGER, printable(json.dumps(facts, indent=2, ensure_ascii=False)).encode())


def read_record(folder: Path) -> RunRecord | None:
    """Return the record in a folder; None if there is none, or it cannot be read."""
    facts = _read_ledger(folder)
    if facts is None:
        return None
    facts.pop("worker", None)
    try:
        started = datetime.fromisoformat(facts.pop("started"))
        finished = facts.pop("finished")
        if not is_run_id(facts["run_id"]):
            return None
        return RunRecord(**facts, started=started, finished=datetime.fromisoformat(finished) if finished else None)
    except (KeyError, TypeError, ValueError):
        return None


def is_results_folder(folder: Path) -> bool:
    """Whether a folder was made by a run; other files with the ledger's name do not count."""
    if not (folder / LEDGER).is_file():
        return False
    return is_run_id(folder.name) or read_record(folder) is not None


def is_being_written(folder: Path, run_id: str) -> bool:
    """Whether another process on this machine is writing this folder now; folders of the given run do not count."""
    facts = _read_ledger(folder) or {}
    host, _, pid = str(facts.get("worker", "")).rpartition(" ")
    if facts.get("state") == "complete" or facts.get("run_id") == run_id or host != socket.gethostname():
        return False
    number = parse_id(pid)
    return number is not None and number != os.getpid() and is_alive(number)


def _read_ledger(folder: Path) -> dict[str, Any] | None:
    try:
        facts = parse_json((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _worker_name() -> str:
    return f"{socket.gethostname()} {os.getpid()}"

"""Log lines as text, or as one JSON object per line."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

__all__ = ["JsonFormatter", "log_settings"]


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line: time, level, logger, message and, if any, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break."""
        moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_settings(*, as_json: bool, level: str = "INFO") -> dict[str, Any]:
    """Return the argument for `logging.config.dictConfig`; all lines go to stderr."""
    plain = {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonFormatter} if as_json else plain},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "omero_pixclf": {"level": level},
            "uvicorn.error": {"level": "WARNING"},
            "apscheduler": {"level": "ERROR"},
        },
    }

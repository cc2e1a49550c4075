"""Structured logs: one JSON object a line on stderr."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime, timezone
from typing import Any

_LOGGER = logging.getLogger("megaseg.serving")


def log(event: str, level: int = logging.INFO, *, exception: BaseException | None = None, **fields: Any) -> None:
    """Log an event with its fields, and where an exception came from; never features, never a token."""
    _LOGGER.log(level, event, extra={"fields": fields}, exc_info=exception)


class _Lines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(line, default=str)


def log_to_stderr() -> None:
    """Send the service's events, and the warnings of the engine and the servers under it, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    others = ("megaseg.engine", "uvicorn", "grpc")
    for name, level in (("megaseg.serving", logging.INFO), *((name, logging.WARNING) for name in others)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False

"""One JSON object a line: time, level, logger, message, then fields. Values of variables never get in."""

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_ACCESS = {"m": "method", "U": "path", "s": "status", "B": "bytes", "D": "microseconds", "h": "client"}


class JsonFormatter(logging.Formatter):
    """Fields are what `extra` gave, or, of gunicorn's access records, the request without query and headers."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            line |= {"message": "request"} | {field: record.args[atom] for atom, field in _ACCESS.items()}
        else:
            line["message"] = record.getMessage()
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0]:
            line |= _exception(record.exc_info[0], record.exc_info[2])
        return json.dumps(line, default=lambda value: type(value).__name__)


def _exception(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Any]:
    # Only the type and the places: a message or a source line may hold a value.
    stack = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return {"exception": kind.__name__, "stack": stack}


class WithoutProbes(logging.Filter):
    """Drops access records of probes that were answered 200: there are several each second."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        return not (isinstance(args, Mapping) and args["s"] == "200" and args["U"] in ("/health", "/ready"))


CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "filters": {"without_probes": {"()": WithoutProbes}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"level": "INFO", "handlers": ["stdout"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["stdout"],
            "filters": ["without_probes"],
            "propagate": False,
        },
    },
}

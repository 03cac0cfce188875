"""One JSON object a line, and nothing in it that a variable held."""

import json
import logging
import sys
from typing import Any

import pytest

from app.logs import JsonFormatter, WithoutProbes

ATOMS = {
    "m": "GET",
    "U": "/session",
    "s": "200",
    "B": 13,
    "D": 900,
    "h": "192.0.2.1",
    "q": "code=canary",
    "r": "canary",
}


def _record(name: str = "app", message: str = "secret loaded", args: Any = None, **extra: Any) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(
        name, logging.INFO, __file__, 1, message, args, extra.pop("exc_info", None), extra=extra
    )


def test_fields() -> None:
    line = JsonFormatter().format(_record(**{"secret": "flask-secret-key", "source": "file"}))
    assert "\n" not in line
    record = json.loads(line)
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "info",
        "logger": "app",
        "message": "secret loaded",
        "secret": "flask-secret-key",
        "source": "file",
    }


def test_field_that_is_no_json_shows_its_type_only() -> None:
    assert json.loads(JsonFormatter().format(_record(value=b"canary")))["value"] == "bytes"


def test_exception_without_values() -> None:
    value = "canary-value"
    try:
        raise ValueError(f"bad {value}")
    except ValueError:
        line = JsonFormatter().format(_record(message="failed", exc_info=sys.exc_info()))
    assert "canary" not in line
    record = json.loads(line)
    assert record["exception"] == "ValueError"
    assert record["stack"][-1].startswith("test_logs.py:")


def test_access_without_query_and_headers() -> None:
    line = JsonFormatter().format(_record("gunicorn.access", "%(r)s", (ATOMS,)))
    assert "canary" not in line
    record = json.loads(line)
    assert (record["method"], record["path"], record["status"], record["client"]) == (
        "GET",
        "/session",
        "200",
        "192.0.2.1",
    )


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [("/health", "200", False), ("/ready", "200", False), ("/health", "503", True), ("/", "200", True)],
)
def test_probes_are_left_out(path: str, status: str, kept: bool) -> None:
    assert WithoutProbes().filter(_record("gunicorn.access", "", (ATOMS | {"U": path, "s": status},))) is kept

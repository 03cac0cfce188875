"""What a module that takes long is at: a line per step, of names only, which the action plugin `progress` shows.

The file is of one run, and goes with the module; the first line names the run. Whoever could not read it all has the
lines in the module's result.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOOK = "? "  # before a line that is shown only if it takes long


@dataclass
class _Told:
    path: Path
    file: int | None = None  # where it cannot be written, the work goes on
    lines: list[str] = field(default_factory=list)

    def write(self, line: str) -> None:
        with suppress(OSError):
            if self.file is not None:
                os.write(self.file, f"{line}\n".encode())


_told: _Told | None = None


def begin(path: Path, run: str) -> None:
    """From now on steps are written to this file."""
    global _told
    _told = _Told(path)
    with suppress(OSError):
        # One of a module that was killed, or of another run, which goes on to write what nobody finds.
        path.unlink(missing_ok=True)
        _told.file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    _told.write(run)


def step(line: str) -> None:
    """Tell what begins now."""
    if _told:
        _told.lines.append(line)
        _told.write(line)


def look(line: str) -> None:
    """As `step`, of what changes nothing: it is worth a line only if it takes long."""
    step(f"{LOOK}{line}")


def end() -> list[str]:
    """Remove the file; all its steps."""
    global _told
    told, _told = _told, None
    if told and told.file is not None:
        with suppress(OSError):
            os.close(told.file)
            told.path.unlink(missing_ok=True)
    return told.lines if told else []

"""The memory that a host has left."""

from __future__ import annotations

from pathlib import Path


def available(meminfo: Path = Path("/proc/meminfo")) -> int:
    """The bytes that new programs can have, as the kernel reckons them."""
    values = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
    return int(values["MemAvailable"].split()[0]) * 1024

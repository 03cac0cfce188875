"""The memory file system that the bundles live on, and what could write it to a disk."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from ..errors import CoffreError

OPTIONS = "nosuid,nodev,noexec,mode=0700,size=64m"
NOSWAP_SINCE = (6, 4)


def options(run_root: Path) -> set[str] | None:
    """The mount options of the tmpfs on run_root, or None where there is no such mount."""
    found = None
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, rest = line.partition(" - ")
        fields, kind = mount.split(), rest.split()
        if fields[4] == str(run_root.absolute()):
            found = {*fields[5].split(","), *kind[2].split(",")} if kind[0] == "tmpfs" else None
    return found


def ensure(run_root: Path) -> bool:
    """Mount a tmpfs on run_root if there is none; noswap where the kernel has it. True if it had to."""
    run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if options(run_root) is not None:
        return False
    for extra in (",noswap", ""):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", OPTIONS + extra, "coffre", str(run_root)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return True
    raise CoffreError(f"No tmpfs can be mounted on {run_root}; nothing was changed: this needs root and CAP_SYS_ADMIN.")


def kernel_has_noswap() -> bool:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= NOSWAP_SINCE


def _encrypted(device: Path, blocks: Path) -> bool:
    """Whether a block device is dm-crypt, lies on nothing but dm-crypt, or is compressed memory."""
    if device.name.startswith("zram"):
        return True
    folder = blocks / device.name
    uuid = folder / "dm" / "uuid"
    if uuid.is_file() and uuid.read_text(encoding="utf-8").startswith("CRYPT-"):
        return True
    below = list((folder / "slaves").iterdir()) if (folder / "slaves").is_dir() else []
    return bool(below) and all(_encrypted(slave, blocks) for slave in below)


def swaps_in_clear(swaps: Path = Path("/proc/swaps"), sysfs: Path = Path("/sys")) -> list[str]:
    """The active swap areas that are on a disk and not encrypted."""
    clear = []
    for line in swaps.read_text(encoding="utf-8").splitlines()[1:] if swaps.exists() else []:
        area = Path(line.split()[0])
        device = area
        if area.is_file():
            number = area.stat().st_dev
            device = (sysfs / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve()
        if not _encrypted(device, sysfs / "class" / "block"):
            clear.append(str(area))
    return clear


def exposure(run_root: Path) -> str | None:
    """What could write the bundles to a disk in the clear, as the beginning of a sentence, or None."""
    mounted = options(run_root)
    kept_in_memory = kernel_has_noswap() if mounted is None else "noswap" in mounted
    if kept_in_memory or not (areas := swaps_in_clear()):
        return None
    return f"The secrets on {run_root} could be swapped to {', '.join(areas)}, which is not encrypted"

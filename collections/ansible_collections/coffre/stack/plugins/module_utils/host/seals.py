"""Encrypted copies on disk, by systemd-creds: bound to the TPM and the host key, or to the host key alone.

Values pass through standard input and output only. Works on systemd 252 to 257, also where systemd is not PID 1.
"""

from __future__ import annotations

import base64
import functools
import subprocess
from pathlib import Path

from ..errors import CoffreError, SealError
from . import files

# The largest content that systemd-creds takes, in bytes.
LIMIT = 1024 * 1024
SECONDS = 60.0  # a TPM takes a second or two
# The first 16 bytes of a credential tell its key (systemd: creds-util.h).
BINDINGS = {
    "5a1c6a86df9d4096b1d5a65e0862f19a": "host",
    "0c7cc07b117645919c4b0bea08bc20fe": "tpm2",
    "93a894094874449090caf2fc93cab553": "host+tpm2",
}


def _run(arguments: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        # Its messages are not passed on: they are no sentence of ours, and no place for anything secret.
        return subprocess.run(
            ["systemd-creds", *arguments], input=data, capture_output=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        raise SealError(
            "The command systemd-creds is missing; nothing was changed: install the package systemd and run again."
        ) from None
    except subprocess.TimeoutExpired:
        # No SealError: whoever takes a seal that does not open for a damaged one must not do so now.
        raise CoffreError(
            f"`systemd-creds {arguments[0]}` did not end within {SECONDS:.0f} s; nothing that was staged changed: see "
            "whether the host's TPM answers, then run again."
        ) from None


@functools.cache
def has_tpm2() -> bool:
    """Whether firmware, driver, kernel and systemd all support a TPM 2."""
    return _run(["has-tpm2", "--quiet"]).returncode == 0


def key(choice: str) -> list[str]:
    """The options of systemd-creds for a choice of auto, host or tpm2. Raises SealError without a TPM for tpm2."""
    if choice == "host" or (choice == "auto" and not has_tpm2()):
        return ["--with-key=host"]
    if not has_tpm2():
        raise SealError(
            "This host has no working TPM 2, and the seals are to be bound to one; nothing was changed: "
            "set stack_secrets_seal_key to host to accept the host key alone."
        )
    # No PCR: a firmware update must not lose the secrets.
    return ["--with-key=host+tpm2", "--tpm2-pcrs="]


def seal(path: Path, name: str, data: bytes, choice: str = "auto") -> None:
    """Encrypt data into the file path, durably. The name is bound in: the copy opens under no other."""
    if len(data) > LIMIT:
        raise SealError(f"{name} is larger than {LIMIT} bytes and cannot be sealed; nothing was changed.")
    done = _run(["encrypt", f"--name={name}", *key(choice), "-", "-"], data)
    if done.returncode or not done.stdout:
        raise SealError(
            f"systemd-creds could not seal {name} (exit status {done.returncode}); nothing that was staged changed: "
            "run 'systemd-creds setup' on the host to see the cause."
        )
    files.write(path, done.stdout, 0o600)


def unseal(path: Path, name: str) -> bytes:
    """Decrypt the file path. Raises SealError if it is missing, damaged, or sealed elsewhere or by another name."""
    if not path.is_file():
        raise SealError(f"The sealed copy {path} is missing.")
    about = path.stat()
    return _opened(path, name, (about.st_dev, about.st_ino, about.st_ctime_ns))


@functools.cache
def _opened(path: Path, name: str, _: tuple[int, ...]) -> bytes:
    """What a file holds, which is decrypted once in a process as long as nobody changes it."""
    done = _run(["decrypt", f"--name={name}", str(path), "-"])
    if done.returncode:
        raise SealError(f"The sealed copy {path} cannot be opened: it is damaged, or was sealed on another host.")
    return done.stdout


def binding(path: Path) -> str:
    """What a sealed copy is bound to: host, tpm2, host+tpm2, or unknown."""
    try:
        head = base64.b64decode(path.read_bytes()[:24])
    except (OSError, ValueError):
        return "unknown"
    return BINDINGS.get(head[:16].hex(), "unknown")

"""Redis as this strategy talks to it: an admin's commands by redis-cli in its container, logins over TCP.

What is changed reaches the server as SHA-256 digests. The admin's password goes to the standard input of redis-cli,
which connects from inside: a server that nobody has given a password yet lets in nobody else (protected mode).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ...engines import compose, containers
from ...engines.base import Container
from ...errors import CoffreError

PORT = 6379
DEFAULT = "default"
ANSWER_SECONDS = 10.0
MARK = "coffre-answer"
DIGEST = re.compile(r"[0-9a-f]{64}")


class NotAdmitted(CoffreError):
    """Redis runs, and lets automation administer nothing."""


@dataclass(frozen=True)
class Redis:
    """A running container, and who administers it: a user, with its passwords of which one may be the live one."""

    container: Container
    port: int
    admin: str
    passwords: tuple[bytes, ...]


@dataclass(frozen=True)
class AclUser:
    """What Redis has of a user, whether it lets anybody in, and the file in which it keeps its users, "" for none."""

    exists: bool
    enabled: bool
    anything: bool  # whether it takes whatever password
    digests: frozenset[str]
    unlocked: bool  # whether who gives no password is let in
    file: str
    apart: bool  # whether that file has users only, and is not the configuration


def digest(password: bytes) -> str:
    """What Redis keeps of a password."""
    return hashlib.sha256(password).hexdigest()


def ask(server: Redis, what: str, *commands: str) -> list[str]:
    """The answer to each command, by the admin, or by anybody where Redis lets anybody in.

    Raises NotAdmitted where it lets nobody, and CoffreError where it gives no answer.
    """
    logins = [f"AUTH {server.admin} {_quoted(each)}" for each in server.passwords]
    script = "\n".join([*logins, *(line for each in commands for line in (f"ECHO {MARK}", each))]) + "\n"
    try:
        said = compose.ask(server.container.id, "redis-cli", "-p", str(server.port), stdin=script)
    except CoffreError:
        raise CoffreError(
            f"redis-cli in the container {server.container.name} gave no answer when asked to {what}: see `docker logs "
            f"{server.container.name}`, and that its image has redis-cli, then run again."
        ) from None
    parts = said.replace("\r", "").split(f"{MARK}\n")[1:]
    if len(parts) != len(commands) or any(part.startswith(("NOAUTH", "NOPERM")) for part in parts):
        raise NotAdmitted(
            f"Redis does not let automation {what}, neither as {server.admin} with the deployed password nor without "
            f"one; nothing was changed: give {server.admin} that password and all rights (ACL SETUSER), or, where "
            "nobody can, empty the file of its users, start its container anew and run site.yml."
        )
    return [part.strip() for part in parts]


def look(server: Redis, user: str) -> AclUser:
    """What there is of a user. Reads only. Raises CoffreError."""
    commands = (f"ACL GETUSER {user}", f"ACL GETUSER {DEFAULT}", "CONFIG GET aclfile", "INFO server")
    mine, default, users, about = (each.splitlines() for each in ask(server, f"look at the user {user}", *commands))
    flags = mine[: mine.index("passwords")] if "passwords" in mine else []
    apart = "".join(users[1:])
    file = next((line.partition(":")[2] for line in about if line.startswith("config_file:")), "")
    return AclUser(
        exists=bool(mine),
        enabled="on" in flags,
        anything="nopass" in flags,
        digests=frozenset(filter(DIGEST.fullmatch, mine)),
        unlocked={"on", "nopass"} <= set(default),
        file=apart or file,
        apart=bool(apart),
    )


def change(server: Redis, found: AclUser, what: str, *users: Sequence[str]) -> None:
    """Set users, each by the words of ACL SETUSER, and have Redis keep that over a restart. Raises CoffreError.

    It can be repeated: what was set and not kept is set and kept again.
    """
    commands = [f"ACL SETUSER {' '.join(words)}" for words in users]
    answers = ask(server, what, *commands, "ACL SAVE" if found.apart else "CONFIG REWRITE")
    if any(each != "OK" for each in answers[:-1]):
        raise CoffreError(
            f"Redis was asked to {what} and will not: see the rules of {server.admin} (ACL GETUSER), then run again."
        )
    if answers[-1] != "OK":
        raise CoffreError(f"Redis was asked to {what}, which a restart would undo, for it cannot write: {_kept(found)}")


def unkept(server: Redis, found: AclUser) -> str:
    """Why a change of users would not outlast a restart, as a sentence, or "". Reads only."""
    folder = str(PurePosixPath(found.file).parent)
    if found.file and compose.succeeds(server.container.id, ["test", "-w", folder]):
        return ""
    return f"Redis cannot keep its users over a restart: {_kept(found)}"


def accepts(server: Redis, user: str, password: bytes) -> bool:
    """Whether Redis takes a password of a user over the network. Raises CoffreError when no answer can be had."""
    return _said(server, _login(user, password)).startswith("+OK")


def trusting(server: Redis, user: str) -> bool:
    """Whether Redis lets anybody in, as a user with whatever password or without any. Raises CoffreError."""
    anything = accepts(server, user, secrets.token_bytes(32).hex().encode())
    return anything or _said(server, b"*1\r\n$4\r\nPING\r\n").startswith("+PONG")


def _kept(found: AclUser) -> str:
    if not found.file:
        return (
            "it runs without a file for them; let it start with `--aclfile /data/users.acl` on a volume, where that "
            "file has to exist, if only empty."
        )
    return (
        f"the folder of {found.file} must be writable for it, and the file not mounted by itself: let it start with "
        "`--aclfile` in a folder of a volume."
    )


def _quoted(password: bytes) -> str:
    """A word as redis-cli reads it, whatever is in it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in password) + '"'


def _login(user: str, password: bytes) -> bytes:
    """AUTH in Redis's protocol."""
    words = (b"AUTH", user.encode(), password)
    return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _said(server: Redis, request: bytes) -> str:
    """The first line that Redis answers to a request on a connection of its own. Raises CoffreError without any."""
    address = (containers.address(server.container), server.port)
    try:
        with socket.create_connection(address, ANSWER_SECONDS) as connection:
            connection.sendall(request)
            answer = connection.makefile("rb").readline(1000).decode("ascii", "replace")
    except OSError as error:
        raise CoffreError(
            f"Redis gave no answer at port {server.port} ({type(error).__name__}): see `docker logs "
            f"{server.container.name}`, then run again."
        ) from None
    # Without a password set, one that is protected says no to whoever is not in its container.
    if not answer.startswith(("+", "-WRONGPASS", "-NOAUTH", "-NOPERM", "-DENIED")):
        raise CoffreError(
            f"Redis gave no usable answer at port {server.port}: see `docker logs {server.container.name}`, and that "
            "it is Redis 6 or newer without TLS at that port."
        )
    return answer

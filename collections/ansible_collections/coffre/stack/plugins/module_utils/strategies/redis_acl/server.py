"""Redis as this strategy talks to it, in its own protocol: an admin's commands, and logins as an application's.

What is changed reaches the server as SHA-256 digests. The admin comes from within the container's own network, where
that is on this host: a server that nobody has given a password yet lets in nobody else (protected mode).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from ...engines import compose, containers
from ...engines.base import Container
from ...errors import CoffreError
from ...host import objects

PORT = 6379
DEFAULT = "default"
ANSWER_SECONDS = 10.0
LONGEST = 4096  # bytes of a line of the protocol; that on protected mode has a thousand
# What decides a login: another error, such as of one that still loads its data, tells nothing.
SAID = ("+", "-WRONGPASS", "-NOAUTH", "-NOPERM", "-DENIED")
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


def ask(server: Redis, what: str, *commands: str) -> list[list[str]]:
    """The answer to each command, as lines, by the admin, or by anybody where Redis lets anybody in.

    Raises NotAdmitted where it lets nobody, and CoffreError where it gives no answer.
    """
    logins = [_login(server.admin, each) for each in server.passwords]
    with _inside(server) as connection:
        answers = _answers(connection, server, [*logins, *(each.encode().split() for each in commands)])
    if answers[0][0].startswith("-DENIED"):
        raise NotAdmitted(
            f"Redis is in protected mode and lets nobody on another host {what}; nothing was changed: let it start "
            f"with a file of users that has {server.admin} and its password, or with `--protected-mode no`, where its "
            "first deploy shuts it."
        )
    if any(each and each[0].startswith(("-NOAUTH", "-NOPERM")) for each in answers[len(logins) :]):
        raise NotAdmitted(
            f"Redis does not let automation {what}, neither as {server.admin} with the deployed password nor without "
            f"one; nothing was changed: give {server.admin} that password and all rights (ACL SETUSER), or, where "
            "nobody can, empty the file of its users, start its container anew and run site.yml."
        )
    return answers[len(logins) :]


def look(server: Redis, user: str) -> AclUser:
    """What there is of a user. Reads only. Raises CoffreError."""
    commands = (f"ACL GETUSER {user}", f"ACL GETUSER {DEFAULT}", "CONFIG GET aclfile", "INFO server")
    mine, default, users, about = ask(server, f"look at the user {user}", *commands)
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
    if any(each != ["+OK"] for each in answers[:-1]):
        raise CoffreError(
            f"Redis was asked to {what} and will not: see the rules of {server.admin} (ACL GETUSER), then run again."
        )
    if answers[-1] != ["+OK"]:
        raise CoffreError(f"Redis was asked to {what}, which a restart would undo, for it cannot write: {_kept(found)}")


def unkept(server: Redis, found: AclUser) -> str:
    """Why a change of users would not outlast a restart, as a sentence, or "". Reads only.

    Of one on another host only whether it has a file: that it cannot write there, the change itself would tell.
    """
    folder = str(PurePosixPath(found.file).parent)
    if found.file and (server.container.elsewhere or compose.succeeds(server.container.id, ["test", "-w", folder])):
        return ""
    return f"Redis cannot keep its users over a restart: {_kept(found)}"


def accepts(server: Redis, user: str, password: bytes) -> bool:
    """Whether Redis takes a password of a user over the network. Raises CoffreError when no answer can be had."""
    return _said(server, *_login(user, password)).startswith("+OK")


def trusting(server: Redis, user: str) -> bool:
    """Whether Redis lets anybody in, as a user with whatever password or without any. Raises CoffreError."""
    anything = accepts(server, user, secrets.token_bytes(32).hex().encode())
    return anything or _said(server, b"PING").startswith("+PONG")


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


def _login(user: str, password: bytes) -> list[bytes]:
    return [b"AUTH", user.encode(), password]


def _said(server: Redis, *words: bytes) -> str:
    """What Redis answers to a command on a connection of its own, from outside. Raises CoffreError without any."""
    with _outside(server) as connection:
        answer = _answers(connection, server, [words])[0][0]
    if answer.startswith(SAID):
        return answer
    raise CoffreError(_nothing(server, answer))


def _outside(server: Redis) -> socket.socket:
    """As an application is connected. Raises CoffreError."""
    return _connected(server, containers.address(server.container))


def _inside(server: Redis) -> socket.socket:
    """As who is in the container is connected, where it is on this host. Raises CoffreError."""
    if server.container.elsewhere:
        return _outside(server)
    try:
        with objects.entered(server.container.pid):
            return _connected(server, "127.0.0.1")
    except OSError as error:  # it has just ended
        raise CoffreError(_nothing(server, type(error).__name__)) from None


def _connected(server: Redis, address: str) -> socket.socket:
    try:
        return socket.create_connection((address, server.port), ANSWER_SECONDS)
    except OSError as error:
        raise CoffreError(_nothing(server, type(error).__name__)) from None


def _answers(connection: socket.socket, server: Redis, commands: Sequence[Sequence[bytes]]) -> list[list[str]]:
    """What Redis answers to each command, as lines; `+` and `-` stay before a status or an error. Raises CoffreError.

    One that denies a connection says so at once, and no more.
    """
    try:
        connection.sendall(b"".join(map(_encoded, commands)))
        with connection.makefile("rb") as answers:
            found = [_lines(answers) or [""]]
            more = [] if found[0][0].startswith("-DENIED") else commands[1:]
            found += [_lines(answers) for _ in more]
    except (OSError, ValueError) as error:
        raise CoffreError(_nothing(server, type(error).__name__)) from None
    if starting := next((each[0] for each in found if each and each[0].startswith("-LOADING")), ""):
        raise CoffreError(_nothing(server, starting))
    return found


def _encoded(words: Sequence[bytes]) -> bytes:
    """A command in Redis's protocol."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _lines(answers: BinaryIO) -> list[str]:
    """The next answer, one that is nested as one list. Raises ValueError for what is no answer of Redis."""
    line = _whole(answers.readline(LONGEST))
    if line.startswith(("+", "-")):
        return [line]
    kind, size = line[:1], int(line[1:])
    if kind == "*":
        return [each for _ in range(size) for each in _lines(answers)]
    if kind == "$":
        return _whole(answers.read(size + 2)).splitlines() if size >= 0 else []
    raise ValueError(kind)


def _whole(data: bytes) -> str:
    """A line or a text without its end. Raises ValueError for one that is cut short."""
    if not data.endswith(b"\r\n"):
        raise ValueError("cut short")
    return data[:-2].decode("utf-8", "replace")


def _nothing(server: Redis, said: str) -> str:
    return (
        f"Redis gave no usable answer at port {server.port} ({said[:60]}): see `docker logs "
        f"{server.container.name}`, and that it is Redis 6 or newer without TLS at that port, then run again."
    )

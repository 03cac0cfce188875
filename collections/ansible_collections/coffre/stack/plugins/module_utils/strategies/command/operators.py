"""An operator's command: values on its standard input, nothing in its words, nothing of what it says is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ... import engines
from ...engines import compose
from ...engines.base import Container
from ...errors import CoffreError
from ...host import state
from ..alternate import holder
from ..context import Context, Which

# A client of a verifier that is written in a slow language starts in some seconds, on a busy host in many.
COMMAND_SECONDS = 60.0


def run(context: Context, step: str, which: Which) -> None:
    """Let a command of the settings act on a value, where they say that it runs. Raises CoffreError if it fails.

    It reads one line of JSON: {"secret", "value", "other"}, with "user" and "other_user" where the settings have
    `users`. What of the other there is none is null. Of kind bytes the values are in base64.
    """
    command = context.secret.settings[step]
    with _place(context) as container:
        try:
            compose.ask(container.id, *command, stdin=_input(context, which) + "\n", seconds=COMMAND_SECONDS)
        except CoffreError:
            raise CoffreError(
                f"The command `{step}` of {context.secret.name} failed in {container.name} for the {which} value, or "
                f"did not end within {COMMAND_SECONDS:.0f} s; what it said is withheld, because it was given values: "
                "try it by hand with a value that is none."
            ) from None


@contextmanager
def _place(context: Context) -> Iterator[Container]:
    """The verifier's own container, or one beside it. Raises CoffreError."""
    verifier = context.verifier()
    if context.secret.settings.get("beside"):
        with engines.of(context.paths).beside(context.paths, verifier.service) as found:
            yield found
        return
    if verifier.elsewhere:
        raise CoffreError(
            f"The commands of {context.secret.name} run in {verifier.name}, which is on another host; nothing was "
            "changed: where they reach it over the network, set `beside: true` in the secret's settings."
        )
    yield verifier


def succeeds(context: Context, step: str, which: Which) -> bool:
    """Whether a command of the settings exits with 0."""
    with suppress(CoffreError):
        run(context, step, which)
        return True
    return False


def _input(context: Context, which: Which) -> str:
    other: Which = "old" if which == "new" else "new"
    said = {"secret": context.secret.name, "value": _text(context, which), "other": None}
    if context.has(other):
        said["other"] = _text(context, other)
    if "users" in context.secret.settings:
        user, another = _user(context, which), _user(context, other)
        said |= {"user": user, "other_user": None if another == user else another}
    return json.dumps(said)


def _text(context: Context, which: Which) -> str:
    value = context.value(which)
    return base64.b64encode(value).decode("ascii") if context.secret.kind == "bytes" else value.decode()


def _user(context: Context, which: Which) -> str:
    version: state.Version = getattr(context.change, which)
    return holder(version, context.secret, "user")

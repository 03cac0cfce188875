"""What was signed under the key and its ring is accepted: tried by the service's own program, or seen in its trail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import get_args

from ...audit import trail as audit
from ...catalogue import HOST
from ...engines import compose, containers
from ...engines.base import Container
from ...errors import CoffreError
from ...host import bundles, rings, state
from .. import consumers as inside
from ..context import Context, Which

# A busy host takes its time to start a program; nothing else waits meanwhile.
PROBE_SECONDS = 60.0
LOOPBACK = "127.0.0.1"


def prove(context: Context, which: Which) -> None:
    """Let the program of each service try the key with its ring, before it has them. Raises CoffreError."""
    for service in _services(context):
        newest = context.container(service)
        with containers.program(context.paths, [newest]) as program:
            _attempt(context, newest, which, program, "rehearse")


def confirm(context: Context, which: Which) -> None:
    """See that the containers sign with the key, accept its ring and nothing else, and that the ring is kept.

    Raises CoffreError.
    """
    name, settings = context.secret.name, context.secret.settings
    found = inside.adopted(context, which)
    for service in _services(context):
        _answer(context, which, [each for each in found if each.service == service])
    for each in found if "probe" not in settings else ():
        if trail := audit.trail_of(context.catalogue, each.service, name):
            mark = ("instance", each.id[:12])
            _signs(context, which, each.service, trail.of(context.paths, each), mark)
    if name == audit.KEY:
        # So far, the record of the host's own new bundle may be the only one to be signed with the key.
        audit.adopted(context.paths, context.state, audit.Author(context.run.id, context.run.operator), {HOST})
        _signs(context, which, HOST, audit.existing(context.paths.audit), ("key", _version(context, which)))
    for service in context.secret.consumers:
        kept = bundles.versions(context.paths, context.state, service, name)
        if lost := [each for each in _ring(context, which) if each not in kept]:
            raise CoffreError(f"The bundle of {service} lacks the earlier {', '.join(lost)} of {name}: run site.yml.")


def _version(context: Context, which: Which) -> str:
    record: state.Version = getattr(context.change, which)
    return record.version


def _services(context: Context) -> list[str]:
    """Those whose own program tries keys."""
    return [each for each in context.secret.consumers if each != HOST and "probe" in context.secret.settings]


def _ring(context: Context, which: Which) -> list[str]:
    """The earlier versions that count while this one is in force: of one that is, those that were staged with it."""
    record = context.state.secrets[context.secret.name]
    if record.version == _version(context, which):
        return [each.version for each in record.ring]
    return [each.version for each in rings.after(context.secret, record, _version(context, which), state.now())]


def _values(context: Context, service: str) -> dict[str, bytes]:
    """Every value of the secret that the host still has, by version."""
    run = {_version(context, each): context.value(each) for each in get_args(Which) if context.has(each)}
    return bundles.versions(context.paths, context.state, service, context.secret.name) | run


def _answer(context: Context, which: Which, found: Sequence[Container]) -> None:
    """Have the program of each of a service's containers ask it, or another's where it is elsewhere.

    Raises CoffreError.
    """
    for each in found:
        if not each.elsewhere:
            _attempt(context, each, which, each, "confirm", LOOPBACK)
    if away := [each for each in found if each.elsewhere]:
        with containers.program(context.paths, found) as program:
            for each in away:
                _attempt(context, each, which, program, "confirm", containers.address(each))


def _attempt(context: Context, container: Container, which: Which, program: Container, *step: str) -> None:
    """Have a program try a container's key, its ring, and all others, which must be refused. Raises CoffreError."""
    version, ring, values = _version(context, which), _ring(context, which), _values(context, container.service)
    current, previous = values[version], [values[each] for each in ring if each in values]
    refused = [value for value in values.values() if value not in (current, *previous)]
    keys = {"current": _text(current), "previous": [*map(_text, previous)], "refused": [*map(_text, refused)]}
    try:
        command = [*context.secret.settings["probe"], *step]
        compose.ask(program.id, *command, stdin=json.dumps(keys), seconds=PROBE_SECONDS)
    except CoffreError as error:
        raise CoffreError(f"{container.name} does not get on with {context.secret.name} {version}: {error}") from None


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _signs(context: Context, which: Which, service: str, trail: Iterable[bytes], mark: tuple[str, str]) -> None:
    """See that the last record of a trail that has this mark, field and value, is signed with the key.

    Raises CoffreError.
    """
    version = _version(context, which)
    if not audit.signed_last(trail, _values(context, service)[version], *mark):
        raise CoffreError(
            f"The last record of {mark[1]} in the audit trail of {service} is not signed with {context.secret.name} "
            f"{version}."
        )

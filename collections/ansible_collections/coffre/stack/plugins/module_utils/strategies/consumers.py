"""The containers that have adopted a version, and whether they work with it."""

from __future__ import annotations

import time

from ..catalogue import HOST
from ..engines.base import Container
from ..errors import CoffreError
from ..rollout import apply as rollout
from .context import POLL_SECONDS, Context, Which

# A rollout has just found them ready; this is for a moment's trouble on the way to the verifier.
PATIENCE_SECONDS = 20.0


def adopted(context: Context, which: Which) -> list[Container]:
    """The running containers of all consumers. Raises CoffreError where one is missing or has another version."""
    version = getattr(context.change, which).version
    name, running = context.secret.name, context.adopters()
    found = []
    for service in context.secret.consumers:
        if service == HOST:
            continue
        own = [each for each in running if each.service == service]
        entry = context.state.services.get(service)
        if not own or entry is None:
            raise CoffreError(f"No container of {service} runs that could try {name} {version}: run site.yml.")
        for each in own:
            if each.bundle is None or entry.bundles[each.bundle].versions.get(name) != version:
                raise CoffreError(f"The container {each.name} does not have {name} {version}: run site.yml.")
        found += own
    return found


def work(context: Context, which: Which) -> list[Container]:
    """See each of those containers pass its own check, and return them. Raises CoffreError.

    It runs inside, with the file that the container has: nothing is handed to them.
    """
    found = adopted(context, which)
    for each in found:
        deadline = time.monotonic() + PATIENCE_SECONDS
        last = time.monotonic() + max(context.seconds, PATIENCE_SECONDS)
        while rollout.failing(each):
            if context.starting():  # right after a boot it waits for another one
                deadline = time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > min(deadline, last):
                version = getattr(context.change, which).version
                raise CoffreError(
                    f"The container {each.name} does not work with {context.secret.name} {version}: see `docker logs "
                    f"{each.name}`, or, once it is rolled back, {context.paths.failed_log(each.service)}."
                )
            time.sleep(POLL_SECONDS)
    return found

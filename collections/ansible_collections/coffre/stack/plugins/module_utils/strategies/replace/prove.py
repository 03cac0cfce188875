"""The value is what its consumers can use, and they use it."""

from __future__ import annotations

from ...catalogue import HOST
from ...engines import containers
from ...engines.base import Container
from ...errors import CoffreError
from ...values import certificates, generate
from .. import consumers as inside
from ..context import Context, Which


def prove(context: Context, which: Which) -> None:
    """See that key, chain, names and dates of a new certificate agree. Raises CoffreError."""
    secret, problem = context.secret, None
    if which == "old":
        return  # it may well be past its end; that it is in force again is what `confirm` sees
    if names := certificates.names(secret):
        problem = certificates.misfit(context.value(which), names)
    elif secret.generate and secret.generate.type == "certificate_authority":
        pair = generate.load(context.value(which))
        fits = pair is not None and generate.authority_fits(pair, secret.generate)
        problem = None if fits else "is no authority for the catalogue's names"
    if problem:
        raise CoffreError(f"The {which} {secret.name} {problem}.")


def confirm(context: Context, which: Which) -> None:
    """See the services show the certificate, or work with what else it is. Raises CoffreError."""
    if "port" not in context.secret.settings:
        inside.work(context, which)
        return
    for service in services(context):
        if not all(shows(context, service, which)):
            raise CoffreError(f"{service} shows another certificate than the {which} {context.secret.name}.")


def shows(context: Context, service: str, which: Which) -> list[bool]:
    """Whether each container of a service shows the certificate to whoever connects now.

    Raises CoffreError if one does not answer, or there is none.
    """
    wanted = certificates.leaf(context.value(which))
    return [_shown(context, each) == wanted for each in context.all_of(service)]


def _shown(context: Context, container: Container) -> bytes:
    try:
        return certificates.shown(
            containers.address(container), context.secret.settings["port"], certificates.names(context.secret)[0]
        )
    except OSError as error:
        raise CoffreError(f"{container.name} shows no certificate ({type(error).__name__}).") from None


def services(context: Context) -> list[str]:
    """The consumers that have containers."""
    return [each for each in context.secret.consumers if each != HOST]

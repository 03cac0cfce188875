"""A new value as the catalogue says: random, an authority, or a certificate by the authority in force."""

from __future__ import annotations

from ...catalogue import HOST, Secret
from ...errors import CoffreError
from ...host import bundles, state
from ...host.escrow import unseal
from ...values import generate
from ..context import Context


def successor(secret: Secret, old: state.Version, new: state.Version) -> state.Version:  # noqa: ARG001
    """Nothing but the value differs."""
    return new


def make(context: Context) -> bytes:
    """A new value. Raises CoffreError if the authority of a certificate is none."""
    spec = context.secret.generate
    if spec is None or spec.type == "random":
        return generate.random_value(context.secret)
    if spec.type == "certificate_authority":
        return generate.authority(context.paths.stack, spec).pem()
    issuer = generate.load(_authority(context, spec.authority))
    if issuer is None:
        raise CoffreError(f"{spec.authority} is no authority that can sign {context.secret.name}.")
    return generate.certificate(spec, issuer).pem()


def teach(context: Context) -> None:
    """Nobody: whoever uses the value has it from its own bundle."""


def _authority(context: Context, name: str) -> bytes:
    """The value of an authority; the new one where the run replaces it, too."""
    if name in context.run.secrets:
        return unseal(context.paths, context.run.id, name, "new")
    return bundles.value(context.paths, context.state, HOST, name)

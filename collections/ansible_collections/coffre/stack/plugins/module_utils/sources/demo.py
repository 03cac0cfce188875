"""The source `demo`: what the host lacks is generated on it, and stays there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..catalogue import Catalogue
from ..errors import SourceError
from .base import Holdings, Resolved, Source, Values, fresh


@dataclass(frozen=True)
class Demo(Source):
    stack: str
    BUILT_IN = True

    def check(self, catalogue: Catalogue) -> list[str]:
        """Refuse secrets that the catalogue does not say how to generate. Raises SourceError."""
        problems = [
            f"secret {name} has no `generate`, which the demo source needs"
            for name, secret in catalogue.secrets.items()
            if secret.generate is None
        ]
        if problems:
            raise SourceError(f"The demo source cannot be used: {'; '.join(problems)}.")
        return []

    def resolve(self, catalogue: Catalogue, held: Holdings, seen: Mapping[str, Any]) -> Resolved:  # noqa: ARG002
        """Keep what the host holds and generate the rest. Raises SourceError."""
        self.check(catalogue)
        return Resolved(generated(catalogue, held, self.stack))


def generated(catalogue: Catalogue, held: Holdings, stack: str) -> Values:
    """Keep what the host holds and generate the rest; certificates are renewed in time."""
    from ..values import generate

    values: Values = {}
    authorities: dict[str, generate.Certified] = {}
    specs = [(secret, secret.generate) for secret in catalogue.secrets.values() if secret.generate]
    # Authorities first: the certificates need them.
    for secret, spec in sorted(specs, key=lambda pair: pair[1].type != "certificate_authority"):
        known = next(iter(held.get(secret.name, [])), None)
        if spec.type == "random":
            make = generate.random_bytes if secret.kind == "bytes" else generate.random_text
            values[secret.name] = known or fresh(secret, make(spec.bytes))
            continue
        pair = generate.load(known.value) if known else None
        if spec.type == "certificate_authority":
            fits = pair is not None and generate.authority_fits(pair, spec)
            pair = pair if pair and fits else generate.authority(stack, spec)
            authorities[secret.name] = pair
        else:
            issuer = authorities[spec.authority]
            fits = pair is not None and generate.certificate_fits(pair, spec, issuer)
            pair = pair if pair and fits else generate.certificate(spec, issuer)
        values[secret.name] = known if known and fits else fresh(secret, pair.pem())
    return values

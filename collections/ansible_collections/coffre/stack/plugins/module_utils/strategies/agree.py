"""After a service was rolled: the verifiers of its secrets accept what is deployed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..catalogue import Catalogue
from ..engines import containers
from ..host import state as states
from ..paths import StackPaths
from ..rollout.apply import Agreed
from . import DECLARED, load
from .context import Context


def agreeing(paths: StackPaths, catalogue: Catalogue, seconds: float) -> Callable[[states.State, str, bool], Agreed]:
    """What a rollout asks after each service. Repairs only what no longer authenticates; raises CoffreError."""

    def agree(st: states.State, service: str, dry: bool) -> Agreed:
        repaired, warnings = {}, []
        # Those first that the others of the same verifier are set right with, such as its admin.
        for secret in sorted(catalogue.verified_by(service), key=lambda each: not DECLARED[each.strategy].first):
            if dry and containers.to_come(paths.stack, st, service, secret.consumers[0], secret.name):
                repaired[secret.name] = ["secret"]
                continue
            record = st.secrets[secret.name]
            change = states.Change(secret.strategy, record, record)
            given = Context(paths, catalogue, replace(st, run=None), secret, change, seconds)
            found = load(secret.strategy).agree(given, dry)
            if found.repaired:
                repaired[secret.name] = found.repaired
            warnings += found.warnings
        return Agreed(repaired, warnings)

    return agree

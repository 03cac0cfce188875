"""Whether the verifiers accept what is deployed, and, after a service was rolled, that they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..catalogue import Catalogue, Secret
from ..engines import containers
from ..errors import ByHand, CoffreError
from ..host import state as states
from ..paths import StackPaths
from ..rollout.apply import STABLE_SECONDS, Agreed
from . import DECLARED, loading
from .context import Context

# Who has no health check, or has just started, is well once its own check has passed for a moment.
LOOK_SECONDS = 2 * STABLE_SECONDS


def agreeing(paths: StackPaths, catalogue: Catalogue, seconds: float) -> Callable[[states.State, str, bool], Agreed]:
    """What a rollout asks after each service. Repairs only what no longer authenticates; raises CoffreError."""

    def agree(st: states.State, service: str, dry: bool) -> Agreed:
        repaired, warnings = {}, []
        # Those first that the others of the same verifier are set right with, such as its admin.
        for secret in sorted(catalogue.verified_by(service), key=lambda each: not DECLARED[each.strategy].first):
            if dry and containers.to_come(paths, st, service, secret.consumers[0], secret.name):
                repaired[secret.name] = ["secret"]
                continue
            record = st.secrets[secret.name]
            change = states.Change(secret.strategy, record, record)
            given = Context(paths, catalogue, replace(st, run=None), secret, change, seconds)
            with given.near():
                found = loading.load(secret.strategy).agree(given, dry)
            if found.repaired:
                repaired[secret.name] = found.repaired
            warnings += found.warnings
        return Agreed(repaired, warnings)

    return agree


def refusals(
    paths: StackPaths,
    catalogue: Catalogue,
    st: states.State,
    patience: float,
    asked: Callable[[Secret], bool] = lambda secret: secret.verified,
) -> dict[str, list[str]]:
    """By secret that others verify, why they do not accept what is deployed, as sentences. Reads only.

    Secrets that an open run is about are left out.
    """
    refused: dict[str, str] = {}
    found = {}
    for name, secret in catalogue.secrets.items():
        record = st.secrets.get(name)
        if asked(secret) and record and not (st.run and name in st.run.secrets):
            change = states.Change(secret.strategy, record, record)
            given = Context(paths, catalogue, replace(st, run=None), secret, change, patience, refused=refused)
            try:
                with given.near():
                    found[name] = loading.load(secret.strategy).deployed(given)
            except CoffreError as error:
                found[name] = [str(error)]
    return found


def by_hand(paths: StackPaths, catalogue: Catalogue, st: states.State) -> str:
    """What of the running stack `agree` would meet and only a person can mend, as a sentence; "" without any."""
    asked = refusals(paths, catalogue, st, LOOK_SECONDS, lambda secret: DECLARED[secret.strategy].by_hand)
    found = [each for told in asked.values() for each in told if isinstance(each, ByHand)]
    return " ".join([*dict.fromkeys(found), "No service was changed."]) if found else ""

"""Versions of a secret that belong to several names in turn, so that the old and the new one live side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..catalogue import Secret
from ..errors import CoffreError
from ..host import state


def holder(version: state.Version, secret: Secret, attribute: str) -> str:
    """Whose a version is, by its attribute. Raises CoffreError if it names nobody."""
    found = version.attributes.get(attribute)
    if found is None:
        raise CoffreError(
            f"The version in force of {secret.name} names no {attribute}; nothing was changed: "
            f"give the secret the attribute `{attribute}` in the catalogue."
        )
    return found


def following(
    secret: Secret, old: state.Version, new: state.Version, attribute: str, names: Sequence[str]
) -> state.Version:
    """The new version, which belongs to the next name. Raises CoffreError if there is none."""
    current = holder(old, secret, attribute)
    if current not in names or len(set(names)) < 2:
        raise CoffreError(
            f"{secret.name} belongs to the {attribute} {current}, and its settings name {', '.join(names)}; nothing "
            f"was changed: let them name that {attribute} and another one."
        )
    following = names[(list(names).index(current) + 1) % len(names)]
    return dataclasses.replace(new, attributes={**new.attributes, attribute: following})

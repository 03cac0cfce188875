"""Users of a realm, made for somebody to try the stack with. The password of each is in a file of root's in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin

from ...catalogue import Catalogue
from ...compose_file import NAME
from ...errors import CoffreError
from ...host import files, tmpfs
from ...host import state as states
from ...paths import StackPaths
from ...values import generate
from ..context import Context
from .administrator import looking
from .session import answered

SECONDS = 60.0  # of patience for a Keycloak that is just being rolled
PASSWORD_BYTES = 18
MODE = 0o400


def make(
    paths: StackPaths, catalogue: Catalogue, realm: str, users: Sequence[Mapping[str, Any]], check: bool
) -> dict[str, str]:
    """Make users of a realm, or make them anew; returns the path of each one's password, by name.

    `users` are as Keycloak represents them, without credentials; the roles they name must be there. Raises CoffreError.
    """
    if wrong := [user for user in users if not NAME.fullmatch(str(user.get("username")))]:
        raise CoffreError(f"{len(wrong)} of the users have no username of a-z, 0-9 and -; none was made: give one.")
    places = {str(user["username"]): paths.people / str(user["username"]) for user in users}
    with states.locked(paths):
        context = _context(paths, catalogue)
        with context.near(), answered(f"make users of realm {realm}"), looking(context) as admin:
            if isinstance(admin, str):
                raise CoffreError(f"{admin} No user was made.")
            if not check:
                tmpfs.ensure(paths.run_root)
                paths.people.mkdir(mode=0o700, exist_ok=True)
                for user in users:
                    _make(admin, realm, user, places[str(user["username"])])
    return {name: str(path) for name, path in places.items()}


def _make(admin: KeycloakAdmin, realm: str, user: Mapping[str, Any], place: Path) -> None:
    password = generate.random_text(PASSWORD_BYTES)
    files.write(place, password, MODE)
    credential = {"type": "password", "value": password.decode(), "temporary": False}
    # An import, which takes a user whole, roles and all; one that is there goes first, with its sessions.
    whole = {"enabled": True, **user, "credentials": [credential]}
    admin.partial_import_realm(realm, {"ifResourceExists": "OVERWRITE", "users": [whole]})


def _context(paths: StackPaths, catalogue: Catalogue) -> Context:
    """What a look at the stack's Keycloak takes, while no rotation is open. Raises CoffreError."""
    found = [each for each in catalogue.secrets.values() if each.strategy == "keycloak_user"]
    st = states.load(paths)
    states.admit(st)
    if len(found) != 1 or found[0].name not in st.secrets:
        raise CoffreError(
            f"The stack {paths.stack} has no Keycloak whose admin this host knows; no user was made: deploy it first."
        )
    record = st.secrets[found[0].name]
    change = states.Change(found[0].strategy, record, record)
    return Context(paths, catalogue, replace(st, run=None), found[0], change, SECONDS)

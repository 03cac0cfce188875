"""The cells of the demo's stack: every record of three strategies, and the faults that test a promise hardest."""

from __future__ import annotations

from rotations import Site

from tests.faults import kinds
from tests.faults.cells import HEADLESS, Cell, kills

CLIENT, ADMIN, DATABASE = "keycloak-service-client-secret", "keycloak-admin-password", "keycloak-db-password"
SOON = 25  # seconds, where a container is not to become ready


def cells(site: Site) -> list[Cell]:
    """All of them; three undisturbed rotations tell which records there are."""
    return [cell for secret in (CLIENT, ADMIN, DATABASE) for cell in kills(site, secret)] + OTHERS


OTHERS = [
    # The verifier goes away: before it knows the new value, once both are live, and after the first withdrawal.
    Cell(CLIENT, "made", kinds.stopped("keycloak"), why="undo finds the store down: the run stays open"),
    Cell(CLIENT, "confirmed", kinds.silent("keycloak"), why="a store that hangs rather than refuses"),
    Cell(CLIENT, "withdrawn", kinds.down("keycloak"), next="site", why="only forward, and site.yml has to mend it"),
    Cell(ADMIN, "taught", kinds.stopped("keycloak"), why="one password lives: which one, nobody knows"),
    Cell(ADMIN, "withdrawn", kinds.stopped("keycloak"), why="the new password lives, its sessions are not ended"),
    Cell(DATABASE, "taught", kinds.stopped("postgres"), why="the new role may or may not have its password"),
    Cell(DATABASE, "withdrawn", kinds.silent("postgres"), why="the old role may or may not be shut"),
    Cell(DATABASE, "adopted", kinds.down("postgres"), patience=SOON, next="site", why="both Keycloaks lose it"),
    Cell(CLIENT, "taught", kinds.silent("postgres"), why="Keycloak itself answers, with 500 or late"),
    # What rolls does not come up: the old container serves on, and every store goes back.
    Cell(CLIENT, "app exposed", kinds.sick("app"), patience=SOON, why="undone, with the new secret taught"),
    Cell(DATABASE, "keycloak exposed", kinds.sick("keycloak"), patience=SOON, why="undone, with the new role taught"),
    # The new value is refused: the proof must see that, not the users.
    Cell(CLIENT, "proved", kinds.CLIENT_REFUSED, why="the old one was ended, too, by whoever did it"),
    Cell(ADMIN, "proved", kinds.ADMIN_REFUSED, why="no password of the run is live: never a lock-out"),
    Cell(DATABASE, "proved", kinds.ROLE_REFUSED, why="the old role is as it was"),
    Cell(DATABASE, "confirmed", kinds.ROLE_REFUSED, why="the server accepts sessions that are there, and no other"),
    # No room: for a value, for a bundle, for the record of the withdrawal itself.
    Cell(CLIENT, "made", kinds.DISK, why="Keycloak has a new secret that nobody could seal"),
    Cell(CLIENT, "confirmed", kinds.DISK, why="the withdrawal cannot be recorded, so it must not be done"),
    Cell(DATABASE, "taught", kinds.DISK, why="the state cannot be written at all, neither forward nor back"),
    Cell(DATABASE, "adopted", kinds.TMPFS, why="the new bundle has no room"),
    Cell(ADMIN, "adopted", kinds.TMPFS, why="the host's own bundle, without a container, has no room"),
    # The controller is cut off: what runs on the host goes on, to its end.
    Cell(CLIENT, "adopted", kinds.CUT, why="while it is staged"),
    Cell(DATABASE, "keycloak exposed", kinds.CUT, why="the rollout goes on without its controller"),
    Cell(ADMIN, "taught", kinds.CUT, why="the module goes on alone"),
    # The controller alone is killed, the module goes on beside the next run.
    Cell(CLIENT, "made", HEADLESS, next="rotate", why="the next run waits for the lock, then takes over"),
    Cell(ADMIN, "withdrawn", HEADLESS, next="rotate", why="finished by the dead run's module or by the next"),
    Cell(DATABASE, "keycloak exposed", HEADLESS, next="site", why="two runs roll the same service"),
]

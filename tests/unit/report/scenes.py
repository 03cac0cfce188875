"""Environments to report on, as a play has them of its modules: of any size, in order or with all that can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit import described

NOW = datetime(2026, 11, 30, 8, 12, 44, tzinfo=UTC)
SERVICES = ("database", "cache", "identity", "broker", "search", "worker", "web", "proxy")
# What consumes a secret, what verifies it, and how it is replaced; over and over.
KINDS: tuple[tuple[str, str, str | None, str], ...] = (
    ("session-key", "web", None, "key_ring"),
    ("db-password", "identity", "database", "postgres_role"),
    ("admin-password", "host", "identity", "keycloak_user"),
    ("client-secret", "web", "identity", "keycloak_client"),
    ("tls", "proxy", None, "replace"),
    ("cache-password", "worker", "cache", "redis_acl"),
    ("data-key", "worker", None, "fixed"),
    ("deployment-audit-key", "host", None, "key_ring"),
)
CHECKS = {
    "state": "7 secrets are staged for 5 consumers",
    "engine": "Docker Engine 26.1.5+dfsg1",
    "memory": "/run/coffre is a tmpfs with noswap",
    "ages": "no secret is due soon",
    "certificates": "session-tls expires on 2027-02-28",
    "containers": "8 containers run their current bundles",
    "hardening": "8 containers are held to the stack's limits",
    "logins": "accepted as deployed: db-password",
    "vault": "https://kv.vault.azure.net tells 30 versions of 7 secrets",
    "vault versions": "the host has the versions of the vault, 7 of 7",
}


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(days: float) -> str:
    return text(NOW - timedelta(days=days))


def named(count: int) -> Iterator[tuple[str, str, str | None, str]]:
    """So many secrets: (name, consumer, verifier, strategy)."""
    for number in range(count):
        name, consumer, verifier, strategy = KINDS[number % len(KINDS)]
        turn = number // len(KINDS)
        yield (f"{name}-{turn}" if turn else name), consumer, verifier, strategy


def stack(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The catalogue and the Compose file of a stack of so many secrets."""
    settings = {"redis_acl": {"service": "cache", "user": "worker"}, "postgres_role": {"service": "database"}}
    secrets = []
    for name, consumer, verifier, strategy in named(count):
        more = {"service": verifier} | settings.get(strategy, {}) if verifier else {}
        secrets.append({"name": name, "consumers": [consumer], "strategy": strategy, "settings": more})
    for each in secrets:
        if not each["settings"]:
            del each["settings"]
        elif each["strategy"] in ("keycloak_user", "keycloak_client"):
            each["settings"] = described.SETTINGS[each["strategy"]] | {"service": "identity"}
        elif each["strategy"] == "postgres_role":
            each["settings"] = described.SETTINGS["postgres_role"] | {"service": "database"}
    services = [
        {"name": name, "uid": 60600 + number, "gid": 60600 + number, "adopt": "restart"}
        for number, name in enumerate(SERVICES)
    ]
    return described.split({"secrets": secrets, "services": services})


def life(number: int, name: str, strategy: str, shift: int = 0, spoilt: bool = False) -> dict[str, Any]:
    """The life of one of a stack's secrets, on a host where all was made `shift` days earlier."""
    made = NOW - timedelta(days=(number * 7) % 74 + shift + 1)
    lasts = {"fixed": None, "key_ring": 90}.get(strategy, 90 if number % 3 else 365)
    ends = made + timedelta(days=lasts) if lasts else None
    if spoilt and number in (1, 4):
        ends = NOW - timedelta(days=12 - number)
        made = ends - timedelta(days=90)
    due = ends - timedelta(days=14) if ends else None
    ring = [
        {
            "version": f"{each:032x}",
            "created": text(made - timedelta(days=90 * each)),
            "retires": text(made + timedelta(days=31 * each)),
        }
        for each in (1, 2)
        if strategy == "key_ring" and number % 2 == 0
    ]
    certificate = (
        {"names": ["shop.example.org", "10.0.0.7"], "begins": text(made), "ends": text(ends)}
        if "tls" in name and ends
        else None
    )
    return {
        "secret": name,
        "version": f"{number:032x}",
        "created": text(made),
        "due": text(due) if due else None,
        "ends": text(ends) if ends else None,
        "rotated": text(made) if number % 2 else None,
        "ring": ring,
        "certificate": certificate,
    }


def check(
    name: str, message: str, *findings: str, ok: bool = True, remedy: str = "", skipped: bool = False
) -> dict[str, Any]:
    return {
        "check": name,
        "ok": ok,
        "warn": ok and bool(findings),
        "message": message,
        "skipped": skipped,
        "findings": list(findings),
        "remedy": remedy,
    }


def spoiled(name: str, message: str) -> dict[str, Any]:
    """A check of a stack in which something is wrong everywhere."""
    site, rotate = "run playbooks/site.yml.", "rotate it (make rotate-secret), or give the source a new value."
    match name:
        case "state":
            found = (
                "the rotation of session-key, db-password by kim is open since 2026-11-29T21:04:10Z: if nobody is at "
                "it any more, run playbooks/rotate.yml, which finishes or undoes it"
            )
            return check(name, found, found, ok=False, remedy=site)
        case "ages":
            found = "db-password is due for rotation since 2026-11-19"
            return check(name, found, found, ok=False, remedy=rotate)
        case "certificates":
            found = "tls is refused by a client: certificate has expired"
            return check(name, found, found, ok=False, remedy=rotate)
        case "containers":
            several = "web runs another bundle than the one in force", "worker restarts again and again"
            return check(name, "; ".join(several), *several, ok=False, remedy=site)
        case "logins":
            return check(name, "not checked, because of: containers", ok=False, skipped=True)
        case "hardening":
            return check(name, "proxy runs as root", "proxy runs as root")
        case "vault versions":
            found = (
                "client-secret is 0003 here and 9f2c in the vault, since 2026-11-28 10:02 UTC: the next "
                "playbooks/site.yml adopts that"
            )
            return check(name, found, found)
    return check(name, message)


def rotations(count: int, spoilt: bool) -> list[dict[str, Any]]:
    """Some rotations of the last year, the last one open where something is wrong."""
    found = []
    for number in range(9):
        began = NOW - timedelta(days=350 - 41 * number, minutes=13 * number)
        took = timedelta(seconds=34 + 41 * number)
        names = [name for name, *_ in named(count)][number % 4 : number % 4 + 1 + number % 3]
        undone = number in (3, 6)
        found.append(
            {
                "run": f"run-{number}",
                "operators": ["kim"] if number % 3 else ["coffre-rotate", "kim"] if undone else ["coffre-rotate"],
                "began": text(began),
                "ended": text(began + took),
                "outcome": "undone" if undone else "rotated",
                "secrets": {name: ["0" * 32, "1" * 32] for name in names},
                "failed": [f"{name}: proved" for name in names[:1] if undone],
            }
        )
    if spoilt:
        found[-1] |= {"outcome": "open", "began": "2026-11-29T21:04:10Z", "ended": "2026-11-29T21:04:51Z", "failed": []}
    return found


def host(name: str, count: int, shift: int = 0, spoilt: bool = False) -> dict[str, Any]:
    """What is known of a host on which a stack of so many secrets is deployed."""
    catalogue, compose_file = stack(count)
    lives = [life(number, each[0], each[3], shift, spoilt) for number, each in enumerate(named(count))]
    checks = [spoiled(*each) if spoilt else check(*each) for each in CHECKS.items()]
    vault = {
        each["secret"]: {
            "held": each["version"],
            "offered": "9f2c" * 8 if spoilt and number == 3 else each["version"],
            "since": each["created"],
            "ends": each["ends"],
        }
        for number, each in enumerate(lives)
    }
    began = {"id": "run-8", "operator": "kim", "started": "2026-11-29T21:04:10Z", "direction": "forward"}
    return {
        "host": name,
        "stack": "shop",
        "catalogue": catalogue,
        "compose_file": compose_file,
        "doctor": {
            "checks": checks,
            "lives": lives,
            "open": began | {"secrets": ["db-password", "session-key"]} if spoilt else None,
            "vault": vault,
        },
        "trail": {
            "trails": [
                {"service": "", "head": "", "said": "audit.jsonl: 214 records in order, 9 kept heads among them."}
            ],
            "rotations": rotations(count, spoilt),
        },
    }


def silent(name: str, count: int) -> dict[str, Any]:
    """What is known of a host that gave no answer."""
    said = {
        "unreachable": True,
        "msg": "Failed to connect to the host via ssh: connect to host 10.0.0.9 port 22: No route to host",
    }
    return host(name, count) | {"doctor": said, "trail": {}}


def bare(name: str, count: int) -> dict[str, Any]:
    """What is known of a host on which nothing was ever deployed."""
    found = "stack shop was never deployed on this host"
    state = check("state", found, found, ok=False, remedy="run playbooks/site.yml.")
    others = [check(each, "not checked, because of: state", ok=False, skipped=True) for each in list(CHECKS)[3:]]
    return host(name, count) | {
        "doctor": {"checks": [state, *others], "lives": [], "open": None, "vault": {}},
        "trail": {},
    }


def environment(secrets: int, hosts: int) -> list[dict[str, Any]]:
    """So many hosts: one has everything wrong, and of twenty one gives no answer and one has nothing deployed."""
    found = [host("host-01", secrets, spoilt=True)]
    found += [host(f"host-{number:02}", secrets, shift=number // 9) for number in range(2, hosts + 1)]
    if hosts > 2:
        found[-2:] = [bare(f"host-{hosts - 1:02}", secrets), silent(f"host-{hosts:02}", secrets)]
    return found


AROUND = [
    check("vault rights", "4 rights at the vault, all of them in the inventory"),
    check(
        "vault deletion",
        "the vault kv has no purge protection",
        "the vault kv has no purge protection",
        ok=False,
        remedy="run make vault.",
    ),
]

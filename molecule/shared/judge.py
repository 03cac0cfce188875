"""Says what is amiss in a stack after a rotation; runs on the stack's host, as root, with Coffre's core.

    judge.py remember ABOUT   keep the values in force and those of an open rotation, on tmpfs, for the judgement
    judge.py judge ABOUT      print {"problems": [sentence, ...], "facts": {...}} as JSON
    judge.py forget ABOUT     remove what was kept

ABOUT is JSON: {"stack", "catalogue", "compose_file", "url", "ca", "keyvault"}, the last null without a vault. `facts`
are what no rotation may change. It prints names and versions; the values stay on the host.
"""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from coffre import catalogue as catalogues
from coffre.audit import trail as audit
from coffre.engines import compose, containers
from coffre.engines.base import Container
from coffre.errors import CoffreError
from coffre.host import bundles, escrow, rings, state
from coffre.keyvault import settings as keyvault_settings
from coffre.paths import LINK, StackPaths
from coffre.strategies import DECLARED
from coffre.strategies.keycloak import session as keycloak
from coffre.strategies.postgres_role import server as postgres

REMEMBERED = Path("/run/coffre-judge")
SECONDS = 60.0
# What the client's representation has of its secrets: all else belongs to the facts.
OF_SECRETS = "client.secret."


@dataclass(frozen=True)
class Case:
    """A stack on this host."""

    about: dict[str, Any]

    @cached_property
    def paths(self) -> StackPaths:
        return StackPaths(self.about["stack"])

    @cached_property
    def catalogue(self) -> catalogues.Catalogue:
        return catalogues.parse(self.about["catalogue"], self.about["compose_file"], DECLARED)

    @cached_property
    def state(self) -> state.State:
        return state.load(self.paths)

    @cached_property
    def containers(self) -> list[Container]:
        """Once the engine, which looks only every few seconds, has seen whether they are healthy."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = compose.containers(self.paths.stack)
            if time.monotonic() > deadline or all(each.health == "healthy" for each in found):
                return found
            time.sleep(0.5)

    def value(self, secret: str) -> bytes:
        return bundles.value(self.paths, self.state, self.catalogue.secrets[secret].consumers[0], secret)

    def others(self, secret: str) -> dict[str, bytes]:
        """The values remembered that are not in force, by version."""
        folder = REMEMBERED / self.paths.stack / secret
        found = {path.name: path.read_bytes() for path in folder.glob("*")}
        return {version: value for version, value in found.items() if value != self.value(secret)}

    def of(self, strategy: str) -> list[catalogues.Secret]:
        return [each for each in self.catalogue.secrets.values() if each.strategy == strategy]


def remember(case: Case) -> None:
    """Keep every value that is or may come to be in force."""
    found = {name: {record.version: case.value(name)} for name, record in case.state.secrets.items()}
    if run := case.state.run:
        for name, values in escrow.values_by_version(case.paths, run).items():
            found[name] |= values
    for name, values in found.items():
        folder = REMEMBERED / case.paths.stack / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for version, value in values.items():
            # A vault names a version when it takes it.
            (folder / (version or "unnamed")).write_bytes(value)


def judge(case: Case) -> dict[str, Any]:
    """Everything that is amiss, and the facts."""
    problems: list[str] = []
    for check in (stored, running, mounted, ring, database, trails, answers, vault):
        try:
            problems += check(case)
        except (CoffreError, OSError) as error:
            problems.append(f"{check.__name__}: {error}")
    facts: dict[str, Any] = {}
    try:
        problems += identity(case, facts)
    except (CoffreError, OSError) as error:
        problems.append(f"identity: {error}")
    return {"problems": problems, "facts": facts}


def stored(case: Case) -> Iterator[str]:
    """No run is open; each service has one bundle, of the versions in force; no other seal or file is left."""
    st, paths = case.state, case.paths
    if st.run:
        yield f"the run {st.run.id} of {', '.join(st.run.secrets)} is open"
    seals_expected = set()
    for service, entry in st.services.items():
        if entry.next or set(entry.bundles) != {entry.current}:
            yield f"{service} has the bundles {sorted(entry.bundles)}, current {entry.current}, next {entry.next}"
        on_tmpfs = {path.name for path in paths.service(service).iterdir()} - {LINK}
        if on_tmpfs != set(entry.bundles):
            yield f"on tmpfs {service} has {sorted(on_tmpfs)}"
        seals_expected |= {paths.seal(service, bundle).name for bundle in entry.bundles}
        for bundle in entry.bundles.values():
            for secret, version in bundle.versions.items():
                if version != st.secrets[secret].version:
                    yield f"{service} has {secret} {version}, in force is {st.secrets[secret].version}"
    if extra := {path.name for path in paths.sealed.iterdir()} ^ seals_expected:
        yield f"seals too many or missing: {sorted(extra)}"
    if extra := {path.name for path in paths.run.iterdir()} ^ set(st.services):
        yield f"folders on tmpfs too many or missing: {sorted(extra)}"
    if left := [path.name for path in paths.lib.iterdir() if path.name.startswith(".")]:
        yield f"left behind: {left}"


def running(case: Case) -> Iterator[str]:
    """One healthy container per service, with the bundle in force, and no other."""
    for service in case.catalogue.services:
        own = [each for each in case.containers if each.service == service]
        if len(own) != 1 or (own[0].state, own[0].health) != ("running", "healthy"):
            yield f"containers of {service}: {[(each.name, each.state, each.health) for each in own]}"
            continue
        current = case.state.services[service].current if service in case.state.services else None
        if own[0].adopt != "reload" and own[0].bundle != current:
            yield f"{own[0].name} has bundle {own[0].bundle}, not {current}"
    if strays := [each.name for each in case.containers if each.service not in case.catalogue.services]:
        yield f"strays: {strays}"


def mounted(case: Case) -> Iterator[str]:
    """What tmpfs has, and what each container sees, is what was sealed."""
    for service, entry in case.state.services.items():
        assert entry.current
        content = bundles.unseal(case.paths, service, entry.current)
        places = [case.paths.bundle(service, entry.current)]
        places += [
            Path(f"/proc/{each.pid}/root{target}").parent
            for each in case.containers
            if each.service == service and each.adopt != "reload"
            for _, target in each.mounts[:1]
        ]
        for place in places:
            if {path.name for path in place.iterdir()} != set(content.files):
                yield f"{service}: {place} has other files than its bundle"
            elif any((place / name).read_bytes() != data for name, data in content.files.items()):
                yield f"{service}: {place} has other content than its bundle"
        link = case.paths.service(service) / LINK
        if entry.bundles[entry.current].reload and str(link.readlink()) != entry.current:
            yield f"{service}: {link} names another bundle"


def ring(case: Case) -> Iterator[str]:
    """The app accepts sessions under each unexpired key of its ring and under no other."""
    for secret in case.of(rings.STRATEGY):
        record = case.state.secrets[secret.name]
        kept = {each.version for each in record.ring if each.retires is None or each.retires > state.now()}
        if late := [each.version for each in record.ring if each.version not in kept]:
            yield f"{secret.name} still has {late} in its ring"
        for consumer in secret.consumers:
            held = set(bundles.versions(case.paths, case.state, consumer, secret.name))
            if held != kept | {record.version}:
                yield f"{consumer} holds other versions of {secret.name} than its ring"
            if "probe" not in secret.settings:
                continue
            values = bundles.versions(case.paths, case.state, consumer, secret.name)
            refused = [each for version, each in case.others(secret.name).items() if version not in kept]
            keys = {
                "current": _text(values[record.version]),
                "previous": [_text(values[each]) for each in kept],
                "refused": [_text(each) for each in refused],
            }
            command = [*secret.settings["probe"], "confirm", "127.0.0.1"]
            container = containers.healthy(case.paths, consumer)
            compose.ask(container.id, *command, stdin=json.dumps(keys), seconds=60)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def database(case: Case) -> Iterator[str]:
    """One role can log in, with the password in force; the roles are those of the catalogue."""
    for secret in case.of("postgres_role"):
        container = containers.healthy(case.paths, secret.verifier)
        server = postgres.Database(container, secret.settings.get("superuser", "postgres"))
        role, roles = case.state.secrets[secret.name].attributes["role"], secret.settings["roles"]
        owner = secret.settings["owner"]
        database = secret.settings.get("database", owner)

        def target(name: str) -> postgres.LoginRole:
            return postgres.LoginRole(database, owner, tuple(roles), name)  # noqa: B023

        if not postgres.login(server, target(role), case.value(secret.name)):
            yield f"PostgreSQL refuses {role} with {secret.name}"
        for version, value in case.others(secret.name).items():
            if any(postgres.login(server, target(each), value) is not None for each in roles):
                yield f"PostgreSQL accepts {secret.name} {version}"
        query = "SELECT rolname || ' ' || rolcanlogin || ' ' || (rolpassword IS NOT NULL) FROM pg_authid"
        rows = postgres.administer(server, [f"{query} WHERE rolname !~ '^pg_'"], "list the roles").splitlines()
        found = {name: (login, password) for name, login, password in (row.split() for row in rows)}
        if set(found) != {owner, *roles, server.superuser} or found[owner][0] == "true":
            yield f"the roles are {sorted(found)}"
        if [name for name, each in found.items() if each == ("true", "true")] != [role]:
            yield f"roles that can log in, and have a password: {found}"
        if left := [each for each in roles if each != role and postgres.sessions(server, each)]:
            yield f"sessions are left of {left}"


def identity(case: Case, facts: dict[str, Any]) -> Iterator[str]:
    """Keycloak accepts the client's secret and the admin's password in force, no other, and has nothing left over."""
    with keycloak.answered("judge it"):
        for secret in case.of("keycloak_user"):
            server = keycloak.Instance(containers.healthy(case.paths, secret.verifier)).url
            user = secret.settings["user"]
            for version, value in case.others(secret.name).items():
                with keycloak.session(server, user, value.decode()) as admin:
                    if admin is not None:
                        yield f"Keycloak lets {user} in with {secret.name} {version}"
            with keycloak.session(server, user, case.value(secret.name).decode()) as admin:
                if admin is None:
                    yield f"Keycloak refuses {user} with {secret.name}"
                    return
                facts["users"] = sorted(each["username"] for each in admin.get_users({}))
                for client in case.of("keycloak_client"):
                    yield from _client(case, server, admin, client, facts)


def _client(case: Case, server: str, admin: Any, secret: catalogues.Secret, facts: dict[str, Any]) -> Iterator[str]:
    realm, client = secret.settings["realm"], secret.settings["client"]
    value = case.value(secret.name).decode()
    if not keycloak.granted(server, realm, client, value):
        yield f"Keycloak refuses {client} with {secret.name}"
    for version, other in case.others(secret.name).items():
        if keycloak.granted(server, realm, client, other.decode()):
            yield f"Keycloak accepts {secret.name} {version}"
    admin.change_current_realm(realm)
    found = admin.get_client(admin.get_client_id(client))
    if found.pop("secret") != value:
        yield f"Keycloak's secret of {client} is not {secret.name}"
    attributes = found["attributes"]
    if "client.secret.rotated" in attributes:
        yield f"{client} has a second secret"
    found["attributes"] = {key: text for key, text in attributes.items() if not key.startswith(OF_SECRETS)}
    facts[client] = found
    for kind in ("profiles", "policies"):
        facts[kind] = json.loads(admin.connection.raw_get(f"admin/realms/{realm}/client-policies/{kind}").content)


def trails(case: Case) -> Iterator[str]:
    """The host's trail and those of services verify; the last word of each rotation is that it was closed."""
    found = audit.examine(case.paths, [], audit.trails(case.catalogue.file, {}))
    yield from (each for each in found["warnings"] if "cut short" in each)
    records = [json.loads(line) for line in case.paths.audit.read_bytes().splitlines()]
    last = {}
    for record in records:
        if record["event"] == "rotation" and record["outcome"] not in ("done", "failed"):
            last[record["secret"]] = record["outcome"]
    yield from (f"the trail leaves {name} {how}" for name, how in last.items() if how not in ("rotated", "undone"))


def answers(case: Case) -> Iterator[str]:
    """The app is ready, as a client sees it through the proxy; soon, where the host has only just started."""
    context = ssl.create_default_context(cafile=case.about["ca"] or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + SECONDS
    for path in ("/ready", "/session"):
        while True:
            try:
                opener.open(case.about["url"] + path, timeout=10).read()
                break
            except urllib.error.HTTPError as error:
                if time.monotonic() > deadline:
                    yield f"{path} answers {error.code}"
                    break
            time.sleep(0.5)


def vault(case: Case) -> Iterator[str]:
    """The vault's latest version of each secret is the one in force, and what an undone run put is disabled."""
    if not case.about["keyvault"]:
        return
    from coffre.keyvault.client import Value, Vault

    with Vault(keyvault_settings.settings(case.about["keyvault"])) as there:
        for name, record in case.state.secrets.items():
            secret = case.catalogue.secrets[name]
            versions = there.versions(secret.vault_name)
            answer = there.read({secret.vault_name: None})[secret.vault_name]
            latest = answer.properties.version if isinstance(answer, Value) else None
            if latest != record.version or not isinstance(answer, Value):
                yield f"the vault's latest version of {name} is {latest}, in force is {record.version}"
            elif secret.kind == "text" and answer.text.encode() != case.value(name):
                yield f"the vault's latest value of {name} is not the one in force"
            undone = {tag for each in versions if (tag := each.tags.get("coffre-undone"))}
            for each in versions:
                if each.enabled and each.tags.get("coffre-run") in undone:
                    yield f"the vault still offers version {each.version} of {name}, which was undone"


def main() -> None:
    case = Case(json.loads(sys.argv[2]))
    if sys.argv[1] == "remember":
        remember(case)
    elif sys.argv[1] == "forget":
        shutil.rmtree(REMEMBERED / case.paths.stack, ignore_errors=True)
    else:
        print(json.dumps(judge(case)))


if __name__ == "__main__":
    main()

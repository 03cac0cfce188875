"""The catalogue with its Compose file: what is read, and every refusal by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import environments
import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, parse
from ansible_collections.coffre.stack.plugins.module_utils.engines.swarm import file
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError
from ansible_collections.coffre.stack.plugins.module_utils.strategies import DECLARED
from tests.unit import described
from tests.unit.images.render import rendered

Change = Callable[[dict[str, Any]], object]
SECRET = {"name": "x", "strategy": "replace", "host": True}
AUTHORITY = {"type": "certificate_authority", "names": ["example.org", "10.0.0.1"], "days": 10}
CLIENT = {"service": "keycloak", "realm": "iam", "client": "cli"}
ROLE = {"service": "postgres", "owner": "o", "roles": ["a", "b"]}


@pytest.fixture
def whole(data: dict[str, Any]) -> dict[str, Any]:
    """A catalogue under its own keys, and its Compose file under `compose`."""
    catalogue, compose = described.split(data)
    return catalogue | {"compose": compose}


def read(whole: dict[str, Any]) -> Catalogue:
    return parse({key: value for key, value in whole.items() if key != "compose"}, whole["compose"], DECLARED)


def secret(position: int = 0, **changes: Any) -> Change:
    return lambda data: data["secrets"][position].update(changes)


def service(name: str = "app", **changes: Any) -> Change:
    return lambda data: data["compose"]["services"][name].update(changes)


def template(**changes: Any) -> Change:
    return lambda data: data["files"][0].update(changes)


def lists(name: str, *secrets: str) -> Change:
    return lambda data: data["compose"]["services"][name]["secrets"].extend(secrets)


def certificate(name: str) -> Change:
    generate = {"type": "certificate", "authority": "ca", "names": [name], "days": 1}
    return lambda data: data["secrets"].extend(
        [SECRET | {"name": "ca", "generate": AUTHORITY}, SECRET | {"name": "cert", "generate": generate}]
    )


def test_reads_every_field(whole: dict[str, Any]) -> None:
    catalogue = read(whole)
    assert list(catalogue.secrets) == ["api-key", "api-key-2", "blob", "db-password", "tls"]
    assert catalogue.consumed("app") == ["api-key", "api-key-2", "blob"]
    assert [each.name for each in catalogue.receivers()] == ["app", "db-client", "proxy", "host"]
    assert [(each.name, each.uid, each.adopt) for each in catalogue.receivers()] == [
        ("app", 60611, "start_first"),
        ("db-client", 60612, "restart"),
        ("proxy", 60614, "reload"),
        ("host", 0, "restart"),
    ]
    client = catalogue.services["db-client"]
    assert catalogue.files(client) == {"client.conf": ["db-password"]}
    assert client.files[0].render(lambda name, attribute: f"<{attribute or name}>") == (
        "user=<role>\npassword=<db-password>\nmail=a@b\n"
    )
    assert catalogue.secrets["db-password"].verified
    assert [each.name for each in catalogue.verified_by("postgres")] == ["db-password"]
    assert not catalogue.secrets["api-key"].verified


def test_who_consumes_what_follows_from_the_file_in_the_order_in_which_it_comes_up(whole: dict[str, Any]) -> None:
    whole["compose"]["services"]["app"]["depends_on"] = ["proxy"]
    lists("proxy", "api-key-2", "client.conf")(whole)
    lists("app", "db-password")(whole)
    catalogue = read(whole)
    assert list(catalogue.services) == ["db-client", "proxy", "app", "keycloak", "postgres"]
    assert catalogue.secrets["api-key-2"].consumers == ("proxy", "app", "host")  # the host follows from the strategy
    assert catalogue.secrets["db-password"].consumers == ("db-client", "proxy", "app")
    assert catalogue.secrets["api-key"].consumers == ("app",)


def test_a_secret_listed_alone_lies_beside_the_file_that_it_is_in(whole: dict[str, Any]) -> None:
    lists("db-client", "db-password")(whole)
    catalogue = read(whole)
    files = catalogue.files(catalogue.services["db-client"])
    assert files == {"client.conf": ["db-password"], "db-password": ["db-password"]}


def test_two_services_may_have_a_uid_in_common(whole: dict[str, Any]) -> None:
    service(user="60612:60612")(whole)
    assert {each.uid for each in read(whole).receivers()} == {60612, 60614, 0}


@pytest.mark.parametrize("environment", ["demo", "staging", "production"])
def test_the_catalogues_of_the_environments_are_right(environment: str) -> None:
    name = "{{ stack_public_url | urlsplit('hostname') }}"
    text = json.dumps(environments.catalogue(environment)).replace(name, "iam.example.org")
    catalogue = parse(json.loads(text), rendered(), DECLARED)
    assert list(catalogue.services) == ["postgres", "keycloak", "proxy", "app"]
    assert catalogue.files(catalogue.services["keycloak"]) == {"keycloak.conf": ["keycloak-db-password"]}
    assert catalogue.consumed("postgres") == []
    assert [file.name for file in catalogue.services["app"].files] == ["versions.json"]
    assert not catalogue.services["app"].composed
    assert catalogue.consumed("app") == [
        "audit-log-signing-key",
        "flask-secret-key",
        "keycloak-service-client-secret",
    ]
    assert catalogue.secrets["keycloak-admin-password"].consumers == ("host",)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_environment_is_a_swarm_by_one_setting(environment: str) -> None:
    name = "{{ stack_public_url | urlsplit('hostname') }}"
    text = json.dumps(environments.catalogue(environment, stack_engine="swarm")).replace(name, "iam.example.org")
    catalogue = parse(json.loads(text), rendered(stack_catalogue=json.loads(text)), DECLARED)
    assert catalogue.consumed("postgres") == ["postgres-initial-password"]
    assert file.problems(catalogue) == []


PROBLEMS: list[tuple[Change, str]] = [
    (secret(consumers=["app"]), "secret api-key has an unknown key `consumers`"),
    (service(secrets=[]), "secret api-key is nobody's: list it under secrets of a service, or say host: true"),
    (lists("db-client", "nobody"), "service db-client lists nobody under secrets, which the catalogue has neither as"),
    (lists("app", "api-key"), "service app lists api-key twice"),
    (lists("app", "client.conf", "client.conf"), "service app lists client.conf twice"),
    (secret(host="yes"), "secret api-key: host is 'yes': use one of True, False"),
    (secret(host=True), ""),
    (secret(name="api-key-2"), "the secret api-key-2 is there twice"),
    (secret(name="API"), "the secret name 'API' is ill-formed"),
    (secret(name="../x"), "the secret name '../x' is ill-formed"),
    (secret(name="a" * 64), "is ill-formed"),
    (secret(name=7), "the secret name 7 is ill-formed"),
    (secret(kind="number"), "secret api-key: kind is 'number': use one of text, bytes"),
    (secret(strategy="hope"), "secret api-key: strategy is 'hope'"),
    (secret(value="canary"), "secret api-key has an unknown key `value`"),
    (secret(max_age_days=0), "secret api-key: max_age_days must be a whole number from 1 to 36500"),
    (secret(settings=[]), ""),
    (secret(settings="x"), "secret api-key: settings must be a mapping"),
    (secret(settings={"keep_days": None, "mount_previous": False}), ""),
    (secret(settings={"signers": ["app", "proxy"]}), ""),
    (secret(settings={"signers": ["app", "gone"]}), "api-key: its settings name the service gone, which the Compose"),
    (secret(settings={"signers": "app"}), "secret api-key: settings.signers must be a list of services"),
    (secret(settings={"keep_days": 0, "probe": ["python", "-m", "proof"]}), ""),
    (secret(settings={"keep_days": -1}), "secret api-key: settings.keep_days must be a whole number from 0 to 36500"),
    (secret(settings={"keep": 1}), "secret api-key: settings has an unknown key `keep`"),
    (secret(strategy="keycloak_client", settings=CLIENT), ""),
    (secret(strategy="keycloak_client"), "secret api-key: settings lacks `client`"),
    (secret(strategy="keycloak_client", settings={"realm": "iam"}), "secret api-key: settings lacks `service`"),
    (secret(strategy="keycloak_client", settings=CLIENT | {"service": "gone"}), "api-key: its settings name the ser"),
    (secret(strategy="keycloak_user", settings={"service": "keycloak"}), "secret api-key: settings lacks `realm`"),
    (secret(3, settings={}), "secret db-password: settings lacks `owner`"),
    (secret(strategy="keycloak_client", settings={"user": "cli"}), "api-key: settings has an unknown key `user`"),
    (secret(strategy="keycloak_user", settings={"realm": "master", "name": 1}), "settings has an unknown key `name`"),
    (secret(3, settings=ROLE | {"database": "d"}), ""),
    (secret(3, settings=ROLE | {"owners": "o"}), "secret db-password: settings has an unknown key `owners`"),
    (
        secret(strategy=["hope"], settings={"realm": 1}),
        "secret api-key: strategy is ['hope']: use one of ",
    ),
    (secret(settings={"mount_previous": "no"}), "settings.mount_previous is 'no': use one of True, False"),
    (secret(settings={"probe": "python"}), "settings.probe must be a list of words of a command"),
    (secret(settings={"trail": {"volume": "v"}}), "secret api-key: settings has an unknown key `trail`"),
    (secret(2, settings={"names": ["a.example", "10.0.0.1"], "port": 8443}), ""),
    (secret(2, settings={"names": ["A Name"]}), "secret blob: settings.names has an ill-formed entry 'A Name'"),
    (secret(2, settings={"port": 0}), "secret blob: settings.port must be a whole number from 1 to 65535"),
    (secret(attributes={"Role": "x"}), "secret api-key: attributes must map names"),
    (secret(attributes={"role": 1}), "secret api-key: attributes must map names"),
    (secret(keyvault={"name": "Api-Key", "version": "0" * 32}), ""),
    (secret(keyvault={"name": "api_key"}), "secret api-key: keyvault: the name 'api_key' is ill-formed"),
    (secret(keyvault={"version": "latest"}), "secret api-key: keyvault: the version 'latest' is ill-formed"),
    (secret(keyvault={"value": "x"}), "secret api-key: keyvault has an unknown key `value`"),
    (secret(keyvault="x"), "secret api-key: keyvault is not a mapping"),
    (secret(keyvault={"name": "API-Key-2"}), "the vault's name api-key-2 is that of two secrets"),
    (secret(generate={"type": "magic"}), "secret api-key: generate has the unknown type 'magic'"),
    (secret(generate={"type": "random"}), "secret api-key: generate (random) lacks `bytes`"),
    (secret(generate={"type": "random", "bytes": 8}), "generate.bytes must be a whole number from 16 to 1024"),
    (secret(generate={"type": "random", "bytes": 16, "days": 1}), "(random) has no use for `days`"),
    (secret(2, generate=AUTHORITY), "secret blob: a certificate_authority is text, not bytes"),
    (secret(generate=AUTHORITY | {"names": ["Not A Name"]}), "generate.names has an ill-formed entry 'Not A Name'"),
    (secret(generate=AUTHORITY | {"names": ["999.1.1.1"]}), "generate.names has an ill-formed entry '999.1.1.1'"),
    (certificate("example.org"), ""),
    (certificate("www.example.org"), ""),
    (certificate("10.0.0.1"), ""),
    (certificate("badexample.org"), "secret cert: its authority ca is not for badexample.org"),
    (
        secret(generate={"type": "certificate", "authority": "ca", "names": ["a"], "days": 1}),
        "secret api-key: 'ca' is no certificate_authority of the catalogue",
    ),
    (lambda data: data["secrets"].append("text"), "secret number 6 is not a mapping"),
    (lambda data: data.update(secrets={}), "`secrets` must be a list"),
    (lambda data: data.update(services=[]), "it has an unknown key `services`"),
    (lambda data: data.update(files={}), "`files` must be a list"),
    (lambda data: data["compose"]["services"]["app"].pop("user"), "service app has secrets, so say whose their files"),
    (lambda data: data["compose"]["services"]["keycloak"].pop("user", None), ""),  # it has no secrets
    (service(user="app:app"), "service app has secrets, so say whose their files are, in numbers"),
    (service(user="60611"), "service app has secrets, so say whose their files are, in numbers"),
    (service(user="0:0"), ""),
    (service(user="65534:65534"), "service app: uid 65534 is nobody's"),
    (service(user="65535:1"), "service app: uid 65535 is nobody's"),
    (service(container_name="app"), "The Compose file cannot be honoured: service app says container_name"),
    (lambda data: data["compose"]["services"].update(host={"image": "x"}), "the service name 'host' is ill-formed"),
    (lambda data: data["compose"]["services"].update({"a/b": {"image": "x"}}), "the service name 'a/b' is ill-formed"),
    (template(template="x=@{missing}"), "the template of client.conf names the unknown secret missing"),
    (template(template="x=@{blob}"), "the template of client.conf names blob, which is bytes, not text"),
    (template(value="canary"), "file number 1 has an unknown key `value`"),
    (lambda data: data["files"].append(dict(data["files"][0])), "the file client.conf is there twice"),
    (secret(attributes={"version": "1"}), "secret api-key: the attribute version is there already"),
    (template(template="x=@{db-password.version} @{blob.created}"), ""),
    (template(template="x=@{db-password.owner}"), "names the attribute owner, which db-password does not have"),
    (template(template="x=@{db-password}@{BAD}"), "has an ill-formed reference after @{"),
    (template(template="nothing"), "refers to no secret"),
    (template(alphabet="a]b"), "the alphabet of client.conf is ill-formed"),
    (template(alphabet="z-a"), "the alphabet of client.conf is ill-formed"),
    (template(name="current"), "the file name 'current' is ill-formed"),
    (template(name="../conf"), "the file name '../conf' is ill-formed"),
]


@pytest.mark.parametrize(("change", "sentence"), PROBLEMS, ids=[sentence or "right" for _, sentence in PROBLEMS])
def test_says_what_is_wrong(whole: dict[str, Any], change: Change, sentence: str) -> None:
    change(whole)
    if not sentence:
        read(whole)
        return
    with pytest.raises(CatalogueError) as caught:
        read(whole)
    assert sentence in str(caught.value)
    assert "canary" not in str(caught.value)


def test_says_everything_at_once(whole: dict[str, Any]) -> None:
    secret(kind="number")(whole)
    lists("app", "nobody")(whole)
    template(alphabet="z-a")(whole)
    service(container_name="app", scale=2)(whole)
    with pytest.raises(CatalogueError) as caught:
        read(whole)
    catalogue, _, file = str(caught.value).partition(" The Compose file cannot be honoured: ")
    for clause in ("kind is 'number'", "lists nobody", "the alphabet of client.conf"):
        assert clause in catalogue
    assert file.count("service app says ") == 2


def test_a_secret_and_a_file_of_one_name(whole: dict[str, Any]) -> None:
    whole["secrets"].append(SECRET | {"name": "client-conf"})
    template(name="client-conf")(whole)
    with pytest.raises(CatalogueError, match="a secret and a file are both called client-conf"):
        read(whole)


@pytest.mark.parametrize("data", [None, [], "text", {}, {"secrets": 1, "more": 3}, {"secrets": [None], "files": [7]}])
def test_what_is_no_catalogue(data: Any) -> None:
    with pytest.raises(CatalogueError, match="The catalogue is wrong"):
        parse(data, {"services": {"app": {"image": "x"}}}, DECLARED)


@pytest.mark.parametrize("compose", [None, [], "text", {}, {"services": {}}, {"services": ["app"]}])
def test_what_is_no_compose_file(whole: dict[str, Any], compose: Any) -> None:
    with pytest.raises(CatalogueError, match="The Compose file cannot be honoured: the Compose file has no services"):
        read(whole | {"compose": compose})

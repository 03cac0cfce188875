from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import environments
import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import parse
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError

Change = Callable[[dict[str, Any]], object]
SECRET = {"name": "x", "consumers": ["app"], "strategy": "replace"}
AUTHORITY = {"type": "certificate_authority", "names": ["example.org", "10.0.0.1"], "days": 10}


def secret(position: int = 0, **changes: Any) -> Change:
    return lambda data: data["secrets"][position].update(changes)


def service(position: int = 0, **changes: Any) -> Change:
    return lambda data: data["services"][position].update(changes)


def template(**changes: Any) -> Change:
    return lambda data: data["services"][1]["files"][0].update(changes)


def certificate(name: str) -> Change:
    generate = {"type": "certificate", "authority": "ca", "names": [name], "days": 1}
    return lambda data: data["secrets"].extend(
        [SECRET | {"name": "ca", "generate": AUTHORITY}, SECRET | {"name": "cert", "generate": generate}]
    )


def test_reads_every_field(data: dict[str, Any]) -> None:
    catalogue = parse(data)
    assert list(catalogue.secrets) == ["api-key", "api-key-2", "blob", "db-password", "tls"]
    assert catalogue.consumed("app") == ["api-key", "api-key-2", "blob"]
    assert [each.name for each in catalogue.receivers()] == ["app", "db-client", "proxy", "host"]
    client = catalogue.services["db-client"]
    assert catalogue.files(client) == {"client.conf": ["db-password"]}
    assert client.files[0].render(lambda name, attribute: f"<{attribute or name}>") == (
        "user=<role>\npassword=<db-password>\nmail=a@b\n"
    )
    assert catalogue.secrets["db-password"].verified
    assert not catalogue.secrets["api-key"].verified


@pytest.mark.parametrize("environment", ["demo", "staging", "production"])
def test_the_catalogues_of_the_environments_are_right(environment: str) -> None:
    name = "{{ stack_public_url | urlsplit('hostname') }}"
    text = json.dumps(environments.catalogue(environment)).replace(name, "iam.example.org")
    catalogue = parse(json.loads(text))
    assert catalogue.files(catalogue.services["keycloak"]) == {"keycloak.conf": ["keycloak-db-password"]}
    assert catalogue.consumed("postgres") == []


PROBLEMS: list[tuple[Change, str]] = [
    (secret(consumers=["nobody"]), "secret api-key: its consumer nobody is no service of the catalogue"),
    (secret(consumers=[]), "secret api-key: consumers must be a list of services"),
    (secret(consumers="app"), "secret api-key: consumers must be a list of services"),
    (secret(consumers=["app", "app"]), "secret api-key: consumers names app twice"),
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
    (secret(settings={"keep_days": None, "mount_previous": False, "trail": {"volume": "v", "file": "f"}}), ""),
    (secret(settings={"keep_days": 0, "probe": ["python", "-m", "proof"]}), ""),
    (secret(settings={"keep_days": -1}), "secret api-key: settings.keep_days must be a whole number from 0 to 36500"),
    (secret(settings={"keep": 1}), "secret api-key: settings has an unknown key `keep`"),
    (secret(strategy="keycloak_client", settings={"realm": "iam", "client": "cli"}), ""),
    (secret(strategy="keycloak_client", settings={"user": "cli"}), "api-key: settings has an unknown key `user`"),
    (secret(strategy="keycloak_user", settings={"realm": "master", "name": 1}), "settings has an unknown key `name`"),
    (secret(3, settings={"owner": "o", "roles": ["a", "b"], "database": "d"}), ""),
    (secret(3, settings={"owners": "o"}), "secret db-password: settings has an unknown key `owners`"),
    (
        secret(strategy=["hope"], settings={"realm": 1}),
        "secret api-key: strategy is ['hope']: use one of key_ring, key",
    ),
    (secret(settings={"mount_previous": "no"}), "settings.mount_previous is 'no': use one of True, False"),
    (secret(settings={"probe": "python"}), "settings.probe must be a list of words of a command"),
    (secret(settings={"trail": {"file": "f"}}), "secret api-key: settings.trail lacks `volume`"),
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
    (lambda data: data.pop("services"), "it lacks `services`"),
    (lambda data: data["services"][0].pop("uid"), "service app lacks `uid`"),
    (service(uid="60611"), "service app: uid must be a whole number"),
    (service(uid=0), "service app: uid must be a whole number"),
    (service(uid=True), "service app: uid must be a whole number"),
    (service(uid=65534), "service app: uid 65534 is nobody's"),
    (service(uid=60612), "the services app and db-client share uid 60612"),
    (service(adopt="later"), "service app: adopt is 'later'"),
    (service(name="host"), "the service name host is reserved"),
    (service(name="proxy"), "the service proxy is there twice"),
    (service(name="a/b"), "the service name 'a/b' is ill-formed"),
    (template(template="x=@{missing}"), "the template of client.conf names the unknown secret missing"),
    (template(template="x=@{api-key}"), "names api-key, which the service does not consume"),
    (template(template="x=@{db-password.owner}"), "names the attribute owner, which db-password does not have"),
    (template(template="x=@{db-password}@{BAD}"), "has an ill-formed reference after @{"),
    (template(template="nothing"), "refers to no secret"),
    (template(alphabet="a]b"), "the alphabet of client.conf is ill-formed"),
    (template(alphabet="z-a"), "the alphabet of client.conf is ill-formed"),
    (template(name="current"), "the file name 'current' is ill-formed"),
    (template(name="../conf"), "the file name '../conf' is ill-formed"),
]


@pytest.mark.parametrize(("change", "sentence"), PROBLEMS, ids=[sentence or "right" for _, sentence in PROBLEMS])
def test_says_what_is_wrong(data: dict[str, Any], change: Change, sentence: str) -> None:
    change(data)
    if not sentence:
        parse(data)
        return
    with pytest.raises(CatalogueError) as caught:
        parse(data)
    assert sentence in str(caught.value)
    assert "canary" not in str(caught.value)


def test_says_everything_at_once(data: dict[str, Any]) -> None:
    secret(consumers=["nobody"])(data)
    service(adopt="later")(data)
    template(alphabet="z-a")(data)
    with pytest.raises(CatalogueError) as caught:
        parse(data)
    assert str(caught.value).count(";") == 2


def test_two_files_of_one_name(data: dict[str, Any]) -> None:
    data["secrets"].append(SECRET | {"name": "client.conf".replace(".", "-"), "consumers": ["db-client"]})
    template(name="client-conf")(data)
    with pytest.raises(CatalogueError, match="two files of its bundle are called client-conf"):
        parse(data)


@pytest.mark.parametrize("data", [None, [], "text", {}, {"secrets": 1, "services": 2, "more": 3}])
def test_what_is_no_catalogue(data: Any) -> None:
    with pytest.raises(CatalogueError, match="The catalogue is wrong"):
        parse(data)

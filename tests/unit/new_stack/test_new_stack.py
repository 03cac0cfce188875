"""A folder is made of a Compose file, whole or not at all, and no value that was read is in it or in what is said."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.coffre.stack.plugins.module_utils import catalogue, strategies
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.new_stack import kinds
from ansible_collections.coffre.stack.plugins.module_utils.new_stack.__main__ import main, new_stack
from ansible_collections.coffre.stack.plugins.module_utils.new_stack.write import free_ports, free_uids

CANARY = "canary"
SHOP: dict[str, Any] = {
    "services": {
        "web": {
            "build": "./app",
            "environment": {"DATABASE_URL": "postgresql://shop:${DB_PASSWORD}@db/shop", "DEBUG": "${DEBUG:-false}"},
            "depends_on": {"db": {"condition": "service_healthy"}},
        },
        "db": {
            "image": "postgres:17",
            "environment": ["POSTGRES_USER=shop", "POSTGRES_PASSWORD=${DB_PASSWORD}"],
            "volumes": ["data:/var/lib/postgresql/data"],
        },
    },
    "volumes": {"data": None},
}


class Folder:
    """A checkout with an empty inventory, a Compose file beside it, and what was made of that."""

    def __init__(self, path: Path) -> None:
        self.path, self.root = path, path / "checkout"
        (self.root / "inventory").mkdir(parents=True)

    def make(self, data: Any, name: str = "mine", **files: str) -> Folder:
        for file, text in files.items():
            (self.path / file.replace("_env", ".env").replace("__", "/")).write_text(text)
        (self.path / "compose.yaml").write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        self.said = new_stack(self.root, name, str(self.path / "compose.yaml"))
        self.folder = self.root / "inventory" / name
        everything = self.said + "".join(path.read_text() for path in self.folder.rglob("*") if path.is_file())
        assert CANARY not in everything
        filled = yaml.safe_load((self.folder / "compose.yaml").read_text().replace("FILL-IN", "word"))
        catalogue.parse(self.variables("catalogue")["stack_catalogue"], filled, strategies.DECLARED)
        return self

    @property
    def compose(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.folder / "compose.yaml").read_text()))

    def variables(self, file: str) -> dict[str, Any]:
        return dict(yaml.safe_load((self.folder / f"group_vars/all/{file}.yml").read_text()))

    @property
    def secrets(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.variables("catalogue")["stack_catalogue"]["secrets"]}

    @property
    def files(self) -> dict[str, str]:
        return {each["name"]: each["template"] for each in self.variables("catalogue")["stack_catalogue"]["files"]}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that something listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def one(**service: Any) -> dict[str, Any]:
    return {"services": {"web": {"image": "web:1", **service}}}


def test_a_stack_of_its_own_to_begin_with(folder: Folder) -> None:
    said = new_stack(folder.root, "shop", "")
    folder.folder = folder.root / "inventory/shop"
    catalogue.parse(folder.variables("catalogue")["stack_catalogue"], folder.compose, strategies.DECLARED)
    assert "make quickstart ENV=shop" in said and "TODO" not in said
    assert folder.compose["x-coffre"] == {"harden": True}
    assert folder.compose["services"]["web"]["secrets"] == ["web-key"]
    assert set(folder.secrets) == {"web-key", "deployment-audit-key"}
    assert folder.variables("stack")["stack_name"] == "shop"


def test_a_password_of_postgres_belongs_to_roles_that_take_turns(folder: Folder) -> None:
    made = folder.make(SHOP, _env=f"DB_PASSWORD={CANARY}-db\nDEBUG=true\n")
    web, db = made.compose["services"]["web"], made.compose["services"]["db"]
    assert made.files == {"database-url": "postgresql://@{db-password.role}:@{db-password}@db/shop"}
    assert (web["secrets"], web["x-coffre"]) == (["database-url"], {"environment": {"DATABASE_URL": "database-url"}})
    assert (web["environment"], web["depends_on"]) == ({"DEBUG": "true"}, ["db"])
    assert web["build"] == {"context": str(folder.path / "app")}
    assert made.secrets["db-password"]["settings"] == {
        "service": "db",
        "superuser": "shop",
        "owner": "shop",
        "database": "shop",
        "roles": ["shop_a", "shop_b"],
    }
    assert db["secrets"] == ["db-first-password"]
    assert db["environment"] == {
        "POSTGRES_USER": "shop",
        "POSTGRES_PASSWORD_FILE": "/run/secrets/db-first-password",
    }
    assert made.secrets["db-first-password"]["strategy"] == "fixed"
    origins = made.variables("move_in")["stack_move_in"]["values"]
    assert origins["db-password"] == {"service": "db", "variable": "POSTGRES_PASSWORD"}
    assert origins["db-first-password"] == {"service": "db", "variable": "POSTGRES_PASSWORD"}


def test_a_user_beside_the_password_takes_turns_too(folder: Folder) -> None:
    data = json.loads(json.dumps(SHOP))
    data["services"]["web"]["environment"] = {"DB_USER": "shop", "DB_PASSWORD": "${DB_PASSWORD}"}
    web = folder.make(data).compose["services"]["web"]
    assert web["x-coffre"]["environment"] == {"DB_PASSWORD": "db-password", "DB_USER": "db-password-user"}
    assert folder.files == {"db-password-user": "@{db-password.role}"}


def test_whoever_has_the_users_name_elsewhere_keeps_the_password(folder: Folder) -> None:
    data = json.loads(json.dumps(SHOP))
    data["services"]["web"]["environment"] = {"DB_PASSWORD": "${DB_PASSWORD}"}
    assert folder.make(data).secrets["db-password"]["strategy"] == "fixed"


@pytest.mark.parametrize(
    ("variable", "strategy"),
    [
        ("SECRET_KEY", "key_ring"),
        ("JWT_SECRET", "key_ring"),
        ("FERNET_KEY", "fixed"),
        ("APP_ENCRYPTION_KEY", "fixed"),
        ("PASSWORD_SALT", "fixed"),
        ("STRIPE_API_KEY", "replace"),
        ("ADMIN_PASSWORD", "replace"),
        ("SMTP_PASS", "replace"),
        ("GITHUB_TOKEN", "replace"),
        ("VAPID_PRIVATE_KEY", "replace"),
    ],
)
def test_what_a_variable_is_by_its_name(folder: Folder, variable: str, strategy: str) -> None:
    made = folder.make(one(environment={variable: f"${{{variable}}}"}), _env=f"{variable}='{CANARY} value'\n")
    secret = next(each for name, each in made.secrets.items() if name != "deployment-audit-key")
    assert secret["strategy"] == strategy
    assert made.compose["services"]["web"]["environment"] == {}
    assert list(made.compose["services"]["web"]["x-coffre"]["environment"]) == [variable]


@pytest.mark.parametrize(
    "variable",
    ["PUBLIC_KEY", "AWS_ACCESS_KEY_ID", "TOKEN_TTL", "JWT_ALGORITHM", "POSTGRES_PASSWORD_FILE", "MONKEY", "COMPASS"],
)
def test_a_name_that_only_speaks_of_a_credential(variable: str) -> None:
    assert not kinds.credential(variable)


@pytest.mark.parametrize(
    "text", ["${TOKEN}", f"{CANARY}-literal", f"${{TOKEN:-{CANARY}}}", f"${{A:-{CANARY}}}", "a $TOKEN b"]
)
@pytest.mark.parametrize("place", ["environment", "list"])
def test_no_value_is_shown_wherever_it_stood(folder: Folder, text: str, place: str) -> None:
    environment = {"API_TOKEN": text} if place == "environment" else [f"API_TOKEN={text}"]
    folder.make(one(environment=environment), _env=f"TOKEN={CANARY}\nA={CANARY}\n")
    assert folder.compose["services"]["web"]["secrets"]


@pytest.mark.parametrize(
    ("service", "env"),
    [
        ({"command": "serve --token ${API_TOKEN}"}, f"API_TOKEN={CANARY}"),
        ({"command": ["serve", f"redis://:{CANARY}@cache/0"]}, ""),
        ({"labels": {"auth": "${API_TOKEN}"}}, f"API_TOKEN={CANARY}"),
        ({"environment": {"OTHER": "${PLAIN}", "KEY_B": "${PLAIN}"}}, f"PLAIN={CANARY}"),
        ({"environment": {"NOTE": "${PLAIN}"}}, f"PLAIN={CANARY}&c3VwZXI"),
        ({"env_file": ".env"}, f"API_TOKEN={CANARY}\nSMTP_PASSWORD={CANARY}"),
        ({"environment": {"HOOK": f"https://me:{CANARY}@hooks/x"}}, ""),
        ({"environment": {"PEM": f"-----BEGIN PRIVATE KEY-----\n{CANARY}"}}, ""),
    ],
)
def test_no_value_is_shown_in_other_places(folder: Folder, service: dict[str, Any], env: str) -> None:
    folder.make(one(**service), _env=env)


def test_a_url_is_composed_and_the_secret_in_it_is_one(folder: Folder) -> None:
    url = f"redis://:{CANARY}{CANARY}{CANARY}@cache:6379/0"
    data = one(environment={"REDIS_URL": url})
    data["services"]["cache"] = {
        "image": "redis:7",
        "command": f"redis-server --requirepass {CANARY * 3} --appendonly yes",
    }
    made = folder.make(data)
    assert made.files == {"redis-url": "redis://:@{redis-password}@cache:6379/0"}
    assert [each["strategy"] for each in made.secrets.values()] == ["redis_acl", "key_ring"]
    cache = made.compose["services"]["cache"]
    assert cache["command"][3:] == ["redis", "redis-server", "--appendonly", "yes"]
    assert "--aclfile /data/users.acl" in cache["command"][2]
    assert (cache["volumes"], made.compose["volumes"]) == (["cache-data:/data"], {"cache-data": None})


def test_files_are_secrets_where_they_were(folder: Folder) -> None:
    (folder.path / "tls.key").write_text(CANARY)
    data = one(volumes=["./tls.key:/etc/tls/tls.key:ro", "./data:/data", "named:/x"], secrets=["db_password"])
    data |= {"secrets": {"db_password": {"file": "./db.txt"}}, "volumes": {"named": None}}
    made = folder.make(data)
    web = made.compose["services"]["web"]
    assert web["volumes"] == [f"{folder.path}/data:/data", "named:/x"]
    assert {"source": "tls-key", "target": "/etc/tls/tls.key"} in web["secrets"]
    assert {"source": "db-password", "target": "db_password"} in web["secrets"]
    assert made.secrets["tls-key"]["kind"] == "bytes" and "generate" not in made.secrets["tls-key"]
    assert made.variables("stack")["stack_secrets_source"] == "file"
    assert made.variables("move_in")["stack_move_in"]["values"]["tls-key"] == {"file": str(folder.path / "tls.key")}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (one(container_name="x"), "container_name was left out"),
        (one(extends={"file": "a", "service": "b"}), "extends was left out"),
        (one(profiles=["a"]), "profiles was left out"),
        (one(network_mode="host"), "network_mode was kept"),
        (one(volumes=["./a:/a"]), "it mounts ./a, which is relative"),
        (one(volumes=["/var/run/docker.sock:/var/run/docker.sock"]), "by which it is root on the host"),
        (one(depends_on={"web": {"condition": "service_completed_successfully"}}), "it waits for the end of web"),
        ({**one(), "include": ["a"]}, "The file's `include` was left out"),
        ({**one(), "volumes": {"a": None, "b": {"external": True}}}, "The volumes a begin empty"),
        (one(environment={"MODE": "${MODE}"}), "needs $MODE in MODE, which has no value here"),
        (one(environment=["MODE"]), "takes $MODE from the shell"),
    ],
)
def test_what_cannot_be_honoured_is_named(folder: Folder, data: dict[str, Any], sentence: str) -> None:
    assert sentence in folder.make(data).said
    assert sentence in (folder.folder / "TODO.md").read_text()


def test_a_service_whose_name_is_none_is_still_reached_by_it(folder: Folder) -> None:
    data = {
        "services": {"my_web": {"image": "web", "depends_on": ["my_db"]}, "my_db": {"image": "db", "networks": ["a"]}},
        "networks": {"a": None},
    }
    services = folder.make(data).compose["services"]
    assert services["my-web"]["depends_on"] == ["my-db"]
    assert services["my-db"]["networks"] == {"a": {"aliases": ["my_db"]}}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "no name"),
        ("Shop", "ill-formed"),
        ("a/b", "ill-formed"),
        ("there", "inventory/there is there"),
        ("used", "calls"),
    ],
)
def test_a_name_that_is_refused_writes_nothing(folder: Folder, name: str, sentence: str) -> None:
    variables = folder.root / "inventory/there/group_vars/all"
    variables.mkdir(parents=True)
    (variables / "stack.yml").write_text("---\nstack_name: used\n")
    before = sorted(folder.root.rglob("*"))
    with pytest.raises(CoffreError, match=sentence):
        new_stack(folder.root, name, "")
    assert sorted(folder.root.rglob("*")) == before


@pytest.mark.parametrize(
    "text", [f"{CANARY}: [", CANARY, f"services: {CANARY}", "services: {}", f"services: {{web: {CANARY}}}"]
)
def test_a_file_that_is_none_writes_nothing_and_shows_nothing(
    folder: Folder, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.path / "compose.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(str(folder.root), "mine", str(folder.path / "compose.yaml"))
    assert CANARY not in f"{ended.value}{capsys.readouterr()}"
    assert list((folder.root / "inventory").iterdir()) == []


def test_uids_and_ports_are_free(folder: Folder, busy: int) -> None:
    (folder.root / "inventory/other.yml").write_text('user: "60621:60621"')
    assert free_uids(folder.root)[0] == 60622
    made = folder.make(one(build=".", ports=[f"127.0.0.1:{busy}:80"]))
    web = made.compose["services"]["web"]
    assert web["user"] == "60622:60622"
    assert web["ports"] != [f"127.0.0.1:{busy}:80"] and web["ports"][0].startswith("127.0.0.1:")
    assert f"the port {busy} is taken here" in made.said


@pytest.mark.parametrize(
    ("port", "written"),
    [
        ("80:8000", "81:8000"),
        ("127.0.0.1:80:8000/tcp", "127.0.0.1:81:8000/tcp"),
        ({"target": 8000, "published": "80"}, {"target": 8000, "published": "81"}),
        ("8000", "8000"),
        (8000, 8000),
        ("8000-8001:8000-8001", "8000-8001:8000-8001"),
    ],
)
def test_a_port_in_every_syntax(port: Any, written: Any) -> None:
    from ansible_collections.coffre.stack.plugins.module_utils.new_stack.propose import Proposal

    proposal = Proposal({"services": {"web": {"ports": [port]}}}, [], [], {}, [])
    free_ports(proposal, lambda one: one == 80)
    assert proposal.compose["services"]["web"]["ports"] == [written]

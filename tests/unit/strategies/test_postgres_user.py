"""A real PostgreSQL, administered by its psql and over the network alike, and the user who does the second."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import ByHand, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import login_role
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_role import server as postgres
from ansible_collections.coffre.stack.plugins.module_utils.strategies.postgres_user import strategy, user
from tests.unit.strategies.given import DEATHS, Given, back, container, forward, free_port, survive
from tests.unit.strategies.given import given as given_of

OLD, FIRST = b"canary-old '\\$1", b"canary-first"
NOBODY = 65534
TRUSTING = "trusted"  # whom the server lets in whatever the password is
NUMBER = itertools.count()
real = subprocess.run


def binaries() -> Path | None:
    """Of the newest PostgreSQL that is installed, from 16 on."""
    on_path = [Path(found).parent for found in [shutil.which("initdb")] if found]
    for folder in [*on_path, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]:
        said = real([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        if (version := re.search(r"\) (\d+)", said)) and int(version[1]) >= 16:
            return folder
    return None


pytestmark = pytest.mark.skipif(binaries() is None, reason="no PostgreSQL from 16 on is installed")


@dataclass
class Server:
    """It logs every statement, and has the user `coffre` who may make roles and databases."""

    folder: Path
    port: int

    def psql(self, *script: str, database: str = "postgres") -> str:
        """As the superuser, and not logged."""
        command = [
            f"{binaries()}/psql",
            *self.where(),
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
        ]
        quiet = {**os.environ, "PGOPTIONS": "-c log_statement=none"}
        done = real(command, input=";\n".join(script), capture_output=True, text=True, check=True, env=quiet)
        return done.stdout.strip()

    def where(self) -> list[str]:
        return ["-h", str(self.folder), "-p", str(self.port)]

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="coffre-postgres-") as root:  # pytest's own lets nobody else in
        yield from started(Path(root))


def started(root: Path) -> Iterator[Server]:
    found = Server(root / "socket", free_port())
    found.folder.mkdir()
    me: dict[str, Any] = {"stdout": subprocess.DEVNULL, "check": True, "cwd": root}
    if os.geteuid() == 0:  # whom PostgreSQL refuses to run as
        me |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for folder in (root, found.folder):
            os.chown(folder, NOBODY, NOBODY)
    data, log = f"{root}/data", f"{found.folder}/log"
    made = ["-D", data, "-U", "postgres", "-N", "--auth-host=scram-sha-256", "--auth-local=trust", "--locale=C"]
    real([f"{binaries()}/initdb", *made], **me)
    rules = Path(data, "pg_hba.conf")
    rules.write_text(f"host all {TRUSTING} all trust\n{rules.read_text()}")
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": found.folder, "fsync": "off"}
    settings |= {"log_statement": "all", "log_min_error_statement": "error"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    words = [f"{binaries()}/pg_ctl", "-D", data, "-l", log, "-w"]
    real([*words, "-o", f"-p {found.port} {options}", "start"], **me)
    try:
        yield found
    finally:
        real([*words, "-m", "immediate", "stop"], **me)


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """`docker exec` runs on this machine, and the container's address is this machine's."""

    def run(command: list[str], **rest: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == ["docker", "exec", "--interactive", "id-postgres"]
        return real([f"{binaries()}/{command[4]}", *running.where(), *command[5:]], **rest)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PGPORT", str(running.port))
    monkeypatch.setattr(postgres, "POLL_SECONDS", 0.01)
    if not running.psql("SELECT 1 FROM pg_roles WHERE rolname = 'coffre'"):
        running.psql("CREATE ROLE coffre")
    running.psql(
        f"ALTER ROLE coffre LOGIN CREATEROLE CREATEDB PASSWORD '{postgres.verifier(OLD)}'",
        "GRANT SET ON PARAMETER log_statement, log_min_error_statement, log_min_duration_statement TO coffre",
    )
    return running


@pytest.fixture(params=["psql", "network"])
def database(server: Server, request: pytest.FixtureRequest) -> postgres.Database:  # noqa: ARG001
    """PostgreSQL by both ways; of two passwords of the user one is right."""
    by = postgres.User("coffre", (b"another", OLD)) if request.param == "network" else None
    return postgres.Database(container("postgres"), user=by)


def target(role: str = "a") -> postgres.LoginRole:
    """Names that no other test has."""
    name = f"own_{next(NUMBER)}"
    return postgres.LoginRole(name, name, (f"{name}_a", f"{name}_b"), f"{name}_{role}")


def test_a_role_is_made_proved_and_shut(server: Server, database: postgres.Database) -> None:
    first = target()
    second = replace(first, role=first.roles[1])
    assert postgres.ensure(database, first, b"one", dry=True) == ["roles", "verifier"]
    assert postgres.login(database, first, b"one") is None
    assert postgres.ensure(database, first, b"one") == ["roles", "verifier"]
    assert postgres.ensure(database, first, b"one") == []
    assert postgres.login(database, second, b"one") is None
    assert postgres.ensure(database, second, b"two") == ["roles", "verifier"]
    assert postgres.login(database, first, b"one") is True
    connection = postgres.connect(database, first.database, first.role, b"one")
    assert connection
    with connection:
        connection.execute("CREATE TABLE kept ()")
        assert postgres.sessions(database, first.role) == ["127.0.0.1"]
        with pytest.raises(CoffreError, match="1 of its sessions have not ended"):
            postgres.shut(database, first.role, 0.0)
    postgres.shut(database, first.role, 20.0)
    assert postgres.login(database, first, b"one") is None
    assert postgres.login(database, second, b"two") is True
    owner = server.psql("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'", database=first.database)
    assert owner == first.owner
    assert "ALTER DATABASE" in server.log() and "SCRAM-SHA-256$" not in server.log()


AMISS = {
    "a role that does not act as the owner": ("REVOKE {owner} FROM {role}", "does not act as"),
    "a password that ends": ("ALTER ROLE {role} VALID UNTIL '2020-01-01'", "counts until"),
    "a limit of sessions": ("ALTER ROLE {role} CONNECTION LIMIT 3", "may have 3 sessions"),
    "a database open to all": ("GRANT CONNECT ON DATABASE {owner} TO PUBLIC", "is open to all"),
}


@pytest.mark.parametrize(("done", "said"), AMISS.values(), ids=AMISS)
def test_what_is_amiss_is_told_and_mended(server: Server, database: postgres.Database, done: str, said: str) -> None:
    wanted = target()
    postgres.ensure(database, wanted, b"one")
    server.psql(done.format(owner=wanted.owner, role=wanted.role))
    if said == "does not act as" and database.user:
        server.psql(f"REVOKE {wanted.owner} FROM {wanted.role} GRANTED BY coffre")
    assert said in postgres.trouble(database, wanted, b"one")
    assert postgres.ensure(database, wanted, b"one") == ["roles"]
    assert postgres.trouble(database, wanted, b"one") == ""


def test_what_others_have_made_is_administered_once_a_superuser_has_said_so(server: Server) -> None:
    ours = postgres.Database(container("postgres"), user=postgres.User("coffre", (OLD,)))
    wanted = target()
    postgres.ensure(replace(ours, user=None), wanted, b"by the superuser")
    with pytest.raises(CoffreError, match="GRANT ROLE TO coffre WITH ADMIN TRUE") as refusal:
        postgres.ensure(ours, wanted, b"canary-new")
    assert "canary" not in str(refusal.value)
    with pytest.raises(CoffreError, match="GRANT ROLE TO coffre WITH ADMIN TRUE"):
        postgres.sessions(ours, wanted.role)
    said = re.findall(r"`([^`]*)`", str(refusal.value))
    assert len(said) == 2
    server.psql(said[0], *(said[1].replace("ROLE", role) for role in (wanted.owner, *wanted.roles)))
    assert postgres.ensure(ours, wanted, b"new") == ["verifier"]
    assert postgres.sessions(ours, wanted.role) == []


def test_nobody_is_let_in_with_another_password(server: Server) -> None:  # noqa: ARG001
    ours = postgres.Database(container("postgres"), user=postgres.User("coffre", (b"a", b"b")))
    with pytest.raises(CoffreError, match="refuses the deployed password of its user coffre"):
        postgres.amiss(ours, target())


def test_a_server_that_asks_for_no_password_is_not_believed(server: Server) -> None:
    server.psql(f"CREATE ROLE {TRUSTING} LOGIN")
    with pytest.raises(CoffreError, match=r"that pg_hba.conf asks for scram-sha-256"):
        postgres.connect(postgres.Database(container("postgres")), "postgres", TRUSTING, b"whatever")


def given(**changed: Any) -> Given:
    """The change of the password of `coffre`."""
    settings = {"service": "postgres", "user": "coffre", **changed}
    secrets = {
        "admin": Secret("admin", ("host",), "postgres_user", settings=settings),
        "first": Secret("first", ("postgres",), "fixed"),
    }
    change = state.Change("postgres_user", state.Version("v1", state.now()), state.Version("v2", state.now()))
    st = state.State("demo", run=state.Run("r1", "play", "operator", state.now(), state.now(60), {"admin": change}))
    rest: dict[str, Any] = {"admins": (FIRST,)}
    return Given(StackPaths("demo"), Catalogue(secrets, {}), st, secrets["admin"], change, 1.0, {"old": OLD}, **rest)


def let_in(password: bytes) -> bool:
    return user.accepts(given(), password)


@pytest.mark.usefixtures("server")
def test_a_password_takes_the_place_of_another() -> None:
    context = given()
    assert strategy.blockers(context) == []
    forward(strategy, context)
    assert let_in(context.values["new"]) and not let_in(OLD)
    with pytest.raises(CoffreError, match="refuses the old password of coffre"):
        strategy.prove(context, "old")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("deaths", DEATHS[:6])
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_leaves_one_password(
    monkeypatch: pytest.MonkeyPatch, deaths: dict[int, bool], way: Any
) -> None:
    context, changes, administer = given(), itertools.count(1), postgres.administer

    def dies(*words: Any) -> str:
        made = deaths.get(next(changes))
        said = "" if made is False else administer(*words)
        if made is not None:
            raise CoffreError("PostgreSQL gave no answer")
        return said

    monkeypatch.setattr(postgres, "administer", dies)
    sides: tuple[Which, Which] = ("new", "old") if survive(strategy, context, way) else ("old", "new")
    kept, dropped = sides
    assert let_in(context.values[kept])
    assert dropped not in context.values or not let_in(context.values[dropped])


def test_the_first_password_is_replaced(server: Server) -> None:
    context = given(initial="first")
    server.psql(f"ALTER ROLE coffre PASSWORD '{postgres.verifier(FIRST)}'")
    assert "still has its first password: run site.yml" in strategy.deployed(context)[0]
    assert strategy.agree(context, dry=True) == Agreement(["password"])
    assert let_in(FIRST)
    assert strategy.agree(context, dry=False) == Agreement(["password"])
    assert let_in(OLD) and not let_in(FIRST)
    assert strategy.agree(context, dry=False) == Agreement()


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (
            f"ALTER ROLE coffre PASSWORD '{postgres.verifier(b'foreign')}'",
            r"`CREATE ROLE coffre LOGIN .* the value of first, which PostgreSQL's container has, .*\\password coffre",
        ),
        ("ALTER ROLE coffre NOCREATEROLE", "`ALTER ROLE coffre CREATEROLE`"),
        ("ALTER ROLE coffre NOCREATEROLE NOCREATEDB", "`ALTER ROLE coffre CREATEROLE CREATEDB`"),
    ],
)
def test_what_only_a_superuser_can_mend_stops_a_deploy(server: Server, done: str, said: str) -> None:
    server.psql(done)
    context = given(initial="first")
    (told,) = strategy.deployed(context)
    assert isinstance(told, ByHand) and re.search(said, told)
    with pytest.raises(CoffreError, match=said):
        strategy.agree(context, dry=False)


@pytest.mark.usefixtures("server")
def test_a_first_password_that_nobody_has_been_given_yet_stops_no_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    def passwords(*_: object) -> tuple[bytes, ...]:
        raise CoffreError("postgres has no bundle in force")

    monkeypatch.setattr(Given, "passwords", passwords)
    context = replace(given(initial="first"), values={"old": b"another"})
    with pytest.raises(CoffreError, match="postgres has no bundle in force"):  # which is no ByHand
        strategy.deployed(context)
    assert strategy.deployed(given(initial="first")) == []


def test_a_superuser_may_administer_over_the_network_and_own_what_it_makes(server: Server) -> None:
    """As an official image makes its POSTGRES_USER."""
    wanted = target()
    server.psql(f"CREATE ROLE {wanted.owner} SUPERUSER LOGIN PASSWORD '{postgres.verifier(OLD)}'")
    ours = postgres.Database(container("postgres"), user=postgres.User(wanted.owner, (OLD,)))
    assert postgres.ensure(ours, wanted, b"one") == ["roles", "verifier"]
    assert postgres.sessions(ours, wanted.role) == []
    postgres.shut(ours, wanted.role, 0.0)
    assert postgres.login(ours, wanted, b"one") is None


@pytest.mark.usefixtures("server")
def test_a_first_password_that_the_catalogue_has_not_is_told() -> None:
    context = replace(given(initial="admin"), values={"old": b"another"})
    with pytest.raises(CoffreError, match="`initial` of admin names admin, which is no fixed secret"):
        strategy.deployed(context)


def test_who_administers_is_found_by_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    context = given_of("database", b"old")
    assert login_role.server(context).user is None
    of_another = Secret("x", ("host",), "postgres_user", settings={"service": "other", "user": "x"})
    secrets = {**context.catalogue.secrets, "x": of_another, "admin": given().secret}
    known = replace(context, catalogue=Catalogue(secrets, {}), admins=(OLD, b"two"))
    assert login_role.server(known).user == postgres.User("coffre", (OLD, b"two"))
    monkeypatch.setattr(Given, "container", lambda *_: elsewhere())
    assert login_role.server(known).container.elsewhere
    with pytest.raises(CoffreError, match="add a secret of the strategy postgres_user for the service postgres"):
        login_role.server(context)


def elsewhere() -> Container:
    return replace(container("postgres"), elsewhere=True)

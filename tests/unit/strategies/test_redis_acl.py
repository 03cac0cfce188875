"""Two passwords of one user of a real Redis: digests only, over a restart, and whatever dies where, one is left."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.errors import ByHand, CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import objects, state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from ansible_collections.coffre.stack.plugins.module_utils.strategies.redis_acl import server as redis
from ansible_collections.coffre.stack.plugins.module_utils.strategies.redis_acl import strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.redis_acl.acl_user import server as server_of
from tests.unit.strategies.given import DEATHS, Given, back, container, forward, free_port, survive

ask = redis.ask
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="the package redis-server is not installed"
)

OLD, ADMIN, FOREIGN = b'canary-old "\xc3\xa9', b"canary-admin", b"canary-by-hand"
SELF = {"service": "cache", "user": "shop"}


@dataclass
class Server:
    """A redis-server in a folder. `commands` are those of the admin; `deaths` as of the other strategies."""

    folder: Path
    port: int
    words: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    commands: list[str] = field(default_factory=list)
    changes: int = 0
    deaths: dict[int, bool] = field(default_factory=dict)

    def start(self, address: str = "127.0.0.1") -> None:
        """Start it, and wait until it says that it is ready."""
        words = ["--port", str(self.port), "--bind", *{"127.0.0.1", address}, "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen(["redis-server", *self.words, *words], stdout=subprocess.PIPE)
        assert self.process.stdout
        said = iter(self.process.stdout.readline, b"")
        assert any(b"Ready to accept connections" in line for line in said), "redis-server does not start"

    def stop(self) -> None:
        if self.process and self.process.stdout:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def ask(self, server: redis.Redis, what: str, *commands: str) -> list[list[str]]:
        self.commands += commands
        change = any("SETUSER" in each for each in commands)
        self.changes += change
        made = self.deaths.get(self.changes) if change else None
        said = [] if made is False else ask(server, what, *commands)
        if made is not None:
            raise CoffreError("Redis gave no answer")
        return said

    def run(self, command: Sequence[str], stdin: str, seconds: float = 5.0) -> str:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=True)
        return done.stdout

    def cli(self, *commands: str) -> list[str]:
        """What the admin that the test made, or anybody, is answered."""
        script = "\n".join([f"AUTH root {ADMIN.decode()}", *commands])
        return self.run(["redis-cli", "-p", str(self.port)], script + "\n").splitlines()[1:]


def running(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Iterator[Server]:
    found = Server(folder, free_port(), words)
    monkeypatch.setattr(redis, "ask", found.ask)
    monkeypatch.setattr(objects, "entered", lambda _pid: nullcontext())
    monkeypatch.setattr(compose, "succeeds", lambda _id, command: subprocess.run(command, check=False).returncode == 0)
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """As a stack starts it for the first time: its file of users is empty, so it lets anybody in."""
    (tmp_path / "users.acl").touch()
    yield from running(tmp_path, monkeypatch, "--aclfile", str(tmp_path / "users.acl"))


@pytest.fixture
def server(fresh: Server) -> Server:
    """The same, where the user `shop` has the old password, and `root` administers."""
    rules = ("~* &* +@all", "~* &* +@all -@admin")
    fresh.cli(
        f"ACL SETUSER root on {rules[0]} >{ADMIN.decode()}",
        f"ACL SETUSER shop on {rules[1]} #{redis.digest(OLD)}",
        "ACL SETUSER default off",
        f"AUTH root {ADMIN.decode()}",
        "ACL SAVE",
    )
    return fresh


def given(server: Server, old: bytes = OLD, **changed: Any) -> Given:
    """The change of the password of `shop`, whom `root` administers."""
    settings: dict[str, Any] = {**SELF, "port": server.port, "admin": "root-password", **changed}
    secrets = {
        "password": Secret("password", ("web",), "redis_acl", settings=settings),
        "root-password": Secret("root-password", (), "redis_acl", settings={"service": "cache", "user": "root"}),
    }
    change = state.Change("redis_acl", state.Version("v1", state.now()), state.Version("v2", state.now()))
    st = state.State("demo", run=state.Run("r1", "play", "operator", state.now(), state.now(60), {"password": change}))
    catalogue = Catalogue(secrets, {})
    return Given(StackPaths("demo"), catalogue, st, secrets["password"], change, 1.0, {"old": old}, admins=(ADMIN,))


def alone(server: Server, user: str = "shop") -> Given:
    """The change of the password of a user that administers itself."""
    found = given(server)
    settings = {"service": "cache", "user": user, "port": server.port}
    secret = replace(found.secret, settings=settings)
    return replace(found, secret=secret, catalogue=Catalogue({"password": secret}, {}), admins=(OLD,))


def accepted(server: Server, password: bytes, user: str = "shop") -> bool:
    """Whether Redis takes a password now, and after it was started anew."""
    context = given(server)
    asked = redis.Redis(context.verifier(), server.port, "root", (ADMIN,))
    before = redis.accepts(asked, user, password)
    server.stop()
    server.start()
    assert redis.accepts(asked, user, password) == before
    return before


def test_both_passwords_count_until_the_old_one_is_taken_away(server: Server) -> None:
    context = given(server)
    assert strategy.blockers(context) == []
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    for which in ("old", "new"):
        strategy.prove(context, which)
        assert accepted(server, context.values[which])
    forward(strategy, context)
    assert accepted(server, context.values["new"])
    assert not accepted(server, OLD)
    assert "-@admin" in "".join(server.cli("ACL GETUSER shop"))


def test_of_the_secrets_only_digests_are_in_commands(server: Server) -> None:
    context = given(server)
    forward(strategy, context)
    new = context.values["new"].decode()
    everything = " ".join(server.commands)
    assert redis.digest(context.values["new"]) in everything
    assert new not in everything and "canary" not in everything
    kept = (server.folder / "users.acl").read_text()
    assert redis.digest(context.values["new"]) in kept and new not in kept


@pytest.mark.parametrize("deaths", DEATHS[:8])
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_leaves_one_password(server: Server, deaths: dict[int, bool], way: Any) -> None:
    context = given(server)
    server.deaths = deaths
    sides: tuple[Which, Which] = ("new", "old") if survive(strategy, context, way) else ("old", "new")
    kept, dropped = sides
    assert accepted(server, context.values[kept])
    assert dropped not in context.values or not accepted(server, context.values[dropped])


AMISS = {
    "another password": (f"ACL SETUSER shop resetpass >{FOREIGN.decode()}", "refuses the deployed", ["password"]),
    "off": ("ACL SETUSER shop off", "has the user shop switched off", ["user"]),
    "gone": ("ACL DELUSER shop", "has no user shop", ["user"]),
    "any password": ("ACL SETUSER shop nopass", "lets in whoever comes as shop", ["user"]),
    "open": ("ACL SETUSER default on nopass", "lets in whoever comes as default", ["default"]),
}


@pytest.mark.parametrize(("done", "said", "repaired"), AMISS.values(), ids=AMISS)
def test_what_is_amiss_is_told_and_mended(server: Server, done: str, said: str, repaired: list[str]) -> None:
    context = given(server)
    assert strategy.agree(context, dry=False) == Agreement()
    server.cli(done, "ACL SAVE")
    for told in (strategy.deployed(context), strategy.blockers(context)):
        assert len(told) == 1
        assert said in told[0] and "run site.yml" in told[0]
    assert strategy.agree(context, dry=True).repaired == repaired
    assert server.changes == 0
    assert strategy.agree(context, dry=False).repaired == repaired
    assert strategy.blockers(context) == []
    assert accepted(server, OLD)
    assert not accepted(server, FOREIGN)
    assert not accepted(server, b"whatever")


@pytest.mark.parametrize("first", ["user", "admin"])
def test_a_fresh_redis_is_given_its_admin_and_shut(fresh: Server, first: str) -> None:
    shop, root = given(fresh), given(fresh, old=ADMIN, user="root")
    del root.secret.settings["admin"]  # type: ignore[attr-defined]
    root = replace(root, catalogue=Catalogue({"password": root.secret}, {}))
    for context in (shop, root) if first == "user" else (root, shop):
        strategy.agree(context, dry=False)
    for context in (shop, root):
        assert strategy.blockers(context) == []
        assert strategy.agree(context, dry=False) == Agreement()
    assert accepted(fresh, OLD) and accepted(fresh, ADMIN, "root")
    assert not accepted(fresh, b"", "default")
    assert "-@admin" in "".join(fresh.cli("ACL GETUSER shop"))


def outward() -> str:
    """An address of this machine that is none of its loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        try:
            towards.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its own loopback's")
        return str(towards.getsockname()[0])


def test_a_protected_redis_lets_the_network_in_once_it_is_set_right(fresh: Server) -> None:
    """Until then it answers only who comes from inside its container."""
    fresh.stop()
    fresh.words += ("--protected-mode", "yes")
    address = outward()
    fresh.start(address)
    inside = given(fresh)
    context = replace(inside, address=address)
    assert redis._said(server_of(context), b"PING").startswith("-DENIED")
    assert "has no user shop" in strategy.deployed(context)[0]
    assert strategy.agree(context, dry=False).repaired == ["user", "default"]
    strategy.prove(context, "old")
    assert strategy.blockers(context) == []


def test_on_another_host_it_is_reached_over_the_network(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Given, "container", lambda self, name: replace(container(name, address=self.address), elsewhere=True)
    )
    monkeypatch.setattr(compose, "succeeds", None)
    fresh.stop()
    address, fresh.words = outward(), (*fresh.words, "--protected-mode", "yes")
    fresh.start(address)
    context = replace(given(fresh), address=address)
    (told,) = strategy.deployed(context)
    assert isinstance(told, ByHand) and "let it start with a file of users that has root" in told
    fresh.stop()
    fresh.words = (*fresh.words, "--protected-mode", "no")
    fresh.start(address)
    assert strategy.agree(context, dry=False).repaired == ["user", "default"]
    assert strategy.blockers(context) == []
    forward(strategy, context)
    assert accepted(fresh, context.values["new"]) and not accepted(fresh, OLD)


@pytest.mark.parametrize(
    "said", ["+OK", "HTTP/1.1 400 Bad Request\r\n\r\n", "$3\r\nab", "*2\r\n+OK\r\n", "-LOADING it\r\n", "-ERR\r\n", ""]
)
def test_what_is_no_answer_of_redis_is_told(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "create_connection", lambda *_: ours)
    with theirs:
        theirs.sendall(said.encode())
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(CoffreError, match="gave no usable answer at port 6379"):
            redis.accepts(redis.Redis(container("cache"), 6379, "root", (ADMIN,)), "shop", OLD)


@pytest.mark.parametrize("user", ["shop", "default"])
def test_one_user_may_administer_itself(fresh: Server, user: str) -> None:
    context = alone(fresh, user)
    told = strategy.agree(context, dry=False)
    assert told.repaired == (["user", "default"] if user == "shop" else ["user"])
    assert "Redis let in whoever came" in told.warnings[0]
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    strategy.withdraw(replace(context, admins=(context.values["new"], OLD)), "new", "old")
    assert accepted(fresh, context.values["new"], user)
    assert not accepted(fresh, OLD, user)


def test_the_rules_of_a_user_that_is_made(fresh: Server) -> None:
    strategy.agree(given(fresh, rules=["~shop:*", "+get"]), dry=False)
    assert "~shop:*" in fresh.cli("ACL GETUSER shop")
    assert "-@all +get" in fresh.cli("ACL GETUSER shop")


def test_a_password_that_is_not_ours_is_told(server: Server) -> None:
    server.cli(f"ACL SETUSER shop >{FOREIGN.decode()}")
    told = strategy.blockers(given(server))
    assert len(told) == 1 and "has 1 more password(s), which Coffre did not give it" in told[0]


def test_a_wrong_admin_is_for_a_person(server: Server) -> None:
    server.cli("ACL SETUSER shop off", f"ACL SETUSER root resetpass >{FOREIGN.decode()}")
    context = given(server)
    told = strategy.deployed(context)
    assert isinstance(told[0], ByHand) and "neither as root with the deployed password nor without one" in told[0]
    with pytest.raises(CoffreError, match="does not let automation"):
        strategy.agree(context, dry=True)
    with pytest.raises(CoffreError, match="names nobody, which is no redis_acl secret of the service cache"):
        strategy.deployed(given(server, admin="nobody"))


def test_a_container_that_gives_no_answer_is_not_for_a_person(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy goes on: it may be what brings the answer back."""
    server.cli("ACL SETUSER shop off")

    def gone(_pid: int) -> Any:
        raise FileNotFoundError

    def away(_pid: int) -> Any:
        server.stop()
        return nullcontext()

    monkeypatch.setattr(objects, "entered", away)
    with pytest.raises(CoffreError, match=r"gave no usable answer at port .*ConnectionRefusedError") as refusal:
        strategy.deployed(given(server))
    assert not isinstance(refusal.value, redis.NotAdmitted)
    monkeypatch.setattr(objects, "entered", gone)
    with pytest.raises(CoffreError, match="gave no usable answer at port"):
        redis.look(server_of(given(server)), "shop")


def test_an_admin_without_the_rights_is_told(server: Server) -> None:
    server.cli("ACL SETUSER root -acl|setuser")
    context = given(server)
    context.values["new"] = b"new"
    with pytest.raises(CoffreError, match="give root that password and all rights"):
        strategy.teach(context)
    assert not accepted(server, b"new")


def test_what_still_counts_and_what_does_not_is_told(server: Server) -> None:
    context = given(server)
    context.values["new"] = b"new"
    with pytest.raises(CoffreError, match="Redis refuses the new password of shop"):
        strategy.prove(context, "new")
    strategy.refused(context, "new")
    with pytest.raises(CoffreError, match="still accepts the old password of shop"):
        strategy.refused(context, "old")
    server.cli("ACL SETUSER shop nopass")
    with pytest.raises(CoffreError, match="lets anybody in"):
        strategy.prove(context, "new")
    server.stop()
    with pytest.raises(CoffreError, match="Redis gave no usable answer at port"):
        strategy.prove(context, "old")


def test_a_folder_that_cannot_be_written_is_told_before_and_at_the_change(server: Server) -> None:
    kept = server.folder / "users.acl"
    away = server.folder.rename(server.folder.with_name("away"))
    context = given(server)
    told = strategy.blockers(context)
    assert len(told) == 1 and f"the folder of {kept} must be writable" in told[0]
    context.values["new"] = b"new"
    with pytest.raises(CoffreError, match="which a restart would undo"):
        strategy.teach(context)
    away.rename(server.folder)


def test_a_redis_without_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for server in running(tmp_path, monkeypatch):
        context = alone(server, "default")
        with pytest.raises(CoffreError, match="it runs without a file for them"):
            strategy.agree(context, dry=False)
        assert "cannot keep its users over a restart" in strategy.blockers(context)[0]


def test_users_in_the_configuration_are_kept_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis.conf").write_text("maxclients 64\n")
    for server in running(tmp_path, monkeypatch, str(tmp_path / "redis.conf")):
        context = alone(server)
        strategy.agree(context, dry=False)
        assert strategy.blockers(context) == []
        context.values["new"] = b"new"
        strategy.teach(context)
        assert accepted(server, OLD) and accepted(server, b"new")
        kept = (tmp_path / "redis.conf").read_text()
        assert "maxclients 64" in kept and redis.digest(b"new") in kept and "canary" not in kept

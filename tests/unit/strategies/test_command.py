"""An operator's commands: a real process has the values on its input; RabbitMQ takes those of the docs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.catalogue import Catalogue, Secret
from ansible_collections.coffre.stack.plugins.module_utils.engines import compose
from ansible_collections.coffre.stack.plugins.module_utils.engines.base import Container
from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from ansible_collections.coffre.stack.plugins.module_utils.strategies.base import Agreement
from ansible_collections.coffre.stack.plugins.module_utils.strategies.command import operators, strategy
from ansible_collections.coffre.stack.plugins.module_utils.strategies.context import Which
from tests.unit.strategies.given import DEATHS, Given, back, container, forward, free_port, survive

# A verifier: its file has, by user, the values that count. It repeats what it was given, as careless programs do.
PROGRAM = """
import json, pathlib, sys
act, file = sys.argv[1], pathlib.Path(sys.argv[2])
given, known = json.loads(sys.stdin.readline()), json.loads(file.read_text())
mine = known.setdefault(given.get("user", "only"), [])
print(given); print(given, file=sys.stderr)
if act == "teach":
    mine += [] if given["value"] in mine else [given["value"]]
if act == "agree":
    mine[:] = [given["value"]]
if act == "withdraw":
    known.update({given["other_user"]: []} if given.get("other_user") else {})
    mine[:] = [given["value"]]
file.write_text(json.dumps(known))
sys.exit(given["value"] not in mine if act != "refused" else given["value"] in mine)
"""
OLD = b"canary-old"


@dataclass
class Verifier:
    """The program and its file. `heard` is what it was given, `words` the arguments; `deaths` as of the others."""

    folder: Path
    container: str = "id-queue"
    heard: list[dict[str, Any]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    changes: int = 0
    deaths: dict[int, bool] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "known.json"

    def known(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(self.file.read_text())
        return found

    def command(self, act: str) -> list[str]:
        return [sys.executable, str(self.folder / "program.py"), act, str(self.file)]

    def ask(self, container: str, *command: str, stdin: str, seconds: float) -> str:
        """The command in the container, which here is this machine."""
        assert container == self.container
        self.heard.append(json.loads(stdin))
        self.words += command
        change = command[2] in ("teach", "withdraw", "agree")
        self.changes += change
        made = self.deaths.get(self.changes) if change else None
        said = "" if made is False else compose.call(command, stdin=stdin, timeout=seconds, quotes=False)
        if made is not None:
            raise CoffreError("it died")
        return said


@pytest.fixture
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verifier:
    found = Verifier(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    found.file.write_text(json.dumps({"only": [OLD.decode()]}))
    monkeypatch.setattr(compose, "ask", found.ask)
    return found


def given(settings: dict[str, Any], kind: str = "text", old: bytes = OLD, user: str = "") -> Given:
    """The change of a value, from the first of the users to the second one where there are some."""
    secret = Secret("queue-password", ("web",), "command", kind, settings={"service": "queue", **settings})
    before = state.Version("v1", state.now(), {"user": user} if user else {})
    after = strategy.successor(secret, before, replace(before, version="v2"))
    change = state.Change("command", before, after)
    run = state.Run("r1", "play", "operator", state.now(), state.now(60), {secret.name: change})
    st = state.State("demo", secrets={secret.name: before}, run=run)
    return Given(StackPaths("demo"), Catalogue({secret.name: secret}, {}), st, secret, change, 1.0, {"old": old})


def commands(verifier: Verifier, *more: str) -> dict[str, Any]:
    return {act: verifier.command(act) for act in ("teach", "prove", "withdraw", *more)}


@pytest.mark.parametrize("more", [(), ("refused",)])
def test_a_value_goes_the_whole_way_on_standard_input_only(verifier: Verifier, more: tuple[str, ...]) -> None:
    context = given(commands(verifier, *more))
    assert strategy.blockers(context) == []
    forward(strategy, context)
    new = context.values["new"].decode()
    assert verifier.known() == {"only": [new]}
    assert verifier.heard[1] == {"secret": "queue-password", "value": new, "other": OLD.decode()}
    assert verifier.heard[-1] == {"secret": "queue-password", "value": OLD.decode(), "other": new}
    assert not [word for word in verifier.words if new in word or "canary" in word]


def test_commands_run_in_a_container_beside(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []

    @contextmanager
    def beside(paths: StackPaths, service: str) -> Iterator[Container]:
        assert (paths.stack, service) == ("demo", "queue")
        there.append("begun")
        try:
            yield replace(container("queue"), id="id-beside")
        finally:
            there.append("ended")

    monkeypatch.setattr(compose, "beside", beside)
    verifier.container = "id-beside"
    context = given(commands(verifier) | {"beside": True})
    forward(strategy, context)
    assert verifier.known() == {"only": [context.values["new"].decode()]}
    assert there == ["begun", "ended"] * len(verifier.heard)


def test_commands_for_a_container_on_another_host_are_refused(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Given, "container", lambda *_: replace(container("queue"), elsewhere=True))
    with pytest.raises(CoffreError, match=r"which is on another host; nothing was changed: .* `beside: true`"):
        strategy.teach(given(commands(verifier)))
    assert verifier.heard == []


@pytest.mark.parametrize("deaths", DEATHS[:6])
@pytest.mark.parametrize("way", [forward, back])
def test_a_death_anywhere_leaves_one_value(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, deaths: dict[int, bool], way: Any
) -> None:
    context, run = given(commands(verifier)), operators.run

    def died(*asked: Any) -> None:
        try:
            run(*asked)
        except CoffreError as error:
            assert "canary" not in str(error)
            raise CoffreError("it gave no answer") from None

    for name in ("issue", "retire", "prove"):
        monkeypatch.setattr(f"{operators.__package__}.{name}.run", died)
    verifier.deaths = deaths
    kept: Which = "new" if survive(strategy, context, way) else "old"
    assert verifier.known() == {"only": [context.values[kept].decode()]}


def test_users_take_turns(verifier: Verifier) -> None:
    verifier.file.write_text(json.dumps({"shop_b": [OLD.decode()]}))
    context = given(commands(verifier) | {"users": ["shop_a", "shop_b"]}, user="shop_b")
    assert context.change.new.attributes == {"user": "shop_a"}
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    strategy.prove(context, "old")
    forward(strategy, context)
    assert verifier.known() == {"shop_a": [context.values["new"].decode()], "shop_b": []}
    assert (verifier.heard[0]["user"], verifier.heard[0]["other_user"]) == ("shop_a", "shop_b")
    at_rest = replace(context, change=replace(context.change, old=context.change.new))
    strategy.agree(replace(at_rest, values={"old": context.values["new"]}), dry=False)
    assert (verifier.heard[-1]["user"], verifier.heard[-1]["other_user"]) == ("shop_a", None)
    with pytest.raises(CoffreError, match="names no user; nothing was changed: give the secret the attribute `user`"):
        given(commands(verifier) | {"users": ["shop_a", "shop_b"]})


@pytest.mark.parametrize("more", [(), ("agree",)])
def test_a_deployed_value_that_is_refused_is_told_and_taught(verifier: Verifier, more: tuple[str, ...]) -> None:
    context = given(commands(verifier, *more))
    assert strategy.agree(context, dry=False) == Agreement()
    verifier.file.write_text(json.dumps({"only": ["by-hand"]}))
    assert "`prove` of queue-password does not succeed with the deployed value" in strategy.deployed(context)[0]
    assert strategy.agree(context, dry=True) == Agreement(["value"])
    assert verifier.changes == 0
    assert strategy.agree(context, dry=False) == Agreement(["value"])
    assert verifier.known() == {"only": [OLD.decode()] if more else ["by-hand", OLD.decode()]}


@pytest.mark.parametrize("more", [(), ("refused",)])
def test_what_a_command_says_is_withheld(verifier: Verifier, more: tuple[str, ...]) -> None:
    context = given(commands(verifier, *more))
    context.values["new"] = b"canary-new"
    with pytest.raises(CoffreError, match="The command `prove` of queue-password failed in demo-queue-1") as caught:
        strategy.prove(context, "new")
    assert "canary" not in str(caught.value)
    with pytest.raises(
        CoffreError, match="refused` of queue-password failed" if more else "still accepts the old value"
    ):
        strategy.refused(context, "old")
    strategy.refused(context, "new")


def test_bytes_travel_in_base64(verifier: Verifier) -> None:
    verifier.file.write_text(json.dumps({"only": ["/wCA"]}))
    strategy.prove(given(commands(verifier), "bytes", b"\xff\x00\x80"), "old")
    assert verifier.heard == [{"secret": "queue-password", "value": "/wCA", "other": None}]


@pytest.fixture
def rabbit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The script of the documentation, beside a RabbitMQ of its own."""
    home = next(iter(sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin"))), None)
    if home is None:
        pytest.skip("the package rabbitmq-server is not installed")
    ports = [str(free_port()) for _ in range(3)]
    names = ("RABBITMQ_NODE_PORT", "RABBITMQ_DIST_PORT", "ERL_EPMD_PORT")
    settings = dict(zip(names, ports, strict=True)) | {
        "HOME": str(tmp_path),
        "PATH": f"{home}:/usr/bin:/bin",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "coffre@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "data"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(tmp_path / "none"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    script = tmp_path / "rabbit"
    text = (Path(__file__).parents[3] / "docs/rotation.md").read_text(encoding="utf-8")
    script.write_text(text.partition("```sh\n")[2].partition("```")[0])
    script.chmod(0o700)
    monkeypatch.setattr(compose, "ask", lambda _id, *words, **how: call(words, how["stdin"], how["seconds"]))
    process = subprocess.Popen(["rabbitmq-server"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert any(b"Server startup complete" in line for line in iter(process.stdout.readline, b""))
        yield script
    finally:
        subprocess.run(["rabbitmqctl", "-q", "stop"], check=False)
        process.communicate()
        subprocess.run(["epmd", "-port", settings["ERL_EPMD_PORT"], "-kill"], check=False, capture_output=True)


def call(command: Sequence[str], stdin: str, seconds: float) -> str:
    return compose.call(command, stdin=stdin, timeout=seconds, quotes=False)


def test_rabbitmq_as_documented(rabbit: Path) -> None:
    words = {act: [str(rabbit), act] for act in ("teach", "prove", "withdraw")}
    context = given(words | {"users": ["shop_a", "shop_b"]}, user="shop_a")
    at_rest = replace(context, change=replace(context.change, new=context.change.old))
    assert strategy.agree(at_rest, dry=False) == Agreement(["value"])
    assert strategy.blockers(context) == []
    back(strategy, context)  # the second user was never taught
    context.values["new"] = strategy.make(context)
    strategy.teach(context)
    for which in ("old", "new"):
        strategy.prove(context, which)
    strategy.withdraw(context, "new", "old")
    strategy.refused(context, "old")
    strategy.prove(context, "new")

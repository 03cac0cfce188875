"""The control API, and the emulator as a program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from azure.keyvault.secrets import SecretClient

from tests.keyvault_emulator import certificates
from tests.keyvault_emulator.control import Control, ControlError
from tests.keyvault_emulator.server import Emulator, start

from .conftest import Connect

PROJECT = Path(__file__).parents[3]


def test_secret_of_another_time(emulator: Emulator, connect: Connect) -> None:
    version = emulator.control.put(
        "coffre", "alpha", "one", created=1_700_000_000, updated=1_700_000_009, version="a" * 32
    )
    read = connect().get_secret("alpha").properties
    assert version == read.version == "a" * 32
    dated = datetime.fromtimestamp(1_700_000_000, UTC)
    assert (read.created_on, read.updated_on) == (dated, dated + timedelta(seconds=9))


def test_clock_of_the_vault(emulator: Emulator, connect: Connect) -> None:
    emulator.control.set(clock=3_600)
    created = connect().set_secret("alpha", "one").properties.created_on
    version = emulator.world.vaults["coffre"].secrets["alpha"].versions[0]
    assert created == datetime.fromtimestamp(version.created, UTC)
    assert version.created > emulator.world.now() - 60
    emulator.control.set(clock=0)
    assert version.created > emulator.world.now() + 3_500


def test_clock_is_in_every_answer(emulator: Emulator, connect: Connect) -> None:
    dates: list[str] = []
    emulator.control.set(clock=86_400)
    connect().set_secret(
        "alpha", "one", raw_response_hook=lambda told: dates.append(told.http_response.headers["Date"])
    )
    assert parsedate_to_datetime(dates[-1]) > datetime.now(UTC) + timedelta(hours=23)


@pytest.mark.parametrize(
    ("verb", "arguments", "problem"),
    [
        ("nonsense", {}, "no such verb"),
        ("fault", {"kind": "earthquake"}, "no such kind"),
        ("fault", {"kind": "reset", "operation": "dance"}, "no such operation"),
        ("grant", {"identity": "host", "vault": "coffre", "rights": ["fly"]}, "no such right: fly"),
        ("set", {"transient_errors": 1}, "no setting transient_errors"),
        ("vault", {"name": "coffre", "colour": "red"}, "no setting colour"),
        ("vault", {"name": "coffre", "closed": "on mondays"}, "closed of a vault is one of"),
        ("put", {"vault": "nowhere", "name": "alpha", "value": "one"}, "KeyError"),
        ("put", {"vault": "coffre", "name": "a_b", "value": "one"}, "invalid name"),
    ],
)
def test_command_that_makes_no_sense(emulator: Emulator, verb: str, arguments: dict[str, str], problem: str) -> None:
    with pytest.raises(ControlError, match=problem):
        emulator.control._ask(verb, **arguments)


def test_reset(emulator: Emulator, connect: Connect) -> None:
    control = emulator.control
    control.put("coffre", "alpha", "one")
    control.delete("coffre", "alpha")
    control.put("coffre", "beta", "one")
    control.delete("coffre", "beta", purge=True)
    control.fault("reset", count=0)
    control.set(latency_ms=50, token_seconds=9, clock=9, moving_seconds=9)
    control.vault("coffre", model="policy", purge_protection=True)
    control.grant("host", "coffre", ["set"])
    control.reset()
    assert control.count() == {}
    client = connect(identity="host")
    assert list(client.list_properties_of_secrets()) == []
    assert list(client.list_deleted_secrets()) == []
    assert emulator.world.vaults["coffre"].model == "rbac"
    assert emulator.world.transient_errors.latency_ms == 0


def test_certificates_outlive_the_emulator(tmp_path: Path) -> None:
    first, server = certificates.ensure(tmp_path)
    kept = first.read_bytes(), server.read_bytes()
    assert server.stat().st_mode & 0o777 == 0o600
    certificates.ensure(tmp_path)
    assert (first.read_bytes(), server.read_bytes()) == kept


def test_two_emulators_side_by_side(emulator: Emulator, tmp_path: Path) -> None:
    with start(tmp_path, vaults=["second"]) as other:
        other.control.put("second", "alpha", "one")
        assert other.world.vaults.keys() == {"second"}
    assert "second" not in emulator.world.vaults


def test_program(tmp_path: Path) -> None:
    def free() -> str:
        with socket.socket() as each:
            each.bind(("127.0.0.1", 0))
            return str(each.getsockname()[1])

    command = [sys.executable, "-m", "tests.keyvault_emulator"]
    helped = subprocess.run([*command, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "--state DIR" in helped.stdout
    arguments = ["--state", str(tmp_path), "--vault", "first", "--port", free(), "--outside-port", free()]
    with subprocess.Popen([*command, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        said = dict(program.stdout.readline().split(maxsplit=1) for _ in range(6))
        assert said["hosts"] == "127.0.0.1 first.vault.azure.net login.microsoftonline.com management.azure.com\n"
        assert said["vault"].startswith("https://first.vault.azure.net:")
        assert Path(said["trust"].strip()) == tmp_path / "ca.pem"
        Control(said["control"].strip().removesuffix("/control")).put("first", "alpha", "canary-value")
        os.kill(program.pid, signal.SIGTERM)
        assert program.wait(10) == 0
    assert not [path for path in tmp_path.rglob("*") if b"canary" in path.read_bytes()]


def test_client_is_the_sdks_own(connect: Connect) -> None:
    assert type(connect()) is SecretClient

"""What travels between hosts opens where it is meant to, and nowhere else; a manager's disk tells its key."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.swarm import membership

TOKEN = "SWMTKN-1-a-token"  # noqa: S105


@pytest.fixture
def offered(tmp_path: Path) -> tuple[Path, str]:
    """The file of a private key, and the public key that goes with it."""
    key = X25519PrivateKey.generate()
    (tmp_path / "offer").write_bytes(key.private_bytes_raw())
    return tmp_path / "offer", key.public_key().public_bytes_raw().hex()


def test_an_answer_opens_once_for_whom_it_is_meant(offered: tuple[Path, str]) -> None:
    path, key = offered
    answer = membership.encrypt(TOKEN, key, "worker", "w1")
    assert TOKEN.encode() not in base64.b64decode(answer)
    assert membership.decrypt(answer, "worker", "w1", path) == TOKEN
    assert not path.exists()
    with pytest.raises(CoffreError, match="another offer"):
        membership.decrypt(answer, "worker", "w1", path)


@pytest.mark.parametrize(("role", "host"), [("manager", "w1"), ("worker", "w2")])
def test_an_answer_is_for_one_role_of_one_host(offered: tuple[Path, str], role: str, host: str) -> None:
    path, key = offered
    with pytest.raises(CoffreError, match="another offer") as refused:
        membership.decrypt(membership.encrypt(TOKEN, key, "worker", "w1"), role, host, path)
    assert TOKEN not in str(refused.value)
    assert not path.exists()


def test_an_answer_to_another_key_does_not_open(offered: tuple[Path, str]) -> None:
    other = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    with pytest.raises(CoffreError, match="another offer"):
        membership.decrypt(membership.encrypt(TOKEN, other, "worker", "w1"), "worker", "w1", offered[0])


def test_the_unlock_key_that_is_in_force_opens_the_nodes_own(tmp_path: Path) -> None:
    kek, other = b"k" * 32, b"o" * 32
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(kek)
    )
    first, _, rest = pem.decode().partition("\n")
    path = tmp_path / "swarm-node.key"
    path.write_text(f"{first}\nkek-version: 10\nraft-dek: CAESMGsk1BhdtH3v\n\n{rest}")

    def unlock_key(value: bytes) -> bytes:
        return b"SWMKEY-1-" + base64.b64encode(value).rstrip(b"=")

    assert membership.opens(path, unlock_key(kek))
    assert not membership.opens(path, unlock_key(other))

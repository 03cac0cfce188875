"""How hosts come to be members of a swarm, and can unlock it, without a token or a key leaving them in the clear.

A host that joins, or that is locked, makes a key pair of its own and offers the public key; a manager answers with the
token, or with the swarm's unlock key, encrypted to it (HPKE, RFC 9180). Each manager seals the unlock key for its boot.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import CoffreError, SealError
from ..host import files, seals, tmpfs
from ..paths import LIB_ROOT, RUN_ROOT, SOCKET
from .plan import LABEL_SWARM

# As the unit coffre-swarm-unlock.service opens them.
NAME = "swarm-unlock-key"
SEAL = LIB_ROOT / f"{NAME}.cred"
BEFORE = LIB_ROOT / f"{NAME}.before.cred"
OFFERED = RUN_ROOT / ".swarm-offer"
NODE_KEY = "swarm/certificates/swarm-node.key"  # in the engine's root
PORT = 2377
CALL_SECONDS = 120
# A manager that unlocks, or that joins a busy swarm, first catches up with the others.
PATIENCE = 180.0
PAUSE = 0.5
SETTLES = 20.0  # seconds in which a manager takes a new unlock key to its disk
CONFLICTS = 5  # times that others may change the swarm at the same moment


@contextmanager
def engine() -> Iterator[Any]:
    """The engine's API. What it refuses is a CoffreError, in its words, which have no token and no key."""
    try:
        from docker import APIClient  # late: the looks and the plan need no library
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ModuleNotFoundError as missing:
        raise CoffreError(
            f"The modules' Python on this host has no {missing.name}, and nothing was changed: run the play again, "
            "which brings it up to date."
        ) from None
    try:
        with closing(APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=CALL_SECONDS)) as client:
            yield client
    except (DockerException, RequestException) as error:
        why = str(getattr(error, "explanation", "") or type(error).__name__)
        # What an engine quotes is not ours to know.
        why = "what it said is withheld" if "SWMTKN" in why or "SWMKEY" in why else why[:300]
        raise CoffreError(f"The engine refused: {why}. See docker info on this host, then run again.") from None


def _swarm(client: Any) -> dict[str, Any]:
    """What the engine says of the swarm it is in."""
    found: dict[str, Any] = client.info()["Swarm"]
    return found


def _wait(client: Any, reached: Callable[[dict[str, Any]], bool], what: str) -> None:
    """Wait until the engine says so of its swarm. Raises CoffreError."""
    deadline = time.monotonic() + PATIENCE
    while not reached(_swarm(client)):
        if time.monotonic() >= deadline:
            raise CoffreError(f"{what} within {PATIENCE:.0f} s: see journalctl -u docker on this host, then run again.")
        time.sleep(PAUSE)


def _active(role: str) -> Callable[[dict[str, Any]], bool]:
    def reached(swarm: dict[str, Any]) -> bool:
        return swarm["LocalNodeState"] == "active" and (role != "manager" or bool(swarm["ControlAvailable"]))

    return reached


def _change(client: Any, changes: Mapping[str, Any], **renew: bool) -> None:
    """Change the swarm's settings; its version makes it a compare-and-swap, so it is tried again from what is there."""
    from docker.errors import APIError

    for left in reversed(range(CONFLICTS)):
        there = client.inspect_swarm()
        try:
            client.update_swarm(there["Version"]["Index"], swarm_spec={**there["Spec"], **changes}, **renew)
            return
        except APIError as error:
            if "out of sequence" not in str(error.explanation) or not left:
                raise


def create(address: str, name: str, pool: str) -> None:
    """Make a swarm with this host as its first manager, locked at rest."""
    with engine() as client:
        if _swarm(client)["LocalNodeState"] == "inactive":
            client.init_swarm(
                advertise_addr=address,
                default_addr_pool=[pool],
                subnet_size=24,
                swarm_spec=client.create_swarm_spec(name="default", autolock_managers=True, labels={LABEL_SWARM: name}),
            )
        _wait(client, _active("manager"), "The swarm was made, and is not in control")


def offer() -> str:
    """A public key, in hexadecimal digits, whose private key stays in this host's memory until it is used."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    tmpfs.ensure(RUN_ROOT)
    files.write(OFFERED, key.private_bytes_raw(), 0o400)
    return key.public_key().public_bytes_raw().hex()


def answer(offers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """To each {host: {key, role}} what the role needs, encrypted to the key: `locked` is a role, too."""
    with engine() as client:
        tokens = client.inspect_swarm()["JoinTokens"]
        needs = {
            "manager": tokens["Manager"],
            "worker": tokens["Worker"],
            "locked": client.get_unlock_key()["UnlockKey"],
        }
    return {host: encrypt(needs[each["role"]], each["key"], each["role"], host) for host, each in offers.items()}


def _suite() -> Any:
    from cryptography.hazmat.primitives import hpke

    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _bound(role: str, host: str) -> bytes:
    """What an answer is good for: it opens for no other role and no other host."""
    return f"coffre swarm {role} {host}".encode()


def encrypt(value: str, key: str, role: str, host: str) -> str:
    """A value for whoever holds the private key, as base64."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    public = X25519PublicKey.from_public_bytes(bytes.fromhex(key))
    return base64.b64encode(_suite().encrypt(value.encode(), public, _bound(role, host))).decode()


def decrypt(answered: str, role: str, host: str, path: Path = OFFERED) -> str:
    """The value that was encrypted to this host's offer, which is used up. Raises CoffreError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        private = X25519PrivateKey.from_private_bytes(path.read_bytes())
        value: bytes = _suite().decrypt(base64.b64decode(answered), private, _bound(role, host))
    except (FileNotFoundError, InvalidTag, ValueError):
        raise CoffreError(
            f"The answer to {host} is for another offer than this host's last; it changed nothing: run again."
        ) from None
    finally:
        path.unlink(missing_ok=True)
    return value.decode()


def join(host: str, role: str, answered: str, managers: list[str], address: str) -> None:
    """Join by the token in an answer, through the managers at these addresses."""
    from docker.errors import APIError

    token = decrypt(answered, role, host)
    with engine() as client:
        try:
            client.join_swarm([f"{each}:{PORT}" for each in managers], token, advertise_addr=address)
        except APIError as error:
            # It goes on by itself.
            if "Timeout was reached" not in str(error.explanation):
                raise
        _wait(client, _active(role), f"{host} did not become a {role} of the swarm")


def unlock(host: str, answered: str) -> None:
    """Unlock this manager by the key in an answer."""
    from requests.exceptions import ReadTimeout

    key = decrypt(answered, "locked", host)
    with engine() as client:
        # It answers when the manager has caught up with the others, and goes on by itself.
        with suppress(ReadTimeout):
            client.unlock_swarm(key)
        _wait(client, _active("manager"), f"{host} was unlocked, and is not in control")


def keep(choice: str, check: bool = False) -> bool:
    """Seal the swarm's unlock key for this manager's boot; whether it was not, or not the one in force."""
    with engine() as client:
        _wait(client, _active("manager"), "This manager is not in control of the swarm")
        if not client.inspect_swarm()["Spec"]["EncryptionConfig"]["AutoLockManagers"]:
            if check:
                return True
            _change(client, {"EncryptionConfig": {"AutoLockManagers": True}})
        key = str(client.get_unlock_key()["UnlockKey"]).encode()
        done = _held() == key and not BEFORE.exists()
        if not (done or check):
            _seal(key, choice)
            _let_go(Path(client.info()["DockerRootDir"]), key)
        return not done


def comes_back() -> bool:
    """Whether this manager can be unlocked by what is sealed here, after a boot say."""
    with engine() as client:
        root = Path(client.info()["DockerRootDir"])
    key = _held()
    return key is not None and opens(root / NODE_KEY, key)


def _held() -> bytes | None:
    """The unlock key that is sealed here, if it can be opened."""
    try:
        return seals.unseal(SEAL, NAME)
    except SealError:
        return None


def _seal(key: bytes, choice: str) -> None:
    """The seal before stays, because the engine may not have taken the new key to its disk yet."""
    LIB_ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _held() == key:
        return
    if SEAL.exists() and not BEFORE.exists():
        SEAL.replace(BEFORE)
    seals.seal(SEAL, NAME, key, choice)


def _let_go(root: Path, key: bytes) -> None:
    """Remove the seal before as soon as what is on the engine's disk opens with the key; else a later run does."""
    deadline = time.monotonic() + SETTLES
    while BEFORE.exists() and time.monotonic() < deadline:
        if opens(root / NODE_KEY, key):
            BEFORE.unlink()
        else:
            time.sleep(PAUSE)


def opens(path: Path, key: bytes) -> bool:
    """Whether an unlock key opens the node's own, with which a manager that starts opens everything else.

    It is PKCS 8 under headers of Swarm's own, its password the bytes in the unlock key (swarmkit: ca/keyreadwriter.go).
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    lines = path.read_text(encoding="ascii").splitlines()
    pem = "\n".join(line for line in lines if line and ":" not in line)
    try:
        load_pem_private_key(pem.encode(), base64.b64decode(key.rpartition(b"-")[2] + b"=="))
    except (ValueError, TypeError):
        return False
    return True


def renew_tokens() -> None:
    """Make both join tokens anew: those that were answered with are worth nothing from now on."""
    with engine() as client:
        _change(client, {}, rotate_worker_token=True, rotate_manager_token=True)


def renew_key() -> None:
    """Make the unlock key anew, if all managers are there to learn it. Raises CoffreError before it does."""
    with engine() as client:
        managers = [each["ManagerStatus"] for each in client.nodes(filters={"role": "manager"})]
        if away := [each["Addr"] for each in managers if each["Reachability"] != "reachable"]:
            raise CoffreError(
                f"The unlock key was not changed, because the managers at {', '.join(away)} are away and would not "
                "learn the new one: bring them back, or remove them, and run again."
            )
        _change(client, {}, rotate_manager_unlock_key=True)


def remove(node: str) -> None:
    """Take a node off the swarm's list, demoted first; one that is not on it is well."""
    with engine() as client:
        for each in client.nodes(filters={"id": node}):
            if each["Spec"]["Role"] == "manager":
                client.update_node(node, each["Version"]["Index"], {**each["Spec"], "Role": "worker"})
            _removed(client, node)


def _removed(client: Any, node: str) -> None:
    """A demotion takes the swarm a moment, in which it refuses to let go of the node."""
    from docker.errors import APIError

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.remove_node(node, force=True)
            return
        except APIError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE)


def leave() -> bool:
    """Have this host's engine leave its swarm, and forget what was sealed for it; whether it was in one."""
    with engine() as client:
        there = bool(_swarm(client)["LocalNodeState"] != "inactive")
        if there:
            client.leave_swarm(force=True)
        _wait(client, lambda swarm: swarm["LocalNodeState"] == "inactive", "This host did not leave the swarm")
    for path in (SEAL, BEFORE):
        path.unlink(missing_ok=True)
    return there

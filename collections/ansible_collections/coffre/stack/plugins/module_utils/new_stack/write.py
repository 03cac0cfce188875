"""Writes the folder of a new stack: all of it, or nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import CoffreError
from ..paths import StackPaths
from .propose import Proposal

# Debian gives the first 60000 to logins of homed, systemd takes 61184 and up for itself.
UIDS = range(60621, 61184)
PORTS = range(8080, 8980)
HOSTS = """---
# This machine. For others: a name for each, with ansible_host and ansible_user, and without ansible_connection.
stack_hosts:
  hosts:
    localhost:
      ansible_connection: local
"""
STACK = """---
stack_name: {name}
# What runs: every service, in standard keys of Compose.
stack_compose_file: "{{{{ inventory_dir }}}}/compose.yaml"

# Where the values of the catalogue's secrets come from. demo: generated on the host. file: from
# stack_secrets_directory, an operator's directory there, root's with mode 0700. keyvault: docs/keyvault.md.
stack_secrets_source: {source}
{directory}
# Root needs no sudo; anybody else does.
ansible_become: "{{{{ lookup('ansible.builtin.pipe', 'id -u') != '0' }}}}"
"""
CATALOGUE = """---
# The secrets of this stack: how each is made, and how whoever checks it learns a new one. docs/rotation.md has the
# strategies and their settings. A service reads a secret if it lists it under `secrets:` in compose.yaml.
"""
COMPOSE = """---
# Standard keys of Compose say what they always say. `harden` gives every service what it does not say itself:
# read_only, no capabilities, no new privileges, no core dumps, limits, restart and logging.
# Secrets are the files /run/secrets/NAME; `user` is whose they are. docs/operations.md has the table of keys.
"""
MOVE_IN = """---
# Where a host that runs this stack already has the present values, which `make move-in ENV={name}` takes by
# reference. compose_file is the path on that host of the file that runs today. Remove this file afterwards.
"""
DECIDE = """# What a person must decide

`make quickstart ENV={name}` deploys this folder. Before that look at each line below, and remove it when it is done.

"""
# What the audit trail of the deployments is signed with; only automation reads it.
AUDIT_KEY = {
    "name": "deployment-audit-key",
    "host": True,
    "generate": {"type": "random", "bytes": 32},
    "max_age_days": 365,
    "strategy": "key_ring",
    "settings": {"keep_days": None},
}


class _Dumper(yaml.SafeDumper):
    """Lists stand indented, as the linters have it, and nothing is written by reference."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(data: Any) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def refuse(root: Path, name: str) -> None:
    """Raises CoffreError for a name that is none, or that some stack of the checkout has."""
    if not name:
        raise CoffreError("Nothing was written, for the stack has no name: make new-stack NAME=shop.")
    StackPaths(name)
    if os.path.lexists(root / "inventory" / name):
        raise CoffreError(f"Nothing was written: inventory/{name} is there. Choose another name, or remove it first.")
    for path in sorted(root.glob("inventory/*/group_vars/all/*.yml")):
        if re.search(rf"(?m)^stack_name: *['\"]?{name}['\"]?\s*(#.*)?$", path.read_text(encoding="utf-8")):
            folder = path.relative_to(root / "inventory").parts[0]
            raise CoffreError(f"Nothing was written: inventory/{folder} calls its stack {name}. Choose another name.")


def free_uids(root: Path) -> list[int]:
    """The uids that no file of inventory, no Compose file of the checkout and no login here has."""
    paths = [
        *root.glob("inventory/**/*.y*ml"),
        *root.glob("*.j2"),
        *root.glob("examples/*/*.y*ml"),
        Path("/etc/passwd"),
    ]
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file())
    taken = {int(number) for text in texts for number in re.findall(r"\b6[01]\d{3}\b", text)}
    return [uid for uid in UIDS if uid not in taken]


def taken(port: int) -> bool:
    """Whether something on this machine listens on a port."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("0.0.0.0", port))  # noqa: S104
        except OSError:
            return True
    return False


def free_ports(proposal: Proposal, is_taken: Callable[[int], bool] = taken) -> None:
    """Gives a published port that is taken here the next free one, and says so."""
    given: set[int] = set()
    for name, service in proposal.compose["services"].items():
        service_ports = service.get("ports") or []
        for place, each in enumerate(service_ports):
            port = _published(each)
            if port is None:
                continue
            free = next((one for one in range(port, 65536) if one not in given and not is_taken(one)), port)
            given.add(free)
            if free != port:
                service_ports[place] = _with_port(each, port, free)
                proposal.decide.append(
                    f"service {name}: the port {port} is taken here, so {free} was written; if this stack itself has "
                    f"it today, write {port}."
                )
            if ":" not in str(each).partition(f"{port}:")[0] and not (
                isinstance(each, Mapping) and each.get("host_ip")
            ):
                proposal.decide.append(
                    f"service {name}: the port {free} is open to everybody; 127.0.0.1:{free} is not."
                )


def _published(port: Any) -> int | None:
    """The port of the host, if one is said."""
    if isinstance(port, Mapping):
        said = str(port.get("published") or "")
    else:
        said = str(port).partition("/")[0].rpartition(":")[0].rpartition(":")[2]
    return int(said) if said.isdigit() else None


def _with_port(entry: Any, port: int, free: int) -> Any:
    if isinstance(entry, Mapping):
        return {**entry, "published": str(free)}
    before, _, inside = str(entry).rpartition(":")
    return f"{before[: len(before) - len(str(port))]}{free}:{inside}"


def write(root: Path, name: str, proposal: Proposal, source: Path | None) -> list[str]:
    """Write inventory/NAME and return the files in it. `source` is the Compose file that it was made from."""
    folder, aside = root / "inventory" / name, root / "inventory" / f".{name}.new"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for path, text in texts(name, proposal, source).items():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CoffreError(f"inventory/{name} could not be written ({error.strerror}); nothing of it is left.") from None
    return sorted(str(path.relative_to(root)) for path in folder.rglob("*") if path.is_file())


def texts(name: str, proposal: Proposal, source: Path | None) -> dict[str, str]:
    """The folder's files by their path in it."""
    generated = all("generate" in entry for entry in proposal.secrets)
    directory = "" if generated else f"stack_secrets_directory: /etc/coffre/{name}\n"
    catalogue: dict[str, Any] = {"secrets": [*proposal.secrets, AUDIT_KEY]}
    if proposal.files:
        catalogue["files"] = proposal.files
    written = {
        "hosts.yml": HOSTS,
        "compose.yaml": COMPOSE + _yaml(proposal.compose),
        "group_vars/all/stack.yml": STACK.format(
            name=name, source="demo" if generated else "file", directory=directory
        ),
        "group_vars/all/catalogue.yml": CATALOGUE + _yaml({"stack_catalogue": catalogue}),
    }
    if source and proposal.origins:
        moves = {"stack_move_in": {"compose_file": str(source), "values": proposal.origins}}
        written["group_vars/all/move_in.yml"] = MOVE_IN.format(name=name) + _yaml(moves)
    written |= proposal.more
    if proposal.decide:
        written["TODO.md"] = DECIDE.format(name=name) + "".join(f"- {line}\n" for line in proposal.decide)
    return written

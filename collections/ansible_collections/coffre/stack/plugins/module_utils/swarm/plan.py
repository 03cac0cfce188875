"""What is to be done so that the hosts of an inventory are one swarm, and what forbids it: pure, from their looks."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Look = Mapping[str, Any]  # as look.look returns it

# Of the cluster, by which it is known for this inventory's; of a node, the name that the inventory has for it.
LABEL_SWARM = "coffre.swarm"
LABEL_HOST = "coffre.host"
ENGINE = 25  # the first whose containers may be asked for their health more often while they start
CLOCKS = 30.0  # seconds that two clocks may be apart; a look may take some of them


@dataclass(frozen=True)
class Inventory:
    """What the inventory says: the swarm's name, its hosts, those in this play, and the settings.

    `play` are all hosts that this play was to reach, `plain` is whether overlay networks may be unencrypted, `pool` the
    network that overlay networks get theirs from. `reached` is {host: [HOST PORT/PROTOCOL, ...]}, what did not answer
    it, and `taken` {host: [PORT/PROTOCOL, ...]}, what something else has.
    """

    name: str
    managers: Sequence[str]
    workers: Sequence[str]
    play: Sequence[str]
    plain: bool = False
    pool: str = "10.255.0.0/16"
    reached: Mapping[str, Sequence[str]] | None = None
    taken: Mapping[str, Sequence[str]] | None = None

    @property
    def hosts(self) -> list[str]:
        return [*self.managers, *self.workers]

    def role(self, host: str) -> str:
        return "manager" if host in self.managers else "worker"


def acting(inventory: Inventory, looks: Mapping[str, Look]) -> str:
    """The manager that acts: the first in control of what the play reached, else the first reached; "" without one.

    One that takes no tasks comes after those that do: whoever acts has tasks of its own there.
    """
    there = [host for host in inventory.managers if host in looks]
    control = [host for host in there if looks[host]["control"]]
    active = [host for host in control if not _emptied(looks[host])]
    return next(iter([*active, *control, *there]), "")


def _emptied(look: Look) -> bool:
    """Whether a manager's own node takes no tasks."""
    return any(node["id"] == look["node"] and node["availability"] != "active" for node in look["nodes"])


def plan(inventory: Inventory, looks: Mapping[str, Look]) -> dict[str, Any]:
    """{problems, acting, create, join, dead, nodes, locked}.

    `join` is {host: role}, `dead` the ids of nodes whose host is to join anew, `nodes` what is to be changed of those
    that are members, as community.docker.docker_node takes it, and `locked` the managers that wait for their key.
    """
    lead = acting(inventory, looks)
    listed: Sequence[Look] = looks[lead]["nodes"] if lead else []
    # One that is locked tells no node either.
    out = [host for host in inventory.hosts if host in looks and looks[host]["state"] == "inactive"]
    join = {host: inventory.role(host) for host in out}
    return {
        "problems": [*_alone(inventory, looks), *_together(inventory, looks, lead)],
        "acting": lead,
        "create": bool(lead) and not looks[lead]["control"],
        "join": join,
        "dead": [node["id"] for node in listed if name(node) in join and node["state"] == "down"],
        "nodes": list(_changes(inventory, looks, listed)),
        "locked": [host for host, each in looks.items() if each["state"] == "locked"],
    }


def name(node: Look) -> str:
    """What the inventory calls a node: by its label, else as its host calls itself."""
    return str(node["labels"].get(LABEL_HOST) or node["hostname"])


def _changes(inventory: Inventory, looks: Mapping[str, Look], listed: Sequence[Look]) -> Iterator[dict[str, Any]]:
    """What differs of the members: promotions first, because a demotion must leave a majority."""
    hosts = {look["node"]: host for host, look in looks.items()}
    changes = []
    for node in listed:
        host = hosts.get(node["id"], "")
        wanted = (inventory.role(host), host)
        if host in inventory.hosts and (node["role"], node["labels"].get(LABEL_HOST)) != wanted:
            changes.append({"host": host, "id": node["id"], "role": wanted[0], "labels": {LABEL_HOST: host}})
    yield from sorted(changes, key=lambda change: str(change["role"]))


def _alone(inventory: Inventory, looks: Mapping[str, Look]) -> Iterator[str]:
    """What is wrong with single hosts."""
    for host, look in looks.items():
        major = look["engine"].partition(".")[0]
        if not major.isdigit() or int(major) < ENGINE:
            has = f"has Docker Engine {look['engine']}" if look["engine"] else "has no Docker Engine that answers"
            yield f"{host} {has}, and a swarm needs {ENGINE} or later: use Debian 13, whose package is 26.1."
        if look["swaps"]:
            yield (
                f"{host} could swap secrets to {', '.join(look['swaps'])}, which is not encrypted: "
                "switch it off or encrypt it."
            )
        if "vxlan" in look["lacks"]:
            yield f"The kernel of {host} has no VXLAN, or iproute2 is missing there, and containers could not meet."
        elif "esp" in look["lacks"] and not inventory.plain:
            yield (
                f"The kernel of {host} has no ESP (rfc4106(gcm(aes))), without which encrypted overlay networks carry "
                "nothing: load esp4, or set stack_plain_networks to true where the network between hosts is trusted."
            )
        yield from _place(host, look, inventory.pool)
        for port in (inventory.taken or {}).get(host, []):
            yield f"Port {port} of {host} is in use by another program: stop it."
        for place in (inventory.reached or {}).get(host, []):
            yield f"{host} does not reach {place}: open it between the hosts."


def _place(host: str, look: Look, pool: str) -> Iterator[str]:
    """What is wrong with where the others are to reach a host."""
    try:
        address = ipaddress.ip_address(look["address"])
    except ValueError:
        yield f"{host} has no IPv4 address for the others ({look['address'] or 'none'}): set swarm_cluster_address."
        return
    if address.is_loopback:
        yield f"The others cannot reach {host} at {address}: set swarm_cluster_address."
    if address in ipaddress.ip_network(pool):
        yield (
            f"The address {address} of {host} lies in {pool}, from which overlay networks get theirs: "
            "set swarm_cluster_address_pool to a network that nothing else has."
        )


def _together(inventory: Inventory, looks: Mapping[str, Look], lead: str) -> Iterator[str]:
    """What is wrong with the hosts as one swarm."""
    if len(inventory.managers) % 2 == 0:
        yield (
            f"swarm_managers has {len(inventory.managers)} hosts: make it an odd number (1, 3 or 5), because a swarm "
            "of an even number bears no more losses than one manager less."
        )
    if len(looks) > 1:
        yield from _apart(looks)
    for what in ("hostname", "address"):
        for value, count in Counter(str(look[what]) for look in looks.values()).items():
            if count > 1:
                yield f"{count} hosts have the {what} {value}: give each its own."
    if not lead:
        yield "No manager is among the hosts of this play: with --limit, name one too."
    elif looks[lead]["control"] and not looks[lead]["nodes"]:
        yield (
            f"The swarm of {lead} does not tell its nodes, because it has no leader: run again in a minute, or see "
            "docs/swarm.md on a lost majority."
        )
    elif looks[lead]["control"]:
        yield from _ours(inventory, looks, lead)
        yield from _strangers(inventory, looks, looks[lead]["nodes"])
    else:
        yield from _to_create(inventory, looks)


def _apart(looks: Mapping[str, Look]) -> Iterator[str]:
    first, last = (order(looks, key=lambda host: float(looks[host]["offset"])) for order in (min, max))
    if (seconds := looks[last]["offset"] - looks[first]["offset"]) > CLOCKS:
        yield f"The clocks of {first} and {last} are {seconds:.0f} s apart: let both keep time (systemd-timesyncd)."


def _to_create(inventory: Inventory, looks: Mapping[str, Look]) -> Iterator[str]:
    """A swarm may only be made where there can be none yet: a second one would share its name with the first."""
    if absent := [host for host in inventory.managers if host not in looks]:
        yield (
            f"No manager of this play is in control of a swarm, and {', '.join(absent)} may be: "
            "run without --limit, with all managers reachable."
        )
    for host, look in looks.items():
        if look["state"] == "locked":
            yield f"{host} is locked, and no manager is in control: run systemctl start coffre-swarm-unlock there."
        elif look["state"] != "inactive":
            yield (
                f"{host} is in a swarm ({look['state']}) of which no manager of this play is in control: "
                "see docker info there and docs/swarm.md on a lost majority."
            )


def _ours(inventory: Inventory, looks: Mapping[str, Look], lead: str) -> Iterator[str]:
    """Hosts that are in a swarm, and not in this inventory's."""
    members = {node["id"] for node in looks[lead]["nodes"]}
    if (label := looks[lead]["labels"].get(LABEL_SWARM, "")) != inventory.name:
        yield (
            f"The swarm of {lead} is {'that of ' + label if label else 'not made by this role'}: name its own "
            "inventory, or have its hosts leave it (docker swarm leave --force), which ends what runs there."
        )
    for host, look in looks.items():
        foreign = look["cluster"] and look["cluster"] != looks[lead]["cluster"]
        if foreign or (look["node"] and look["node"] not in members):
            yield (
                f"{host} is in another swarm than {lead}, or was removed from it: run docker swarm leave --force "
                "there, which ends what runs there as a service, and then this again."
            )
        elif look["state"] in ("pending", "error"):
            yield f"The engine of {host} is in the swarm and in state {look['state']}: see docker info there."


def _strangers(inventory: Inventory, looks: Mapping[str, Look], listed: Sequence[Look]) -> Iterator[str]:
    """Nodes on which services run or may start, and which this play cannot see to."""
    seen = {look["node"] for look in looks.values()}
    for node in listed:
        if node["id"] in seen or node["state"] != "ready" or node["availability"] != "active":
            continue
        host = name(node)
        if host not in inventory.hosts:
            yield (
                f"{host} ({node['id']}) is a node of the swarm and no host of the inventory: add it there, "
                f"or remove it (make swarm-node REMOVE={host})."
            )
        elif host in inventory.play:
            yield (
                f"{host} runs containers of the swarm and cannot be reached: mend that, "
                f"or have them go elsewhere (make swarm-node DRAIN={host})."
            )


def node(inventory: Inventory, looks: Mapping[str, Look], host: str, action: str) -> dict[str, Any]:
    """{id, state, acting, problems} of a node that is to be drained, activated or removed."""
    others = {each: look for each, look in looks.items() if action != "remove" or each != host}
    lead = acting(inventory, others)
    listed: Sequence[Look] = looks[lead]["nodes"] if lead else []
    found = [each for each in listed if host in (name(each), each["id"])]
    done = {"acting": lead, "id": found[0]["id"] if found else "", "state": found[0]["state"] if found else ""}
    if action not in ("drain", "activate", "remove"):
        return done | {"problems": [f"{action or 'Nothing'} is no command: say drain, activate or remove."]}
    if not lead or not looks[lead]["control"] or not listed:
        return done | {
            "problems": [f"No manager that could act on {host} is reached and in control of a swarm that has a leader."]
        }
    if len(found) != 1:
        said = "no node" if not found else f"{len(found)} nodes"
        return done | {"problems": [f"{host} is {said} of the swarm: name one, by its id where names are the same."]}
    return done | {"problems": list(_harm(found[0], listed, action))}


def _harm(found: Look, listed: Sequence[Look], action: str) -> Iterator[str]:
    """What an action would do to the swarm, or to a stack that has its volumes on the node."""
    managers = [each for each in listed if each["role"] == "manager" and each["id"] != found["id"]]
    there = [each for each in managers if each["reachability"] == "reachable"]
    if action == "remove" and found["role"] == "manager" and len(there) * 2 <= len(managers):
        yield (
            f"Without {name(found)}, {len(there)} of {len(managers)} managers would be reachable, which is no "
            "majority: bring the others back first."
        )
    keeps = [label for label in found["labels"] if label.endswith(".data")]
    if action != "activate" and found["state"] == "ready" and keeps and found["availability"] == "active":
        stacks = ", ".join(label.removeprefix("coffre.").removesuffix(".data") for label in keeps)
        yield (
            f"The volumes of {stacks} are on {name(found)}, and what keeps them would stop: move them first "
            "(docs/swarm.md), or drain the node by docker node update --availability drain."
        )


def labels(
    inventory: Inventory, looks: Mapping[str, Look], stack: str, data: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """(what is to be changed of the nodes so that a stack's tasks find them, problems).

    `data` is the host that keeps the stack's volumes, "" for a stack that has none.
    """
    wants, keeps = f"coffre.{stack}", f"coffre.{stack}.data"
    lead = acting(inventory, looks)
    hosts = {look["node"]: host for host, look in looks.items() if look["node"]}
    changes, problems = [], []
    for node in looks[lead]["nodes"] if lead else []:
        host = hosts.get(node["id"]) or name(node)
        if keeps in node["labels"] and data and host != data:
            problems.append(
                f"The volumes of {stack} are on {host}, and {data} is to have them: set swarm_cluster_data_host to "
                f"{host}, or move them first (docs/swarm.md)."
            )
        wanted = {wants: "true"} | ({keeps: "true"} if host == data else {})
        if node["id"] in hosts and any(node["labels"].get(label) != value for label, value in wanted.items()):
            changes.append({"host": host, "id": node["id"], "labels": wanted})
    if data and data not in inventory.hosts:
        problems.append(f"swarm_cluster_data_host is {data}, which is no host of the swarm: name one.")
    return changes, problems

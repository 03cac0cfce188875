"""What is to be done so that hosts are one swarm, and each thing that forbids it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.swarm import plan

ABOUT = plan.Inventory("swarm", ["m1", "m2", "m3"], ["w1"], ["m1", "m2", "m3", "w1"])


def node(host: str, **differs: Any) -> dict[str, Any]:
    """What a manager lists of a member that is as it should be."""
    role = "manager" if host.startswith("m") else "worker"
    said = {"id": f"id-{host}", "hostname": host, "role": role, "availability": "active", "state": "ready"}
    return said | {"address": "", "reachability": "", "labels": {plan.LABEL_HOST: host}} | differs


def look(number: int, host: str, **differs: Any) -> dict[str, Any]:
    said = {
        "hostname": host,
        "address": f"192.0.2.{number}",
        "offset": 0.0,
        "engine": "26.1.5+dfsg1",
        "state": "inactive",
    }
    rest = {"node": "", "control": False, "cluster": "", "labels": {}, "nodes": [], "swaps": [], "lacks": []}
    return said | rest | differs


def bare(**differs: dict[str, Any]) -> dict[str, Any]:
    """Hosts that are in no swarm, some of them different."""
    return {host: look(number, host, **differs.get(host, {})) for number, host in enumerate(ABOUT.hosts, 1)}


def swarm(nodes: dict[str, dict[str, Any]] | None = None, **differs: dict[str, Any]) -> dict[str, Any]:
    """Hosts that are one, some of them different; `nodes` by host is what the managers list differently, or besides."""
    names = [*ABOUT.hosts, *(host for host in nodes or {} if host not in ABOUT.hosts)]
    listed = [node(host, **(nodes or {}).get(host, {})) for host in names]
    found = {}
    for number, host in enumerate(ABOUT.hosts, 1):
        member: dict[str, Any] = {"state": "active", "node": f"id-{host}"}
        if host in ABOUT.managers:
            member |= {"control": True, "cluster": "c1", "labels": {plan.LABEL_SWARM: "swarm"}, "nodes": listed}
        found[host] = look(number, host, **member, **{})
        found[host] |= differs.get(host, {})
    return found


OUTSIDE = {"state": "inactive", "node": "", "control": False, "cluster": "", "labels": {}, "nodes": []}


def test_bare_hosts_become_a_swarm() -> None:
    found = plan.plan(ABOUT, bare())
    assert found == {
        "problems": [],
        "acting": "m1",
        "create": True,
        "join": {"m1": "manager", "m2": "manager", "m3": "manager", "w1": "worker"},
        "dead": [],
        "nodes": [],
        "locked": [],
    }


def test_a_swarm_that_is_as_the_inventory_says_is_left_alone() -> None:
    found = plan.plan(ABOUT, swarm())
    assert found == {
        "problems": [], "acting": "m1", "create": False, "join": {}, "dead": [], "nodes": [], "locked": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("looks", "acting"),
    [
        (swarm(), "m1"),
        (swarm(m1={"control": False}), "m2"),
        (swarm({"m1": {"availability": "drain"}}), "m2"),
        (swarm({host: {"availability": "drain"} for host in ABOUT.managers}), "m1"),
        ({host: each for host, each in swarm().items() if host != "m1"}, "m2"),
        (bare(), "m1"),
        ({"w1": bare()["w1"]}, ""),
    ],
)
def test_the_manager_that_acts_is_the_first_in_control(looks: dict[str, Any], acting: str) -> None:
    assert plan.acting(ABOUT, looks) == acting


def test_a_host_that_was_installed_anew_takes_the_place_of_the_node_it_was() -> None:
    found = plan.plan(ABOUT, swarm({"m2": {"state": "down"}}, m2=OUTSIDE))
    assert (found["join"], found["dead"], found["problems"]) == ({"m2": "manager"}, ["id-m2"], [])


def test_a_node_that_is_not_labelled_yet_is_known_by_what_its_host_calls_itself() -> None:
    found = plan.plan(ABOUT, swarm({"w1": {"state": "down", "labels": {}}}, w1=OUTSIDE))
    assert found["dead"] == ["id-w1"]


def test_a_host_whose_group_changed_is_promoted_before_another_is_demoted() -> None:
    found = plan.plan(ABOUT, swarm({"m1": {"role": "worker"}, "w1": {"role": "manager"}}))
    assert [(each["host"], each["role"]) for each in found["nodes"]] == [("m1", "manager"), ("w1", "worker")]


def test_a_manager_that_is_locked_waits_for_its_key() -> None:
    found = plan.plan(ABOUT, swarm({"m3": {"state": "down"}}, m3=OUTSIDE | {"state": "locked"}))
    assert found["locked"] == ["m3"]
    assert (found["problems"], found["join"], found["dead"]) == ([], {}, [])


@pytest.mark.parametrize(
    ("looks", "about", "words"),
    [
        (bare(), replace(ABOUT, managers=["m1", "m2"]), "swarm_managers has 2 hosts: make it an odd number"),
        (bare(w1={"swaps": ["/dev/sda2"]}), ABOUT, "w1 could swap secrets to /dev/sda2, which is not encrypted"),
        (bare(m2={"lacks": ["esp"]}), ABOUT, "The kernel of m2 has no ESP"),
        (bare(m2={"lacks": ["esp", "vxlan"]}), replace(ABOUT, plain=True), "The kernel of m2 has no VXLAN"),
        (bare(m2={"offset": -20.0}, m3={"offset": 20.0}), ABOUT, "The clocks of m2 and m3 are 40 s apart"),
        (bare(), replace(ABOUT, reached={"w1": ["m1 4789/udp"]}), "w1 does not reach m1 4789/udp: open it"),
        (bare(), replace(ABOUT, taken={"w1": ["2377/tcp"]}), "Port 2377/tcp of w1 is in use by another program"),
        (bare(m1={"engine": "20.10"}), ABOUT, "m1 has Docker Engine 20.10, and a swarm needs 25 or later"),
        (bare(m1={"engine": ""}), ABOUT, "m1 has no Docker Engine that answers"),
        (bare(m1={"address": ""}), ABOUT, "m1 has no IPv4 address for the others (none): set swarm_cluster_address"),
        (bare(m1={"address": "127.0.1.1"}), ABOUT, "The others cannot reach m1 at 127.0.1.1"),
        (bare(m1={"address": "10.255.3.4"}), ABOUT, "lies in 10.255.0.0/16, from which overlay networks get theirs"),
        (bare(m1={"hostname": "m2"}), ABOUT, "2 hosts have the hostname m2"),
        (bare(m1={"address": "192.0.2.2"}), ABOUT, "2 hosts have the address 192.0.2.2"),
        ({"w1": swarm()["w1"]}, ABOUT, "No manager is among the hosts of this play: with --limit, name one too"),
        ({"m1": bare()["m1"]}, ABOUT, "No manager of this play is in control of a swarm, and m2, m3 may be"),
        (bare(w1={"state": "active", "node": "x"}), ABOUT, "w1 is in a swarm (active) of which no manager"),
        (bare(m1={"state": "locked"}), ABOUT, "m1 is locked, and no manager is in control"),
        (swarm(m1={"nodes": []}), ABOUT, "The swarm of m1 does not tell its nodes"),
        (swarm(m1={"labels": {}}), ABOUT, "The swarm of m1 is not made by this role"),
        (swarm(), replace(ABOUT, name="other"), "The swarm of m1 is that of swarm"),
        (swarm(m3={"cluster": "c2"}), ABOUT, "m3 is in another swarm than m1"),
        (swarm(w1={"node": "x"}), ABOUT, "w1 is in another swarm than m1, or was removed from it"),
        (swarm(w1={"state": "error"}), ABOUT, "The engine of w1 is in the swarm and in state error"),
        (swarm({"w9": {}}), ABOUT, "w9 (id-w9) is a node of the swarm and no host of the inventory"),
        (
            {host: each for host, each in swarm().items() if host != "w1"},
            ABOUT,
            "w1 runs containers of the swarm and cannot be reached",
        ),
    ],
)
def test_what_forbids_it(looks: dict[str, Any], about: plan.Inventory, words: str) -> None:
    problems = plan.plan(about, looks)["problems"]
    assert any(words in each for each in problems), problems


@pytest.mark.parametrize(
    ("looks", "about"),
    [
        (bare(m2={"lacks": ["esp"]}), replace(ABOUT, plain=True)),
        (bare(m2={"offset": 2.0}), ABOUT),
        (bare(m2={"address": "10.255.0.1"}), replace(ABOUT, pool="10.96.0.0/16")),
        (swarm({"w9": {"state": "down"}, "w8": {"availability": "drain"}}), ABOUT),
        # Not reached because --limit did not ask for it.
        ({host: each for host, each in swarm().items() if host != "w1"}, replace(ABOUT, play=["m1", "m2", "m3"])),
        # Drained, it may be away.
        ({h: each for h, each in swarm({"w1": {"availability": "drain"}}).items() if h != "w1"}, ABOUT),
    ],
)
def test_what_does_not_forbid_it(looks: dict[str, Any], about: plan.Inventory) -> None:
    assert plan.plan(about, looks)["problems"] == []


def test_the_stacks_tasks_may_run_on_each_node_that_was_seen_to_and_its_volumes_on_one() -> None:
    changes, problems = plan.labels(ABOUT, swarm({"m1": {"labels": {"coffre.shop": "true"}}}), "shop", "w1")
    assert problems == []
    assert {each["host"]: each["labels"] for each in changes} == {
        "m2": {"coffre.shop": "true"},
        "m3": {"coffre.shop": "true"},
        "w1": {"coffre.shop": "true", "coffre.shop.data": "true"},
    }
    assert plan.labels(ABOUT, bare(), "shop", "") == ([], [])


@pytest.mark.parametrize(
    ("nodes", "data", "words"),
    [
        (
            {"w1": {"labels": {"coffre.shop.data": "true"}}},
            "m3",
            "The volumes of shop are on w1, and m3 is to have them",
        ),
        ({}, "db1", "swarm_cluster_data_host is db1, which is no host of the swarm"),
    ],
)
def test_volumes_do_not_wander(nodes: dict[str, Any], data: str, words: str) -> None:
    _, problems = plan.labels(ABOUT, swarm(nodes), "shop", data)
    assert [words in each for each in problems] == [True]


AWAY = {"reachability": "unreachable"}
HERE = {"reachability": "reachable"}
ALL = {"m1": HERE, "m2": HERE, "m3": HERE}


@pytest.mark.parametrize(
    ("looks", "host", "action", "acting"),
    [
        (swarm(ALL), "w1", "drain", "m1"),
        (swarm(ALL), "id-w1", "remove", "m1"),
        (swarm(ALL), "m1", "drain", "m1"),
        (swarm(ALL), "m1", "remove", "m2"),
        (swarm(ALL | {"m3": AWAY | {"state": "down"}}), "m3", "remove", "m1"),
        (swarm(ALL | {"w1": {"labels": {"coffre.shop.data": "true"}, "state": "down"}}), "w1", "remove", "m1"),
        (swarm(ALL | {"w1": {"labels": {"coffre.shop.data": "true"}}}), "w1", "activate", "m1"),
    ],
)
def test_a_node_comes_and_goes(looks: dict[str, Any], host: str, action: str, acting: str) -> None:
    found = plan.node(ABOUT, looks, host, action)
    assert (found["problems"], found["acting"], found["id"]) == ([], acting, f"id-{host.removeprefix('id-')}")


@pytest.mark.parametrize(
    ("looks", "host", "action", "words"),
    [
        (swarm(ALL), "w1", "", "Nothing is no command"),
        (swarm(ALL), "w7", "drain", "w7 is no node of the swarm"),
        (swarm(ALL | {"w2": {"labels": {}, "hostname": "w1"}}), "w1", "drain", "w1 is 2 nodes of the swarm"),
        (bare(), "w1", "drain", "No manager that could act on w1"),
        (swarm(ALL | {"m3": AWAY}), "m2", "remove", "Without m2, 1 of 2 managers would be reachable"),
        ({"m1": swarm(ALL)["m1"]}, "m1", "remove", "No manager that could act on m1"),
        (
            swarm(ALL | {"w1": {"labels": {"coffre.host": "w1", "coffre.shop.data": "true"}}}),
            "w1",
            "drain",
            "The volumes of shop are on w1",
        ),
    ],
)
def test_a_node_that_is_not_let_go(looks: dict[str, Any], host: str, action: str, words: str) -> None:
    (problem,) = plan.node(ABOUT, looks, host, action)["problems"]
    assert words in problem

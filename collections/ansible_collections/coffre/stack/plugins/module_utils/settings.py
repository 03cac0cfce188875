"""What each setting of an inventory may be, by its name: looked at on the controller, before any host is reached."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from .compose_file import NAME
from .errors import CoffreError
from .paths import RUN, StackPaths

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
URL = re.compile(rf"https://({LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\])(?::([1-9]\d{{0,4}}))?")
MEMORY = re.compile(r"([1-9]\d*)([bkmg])b?")
HEAP = re.compile(r"([1-9]\d*)([kmg])")
UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
LEAST_MEMORY = 6 << 20  # the engine starts no container with less
IMAGE = re.compile(r"[a-z0-9](?:[A-Za-z0-9._:@-]|/(?!/))*")
INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}\*?|\*")
ENDPOINT = re.compile(r"/[!-~]*")
VARIABLE = re.compile(r"[A-Za-z_]\w*")
SWITCHES = ("true", "false", "yes", "no", "on", "off", "1", "0")

Rule = Callable[[Any], str]  # what to write instead, "" if the value will do


def _name(value: Any) -> str:
    try:
        StackPaths(value)
    except CoffreError:
        return "up to 40 of a-z, 0-9 and -, a letter first"
    return ""


def _url(value: Any) -> str:
    if isinstance(value, str):
        if _is_url(value):
            return ""
        if _is_url(better := value.strip().rstrip("/").lower()):
            return better
    return "https://NAME or https://NAME:PORT, in lower case and with nothing behind it"


def _is_url(value: str) -> bool:
    if not (found := URL.fullmatch(value)) or len(found[1]) > 253 or int(found[2] or 1) > 65535:
        return False
    host = found[1].strip("[]")
    # What ends in a number is an address to everybody who reads it.
    if ":" not in host and not host.rpartition(".")[2].isdigit():
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def number(low: int, high: int) -> Rule:
    """A whole number in these bounds, as YAML or -e has it."""

    def rule(value: Any) -> str:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        fits = re.fullmatch(r"0|[1-9]\d{0,9}", text) and low <= int(text) <= high
        return "" if fits else f"a whole number from {low} to {high}"

    return rule


def _switch(value: Any) -> str:
    fits = isinstance(value, bool) or str(value).lower() in SWITCHES
    return "" if fits else "true or false"


def _choice(*choices: str) -> Rule:
    return lambda value: "" if value in choices else f"one of {', '.join(choices)}"


def _path(empty: bool) -> Rule:
    def rule(value: Any) -> str:
        if (value in ("", None) and empty) or (isinstance(value, str) and value.startswith("/") and value != "/"):
            return ""
        return "an absolute path" + (', or ""' if empty else "")

    return rule


def _matches(pattern: re.Pattern[str], words: str, empty: bool = False) -> Rule:
    def rule(value: Any) -> str:
        return "" if isinstance(value, str) and (pattern.fullmatch(value) or (empty and not value)) else words

    return rule


def _each(rule: Rule) -> Rule:
    """A list whose entries all will do."""

    def listed(value: Any) -> str:
        if isinstance(value, list | tuple):
            return next((f"a list of {words}" for each in value if (words := rule(each))), "")
        return f"a list of {rule(None)}"

    return listed


def _one_or_each(rule: Rule) -> Rule:
    """A list whose entries all will do, or such an entry by itself."""
    return lambda value: _each(rule)([value] if isinstance(value, str) else value)


def _network(value: Any) -> str:
    try:
        ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        return "addresses or networks, IPv4 or IPv6"
    return ""


def _own_address(value: Any) -> str:
    try:
        ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        return "" if value == "" else 'an IPv4 address, or ""'
    return ""


def _pool(value: Any) -> str:
    """A network that can be divided into some of 24 bits."""
    try:
        fits = ipaddress.IPv4Network(value if isinstance(value, str) else "").prefixlen <= 22
    except ValueError:
        fits = False
    return "" if fits else "an IPv4 network of 22 bits or fewer, such as 10.255.0.0/16"


def _address(value: Any) -> str:
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return "addresses, IPv4 or IPv6"
    return ""


def _bytes(value: Any, pattern: re.Pattern[str]) -> int:
    found = pattern.fullmatch(str(value).lower())
    return int(found[1]) * UNITS[found[2]] if found else 0


def _memory(value: Any) -> str:
    return "" if _bytes(value, MEMORY) >= LEAST_MEMORY else "such as 256m or 1g, and 6m or more"


def _heap(value: Any) -> str:
    return "" if _bytes(value, HEAP) else "such as 256m or 1g"


def _processors(value: Any) -> str:
    fits = re.fullmatch(r"\d{1,3}(\.\d{1,3})?", str(value)) and float(value) > 0 and not isinstance(value, bool)
    return "" if fits else "a number of processors above 0, such as 1.5"


LIMITS: dict[str, Rule] = {
    "memory": _memory,
    "heap": _heap,
    "pids": number(1, 4194304),
    "cpus": _processors,
    "cpu_shares": number(2, 262144),
}


def _limits(value: Any) -> str:
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        return "by service, each with some of memory, heap, pids, cpus and cpu_shares"
    if unknown := [name for name in value if not NAME.fullmatch(str(name))]:
        return f"by service, which {unknown[0]!r} is not"
    for service, limits in value.items():
        for key, limit in limits.items():
            if key not in LIMITS:
                return f"without {service}.{key}, which is no limit"
            if words := LIMITS[key](limit):
                return f"with a {service}.{key} {words}"
        if "heap" in limits and "memory" in limits and _bytes(limits["heap"], HEAP) >= _bytes(limits["memory"], MEMORY):
            return f"with a {service}.heap below {service}.memory"
    return ""


def _replicas(value: Any) -> str:
    few = number(1, 100)
    fits = isinstance(value, Mapping) and all(
        NAME.fullmatch(str(name)) and not few(each) for name, each in value.items()
    )
    return "" if fits else "by service, each a whole number from 1 to 100"


def _logging(value: Any) -> str:
    options = value.get("options", {}) if isinstance(value, Mapping) else None
    fits = (
        isinstance(options, Mapping)
        and set(value) <= {"driver", "options"}
        and isinstance(value.get("driver"), str)
        and value["driver"]
        and all(isinstance(name, str) and isinstance(each, str | int) for name, each in options.items())
    )
    return "" if fits else "a driver, and its options by name if any"


def _references(value: Any) -> str:
    fits = isinstance(value, Mapping) and all(
        isinstance(name, str) and NAME.fullmatch(name) and isinstance(image, str) and IMAGE.fullmatch(image)
        for name, image in value.items()
    )
    return "" if fits else "an image by service"


def _environment(value: Any) -> str:
    fits = isinstance(value, Mapping) and all(
        isinstance(name, str) and VARIABLE.fullmatch(name) and isinstance(each, str | int | float)
        for name, each in value.items()
    )
    return "" if fits else "a text by name of a variable, each name of letters, digits and _"


PORT = number(1, 65535)
SECONDS = number(1, 86400)
RULES: dict[str, Rule] = {
    "stack_name": _name,
    "stack_engine": _choice("compose", "swarm"),
    "stack_public_url": _url,
    "stack_services_url": _url,
    "stack_https_port": PORT,
    "stack_http_port": PORT,
    "stack_bind_address": _one_or_each(_address),
    "stack_admin_console": _switch,
    "stack_limits": _limits,
    "stack_replicas": _replicas,
    "stack_logging": _logging,
    "stack_environment": _environment,
    "stack_services_timeout": SECONDS,
    "stack_services_health_seconds": SECONDS,
    "stack_services_ca_path": _path(empty=True),
    "stack_secrets_source": _choice("demo", "file", "keyvault"),
    "stack_secrets_directory": _path(empty=True),
    "stack_secrets_trailing_newline": _choice("refuse", "strip"),
    "stack_secrets_require_noswap": _switch,
    "stack_secrets_seal_key": _choice("auto", "host", "tpm2"),
    "stack_services_endpoints": _each(_matches(ENDPOINT, "paths, each with / first")),
    "secret_rotation_before_days": number(0, 3650),
    "secret_rotation_lease_seconds": SECONDS,
    "secret_rotation_timeout": SECONDS,
    "secret_rotation_take_over": _matches(RUN, "the id that the refusal named", empty=True),
    "container_images_base": _matches(IMAGE, 'an image in a registry, or ""', empty=True),
    "container_images_references": _references,
    "container_images_archive": _choice("auto", "always"),
    "container_images_cache": _path(empty=False),
    "docker_host_blocked_addresses": _each(_network),
    "docker_host_container_interfaces": _each(_matches(INTERFACE, "names of interfaces, * at the end")),
    "docker_host_live_restore": _switch,
    "docker_host_swarm": _switch,
    "stack_plain_networks": _switch,
    "swarm_cluster_address": _own_address,
    "swarm_cluster_address_pool": _pool,
}


def problems(given: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting that cannot work; what is not among RULES or not given is not looked at."""
    found = []
    for name, value in given.items():
        if name in RULES and (words := RULES[name](value)):
            # Not the content of a collection, which may be long.
            told = "not set" if value is None else "wrong" if isinstance(value, Mapping | list) else repr(value)
            found.append(f"{name} is {told}: make it {words}.")
    return found

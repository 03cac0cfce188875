"""The doctor's checks of what runs out: the ages of secrets, and certificates."""

from __future__ import annotations

import os
import ssl
import urllib.parse
from datetime import UTC, datetime, timedelta

from ..catalogue import HOST, Secret
from ..errors import CoffreError
from ..sources import base as sources
from ..values import lifetimes
from .target import SOON, Target, verdict


def ages(target: Target) -> str:
    """No secret is older than its catalogue allows, and none is dated in the future."""
    now, problems, soon = datetime.now(UTC), [], []
    for name, secret in sorted(target.catalogue.secrets.items()):
        held = target.state.secrets.get(name)
        if held and lifetimes.ahead(held, now):
            problems.append(
                f"{name} was made on {lifetimes.parsed(held.created):%Y-%m-%d}, which is to come, so a clock was ahead "
                f"then{_by_hand(target, secret)}"
            )
        if secret.max_age_days is None or held is None:
            continue
        due = lifetimes.parsed(held.created) + timedelta(days=secret.max_age_days)
        if due <= now:
            problems.append(f"{name} is due for rotation since {due:%Y-%m-%d}{_by_hand(target, secret)}")
        elif due <= now + SOON:
            soon.append(f"{name} on {due:%Y-%m-%d}")
    warnings = [f"due within {SOON.days} days: {', '.join(soon)}"] if soon else []
    return verdict(problems, "no secret is due soon", warnings)


def values(target: Target) -> str:
    """No value in force, outside a demo, is one that a program has built in for a demo."""
    found = [
        name
        for name in sorted(target.catalogue.secrets)
        if target.values.get(name, b"").startswith(sources.DEMO_MARK) and not target.source.BUILT_IN
    ]
    problems = [
        f"{name} begins with demo-, as what a program has built in for a demo"
        f"{_by_hand(target, target.catalogue.secrets[name])}"
        for name in found
    ]
    return verdict(problems, "the stack is a demo" if target.source.BUILT_IN else "no value is one of a demo")


def _by_hand(target: Target, secret: Secret) -> str:
    """What else is to be done where no deploy adopts a new value, and no rotation makes it."""
    return target.source.advice(secret) if sources.kept(target.catalogue, secret) else ""


def certificates(target: Target) -> str:
    """The certificates that services present: key, name and chain agree, and they are valid for a while."""
    now, problems, warnings, notes = datetime.now(UTC), [], [], []
    for (service, name), bundle in target.known():
        if service == HOST or target.state.services[service].staged != name:
            continue
        for file in bundle.files:
            if b"-----BEGIN CERTIFICATE-----" not in (data := _presented(target, service, name, file)):
                continue
            try:
                expires = _handshake(data, target)
            except ssl.SSLCertVerificationError as error:
                problems.append(f"{file} is refused by a client: {error.verify_message}")
            except ssl.SSLError as error:
                problems.append(f"{file} cannot be used: {(error.reason or 'unknown').replace('_', ' ').lower()}")
            else:
                if expires <= now + SOON:
                    warnings.append(f"{file} expires soon, on {expires:%Y-%m-%d}")
                notes.append(f"{file} expires on {expires:%Y-%m-%d}")
    if target.ca_path:
        for authority in ssl.create_default_context(cafile=str(target.ca_path)).get_ca_certs():
            begins, expires = _date(str(authority["notBefore"])), _date(str(authority["notAfter"]))
            if begins > now:
                problems.append(f"the authority in {target.ca_path} is not valid before {begins:%Y-%m-%d}")
            elif expires <= now:
                problems.append(f"the authority in {target.ca_path} expired on {expires:%Y-%m-%d}")
            elif expires <= now + SOON:
                warnings.append(f"the authority in {target.ca_path} expires soon, on {expires:%Y-%m-%d}")
    return verdict(problems, "; ".join(notes) or "no service presents a certificate", warnings)


def _date(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _presented(target: Target, service: str, name: str, file: str) -> bytes:
    """A file of a bundle as its service has it. Raises CoffreError for what a swarm does not have."""
    if not target.paths.on_swarm:
        return (target.paths.bundle(service, name) / file).read_bytes()
    if (content := target.contents[service, name]) is None:
        raise CoffreError(f"the swarm does not have all secrets of {service}")
    return content.files[file]


def _handshake(data: bytes, target: Target) -> datetime:
    """Present a certificate to a client of the stack, in memory; when it expires. Raises ssl.SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(data)
        file.flush()
        server.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    presenting = server.wrap_bio(to_server, to_client, server_side=True)
    name = urllib.parse.urlsplit(next(iter(target.endpoints), "https://localhost")).hostname
    asking = target.trusting().wrap_bio(to_client, to_server, server_hostname=name)
    for side in (asking, presenting, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return _date(str((asking.getpeercert() or {})["notAfter"]))

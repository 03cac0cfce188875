"""What staging is to do, decided at once from what was read: no file is looked at here, and none is changed."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..catalogue import HOST, Catalogue, Secret, Service
from ..errors import CoffreError, SourceError
from ..host import bundles, rings, state
from ..host.escrow import concerned, desired, introduced
from ..sources.base import DEMO_MARK, Earlier, Held, Resolved, Values, misfits, unfit
from .holdings import Host, Key
from .inspect import Deviations, Inspection, Rights

CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?")


@dataclass(frozen=True)
class Made:
    """A bundle that is to be written."""

    service: str
    name: str
    content: bundles.Content = field(repr=False)


@dataclass(frozen=True)
class StagingPlan:
    """What is to become of a host whose state is `before`.

    `known` is that state without the bundles that are lost; of it `raised` are to come again from their sealed copies.
    `recorded` is whether what is in force changes; `authorities` are the certificates of those that clients may trust.
    """

    before: state.State
    known: state.State
    state: state.State
    made: list[Made]
    raised: list[str]
    repairs: list[tuple[Path, Rights]]
    removals: list[Path]
    warnings: list[str]
    recorded: bool
    authorities: bytes


def of_the_run(host: Host, catalogue: Catalogue) -> Resolved:
    """While a rotation is open: its values, and of all other secrets what the host holds.

    Raises CoffreError for secrets that the host does not have: services would roll with what nobody was taught.
    """
    run, held = host.state.run, host.held
    assert run
    if new := [name for name in catalogue.secrets if name not in held and name not in run.secrets]:
        raise CoffreError(
            f"This host does not have {', '.join(new)}, and the rotation of {', '.join(run.secrets)} is open; nothing "
            f"was staged: take {', '.join(new)} out of the catalogue until the rotation is closed."
        )
    taken = {name: versions[0] for name, versions in held.items() if name in catalogue.secrets}
    for name, value in host.run.items():
        record = desired(run, run.secrets[name])[1]
        taken[name] = Held(record.version, record.created, value, record.attributes, record.expires)
    return Resolved(taken, vault=host.state.vault)


def decide(
    host: Host, seen: Inspection, catalogue: Catalogue, resolved: Resolved, deploys: bool = False
) -> StagingPlan:
    """Say what to do for the values that are to be in force. Raises SourceError for values that cannot be staged.

    Where it `deploys`, all bundles become as the catalogue has them, those too that an open rotation leaves alone.
    """
    spared = set() if deploys else _spared(host, seen, catalogue)
    lost = {key for key in host.lost if key[0] not in spared}
    values, notes = _ringed(host, catalogue, resolved.values)
    _check(catalogue, host.state, values)
    known = _without(host.state, lost)
    looks = {key: look for key, look in seen.bundles.items() if key not in lost}
    sound = {
        key: content
        for key, content in host.contents.items()
        if key not in lost and (key not in looks or looks[key].sound)
    }
    st = copy.deepcopy(known)
    made = _bundles(st, catalogue, values, sound, spared, st.run is not None and not deploys)
    st.secrets = _recorded(catalogue, values)
    recorded = st != host.state
    st.vault = resolved.vault  # what was seen is no change of what is in force
    found = [seen.around, *looks.values()]
    return StagingPlan(
        before=host.state,
        known=known,
        state=st,
        made=made,
        raised=_named(known) if seen.empty else [],
        repairs=[each for look in found for each in look.misowned],
        removals=[path for look in found for path in look.foreign],
        warnings=[*_gone(host), *resolved.warnings, *notes, *_told(looks)],
        recorded=recorded,
        authorities=_authorities(catalogue, values),
    )


def _named(st: state.State) -> list[str]:
    """All bundles of a state, as service/bundle."""
    return [f"{service}/{name}" for service, entry in st.services.items() for name in entry.bundles]


def _spared(host: Host, seen: Inspection, catalogue: Catalogue) -> set[str]:
    """The services whose bundles stay as they are: those that the open rotation does not roll.

    What else is different of them, such as a key past its date, waits for a run that rolls them. The host adopts at
    once, so it is never among them; nor is a service whose bundle is not there, as its container could not start again.
    """
    st = host.state
    if not st.run:
        return set()
    rolled = {HOST, *concerned(catalogue, st)}
    there = {key for key, look in seen.bundles.items() if not look.missing}
    return {
        service
        for service, entry in st.services.items()
        if service not in rolled and entry.staged and (service, entry.staged) in there
    }


def _without(before: state.State, lost: Collection[Key]) -> state.State:
    """The state without some bundles; their files stay until no container uses them and they are collected."""
    st = copy.deepcopy(before)
    for service, name in lost:
        entry = st.services[service]
        del entry.bundles[name]
        entry.current = None if entry.current == name else entry.current
        entry.next = None if entry.next == name else entry.next
    return st


def _gone(host: Host) -> list[str]:
    """What is said of sealed copies that are gone."""
    return [
        f"The sealed copy of {service}'s bundle {name} is gone: a new bundle takes over what is left in memory, and "
        "what is not comes anew from the source."
        for service, name in host.lost
    ]


def _told(looks: Mapping[Key, Deviations]) -> list[str]:
    """What is said of bundles that are replaced because of what they look like."""
    said = []
    for (service, name), look in looks.items():
        if look.missing:
            said.append(f"The bundle {name} of {service} was missing: a new one replaces it.")
        said += [
            f"The file {file} in {service}'s bundle {name} was missing or altered: a new bundle replaces it."
            for file in look.altered
        ]
    return said


def _used(st: state.State, catalogue: Catalogue) -> set[str]:
    """The secrets whose version of state a container may have used: adopted, or handed out by an open rotation."""
    adopted = [entry.bundles[entry.current].versions for entry in st.services.values() if entry.current]
    exposed = {
        name
        for name in (st.run.secrets if st.run else {})
        if name in catalogue.secrets and st.run and set(st.run.exposed) & set(catalogue.secrets[name].consumers)
    }
    return exposed | {
        name for name, secret in st.secrets.items() if any(versions.get(name) == secret.version for versions in adopted)
    }


def _ringed(host: Host, catalogue: Catalogue, values: Values) -> tuple[Values, list[str]]:
    """(values with the rings that belong to them, warnings)."""
    used, warnings = _used(host.state, catalogue), list[str]()
    found = {
        name: _with_ring(catalogue.secrets[name], host, each, name in used, warnings) for name, each in values.items()
    }
    return found, warnings


def _with_ring(secret: Secret, host: Host, held: Held, used: bool, warnings: list[str]) -> Held:
    """A version with the ring that belongs to it: the host's, or, where it does not know the secret, the source's."""
    st = host.state
    if secret.name not in st.secrets:
        return held
    values = {each.previous.version: each.value for each in held.ring} | dict(host.versions.get(secret.name, {}))
    ring = st.secrets[secret.name].ring  # of what the open rotation leaves alone
    if not st.run or secret.name in st.run.secrets:
        ring = rings.after(secret, st.secrets[secret.name], held.version, state.now(), used)
    if st.run and (change := st.run.secrets.get(secret.name)) and not change.reached("adopted"):
        # Nobody has signed with what was introduced only, so it leaves with the rotation.
        ring = introduced(st.run, change) + [each for each in ring if each.version != change.new.version]
    if gone := [each.version for each in ring if each.version not in values]:
        warnings.append(
            f"The earlier {'version' if len(gone) == 1 else 'versions'} {', '.join(gone)} of {secret.name} cannot be "
            "had any more: what was signed with it is no longer accepted."
        )
    kept = tuple(Earlier(each, values[each.version]) for each in ring if each.version in values)
    return replace(held, ring=kept)


def _check(catalogue: Catalogue, st: state.State, values: Values) -> None:
    problems = [
        f"{name} {problem}"
        for name, secret in catalogue.secrets.items()
        if (problem := unfit(secret, values[name].value))
    ]
    if not problems:
        problems = misfits(
            catalogue,
            {name: held.value for name, held in values.items()},
            {name: _attributes(catalogue, name, held) for name, held in values.items()},
        )
    if not problems and not st.run:
        problems = _certificates(catalogue, st, values) + _of_a_demo(st, values)
    if problems:
        raise SourceError(f"The secrets cannot be staged: {'; '.join(problems)}.")


def _of_a_demo(st: state.State, values: Values) -> list[str]:
    """The new values that a program has built in for a demo. Of one that is in force, doctor tells."""
    known = {name: secret.version for name, secret in st.secrets.items()}
    return [
        f"{name} begins with demo-, as what a program has built in for a demo: give it a value of your own"
        for name, held in values.items()
        if held.value.startswith(DEMO_MARK) and held.version != known.get(name)
    ]


def _certificates(catalogue: Catalogue, st: state.State, values: Values) -> list[str]:
    """The new certificates that no server can use. One that is in force may well be past its end: doctor tells."""
    from ..values import certificates

    known = {name: secret.version for name, secret in st.secrets.items()}
    return [
        f"{name} {problem}"
        for name, secret in catalogue.secrets.items()
        if (wanted := certificates.names(secret))
        and values[name].version != known.get(name)
        and (problem := certificates.misfit(values[name].value, wanted))
    ]


def _attributes(catalogue: Catalogue, name: str, held: Held) -> dict[str, str]:
    return {**catalogue.secrets[name].attributes, **held.attributes}


def _content(catalogue: Catalogue, service: Service, values: Values) -> bundles.Content:
    """What a service's bundle is to hold: its secrets alone, its composed files, and what those are made of."""

    def lookup(secret: str, attribute: str | None) -> str:
        held = values[secret]
        told = {"version": held.version, "created": held.created, **_attributes(catalogue, secret, held)}
        return told[attribute] if attribute else held.value.decode("utf-8")

    content = bundles.Content(
        files={file.name: file.render(lookup).encode("utf-8") for file in service.files}
        | {name: text.encode("utf-8") for name, text in catalogue.plain.get(service.name, {}).items()},
        values={name: values[name].value for name in service.composed},
    )
    for name in catalogue.consumed(service.name):
        if name not in service.composed:
            content.files[name] = values[name].value
        place = content.files if rings.mounted(catalogue.secrets[name], service) else content.values
        place |= {rings.file(name, each.previous.version): each.value for each in values[name].ring}
    return content


def _bundles(
    st: state.State,
    catalogue: Catalogue,
    values: Values,
    sound: Mapping[Key, bundles.Content],
    spared: Collection[str],
    as_before: bool,
) -> list[Made]:
    """Decide for each service but the spared which bundle is to be in force, and note it in the state.

    `sound` has the contents of those in force that are as they should be. `as_before`: what the catalogue's or the
    Compose file's text has changed in one does not count.
    """
    made = []
    receivers = catalogue.receivers()
    recorded = _recorded(catalogue, values)
    for service in receivers:
        if service.name in spared:
            continue
        entry = st.services.setdefault(service.name, state.ServiceState())
        content = _content(catalogue, service, values)
        bundle = state.Bundle(
            files=rings.files(catalogue, service, recorded),
            versions={name: values[name].version for name in catalogue.consumed(service.name)},
            created=state.now(),
            uid=service.uid,
            gid=service.gid,
            reload=service.adopt == "reload",
            dates={name: values[name].created for name in catalogue.consumed(service.name)},
        )
        good = [
            name
            for name in entry.named
            if (service.name, name) in sound
            and _equal(sound[service.name, name], content, _made_up(catalogue, service) if as_before else set())
            and _alike(entry.bundles[name], bundle)
        ]
        if good:
            entry.next = None if entry.current in good else entry.next
            continue
        name = secrets.token_hex(6)
        entry.bundles[name] = bundle
        if service.name == HOST:
            entry.current = name
        else:
            entry.next = name
        made.append(Made(service.name, name, content))
    for gone in set(st.services) - {service.name for service in receivers} - {*spared}:
        # Its bundles stay until its container is gone and they are collected.
        st.services[gone].current = st.services[gone].next = None
    return made


def _made_up(catalogue: Catalogue, service: Service) -> set[str]:
    """The files of a bundle whose text is the catalogue's or the Compose file's."""
    return {file.name for file in service.files} | {*catalogue.plain.get(service.name, ())}


def _equal(one: bundles.Content, other: bundles.Content, apart: set[str]) -> bool:
    """Whether two contents of the same versions are the same, whatever the text of some files.

    A rotation is undone by the bundles from before it: a template that was changed since may be what went wrong.
    """
    mine, theirs = (
        {name: data for name, data in each.files.items() if name not in apart} | {"": each.values}
        for each in (one, other)
    )
    return mine == theirs


def _alike(one: state.Bundle, other: state.Bundle) -> bool:
    return (one.files, one.versions, one.uid, one.gid, one.reload) == (
        other.files,
        other.versions,
        other.uid,
        other.gid,
        other.reload,
    )


def _recorded(catalogue: Catalogue, values: Values) -> dict[str, state.Version]:
    return {
        name: state.Version(
            held.version,
            held.created,
            _attributes(catalogue, name, held),
            held.expires,
            [each.previous for each in held.ring],
        )
        for name, held in values.items()
    }


def _authorities(catalogue: Catalogue, values: Values) -> bytes:
    """The certificates of the authorities, without their keys."""
    return b"".join(
        b"".join(CERTIFICATE.findall(values[name].value))
        for name, secret in sorted(catalogue.secrets.items())
        if secret.generate and secret.generate.type == "certificate_authority"
    )

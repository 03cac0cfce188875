"""The report: what it tells of each host, where each thing stands, and that nothing in it comes from elsewhere."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.doctor.lives import Life
from ansible_collections.coffre.stack.plugins.module_utils.doctor.target import Check
from ansible_collections.coffre.stack.plugins.module_utils.host.state import Previous
from ansible_collections.coffre.stack.plugins.module_utils.report import (
    axis,
    bars,
    given,
    page,
    picture,
    rotations,
    told,
)
from tests.unit.report import scenes
from tests.unit.report.scenes import NOW, ago

HOSTILE = "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=go()>&{{ 7 * 7 }}"
EMPTY = {"br", "circle", "img", "line", "link", "meta", "path", "rect"}


class Read(HTMLParser):
    """A page as a browser reads it: its elements, and the texts between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def hosts(*data: dict[str, Any]) -> list[given.Host]:
    return [given.host(each) for each in data]


def rendered(*data: dict[str, Any]) -> Read:
    return Read(page.render("production", NOW, hosts(*data), given.checks(scenes.AROUND)))


def spoilt(value: Any) -> Any:
    """The same data with a hostile end on each text that is not a time, a number or a name of the catalogue's."""
    if isinstance(value, dict):
        kept = {
            "created",
            "due",
            "ends",
            "begins",
            "rotated",
            "retires",
            "began",
            "ended",
            "outcome",
            "since",
            "secret",
        }
        return {key: each if key in kept else spoilt(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [spoilt(each) for each in value]
    return value + HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize(("secrets", "count"), [(7, 1), (60, 3), (300, 20)])
def test_the_page_is_whole_and_needs_nothing_else(secrets: int, count: int) -> None:
    read = rendered(*scenes.environment(secrets, count))
    assert (read.open, read.wrong) == ([], [])
    ids = read.all("id")
    assert len(ids) == len(set(ids))
    assert all(each.startswith("#") and each[1:] in ids for each in read.all("href"))
    assert {each for text in read.all("aria-labelledby") for each in text.split()} <= set(ids)
    assert not {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not [
        name for _, attributes in read.elements for name in attributes if name.startswith("on") or name == "src"
    ]
    style = next(text for text in read.texts if "color-scheme" in text)
    assert "@import" not in style and style.count("url(") == style.count("url(#")
    assert read.all("content")[0] == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_name_is_text_whatever_is_in_it() -> None:
    data = scenes.host("host-01", 7, spoilt=True)
    read = rendered(
        data | {"host": HOSTILE, "stack": HOSTILE, **spoilt({"doctor": data["doctor"], "trail": data["trail"]})}
    )
    assert not {tag for tag, _ in read.elements} & {"script", "img"}
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in read.text and "{{ 7 * 7 }}" in read.text
    assert (read.open, read.wrong) == ([], [])


def test_each_host_stands_there_with_what_is_known_of_it() -> None:
    seen = page.page("x", NOW, hosts(*scenes.environment(7, 20)), ())
    words = {each.name: (each.grade, each.words) for each in seen.hosts}
    assert len(words) == 20
    assert words["host-01"] == ("failed", "4 failed, 2 to see to")
    assert words["host-02"] == ("ok", "all 10 checks in order")
    assert words["host-19"] == ("failed", "1 failed")
    assert words["host-20"] == ("silent", "gave no answer")


@pytest.mark.parametrize(
    ("doctor", "trail", "expected"),
    [
        ({"unreachable": True, "msg": "no route\nmore"}, {}, [("silent", "answer", "no route")]),
        ({"failed": True, "msg": "The catalogue is wrong."}, {}, [("silent", "answer", "The catalogue is wrong.")]),
        ({}, {}, [("silent", "answer", "nothing was looked at")]),
        (
            {"checks": []},
            {"failed": True, "msg": "Record 3 was changed."},
            [("failed", "audit trail", "Record 3 was changed.")],
        ),
        ({"checks": []}, {"skipped": True}, []),
        ({"checks": [scenes.check("a", "x", "one", "two")]}, {}, [("warns", "a", "one"), ("warns", "a", "two")]),
        ({"checks": [scenes.check("a", "x", ok=False, skipped=True)]}, {}, []),
    ],
)
def test_what_failed_is_told(
    doctor: dict[str, Any], trail: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    (host,) = hosts({"host": "one", "stack": "shop", "doctor": doctor, "trail": trail})
    found = told.matters([host], ())
    assert [(each.grade, each.check, one.text) for each in found for one in each.sentences] == expected


def test_what_is_the_same_on_several_hosts_is_told_once() -> None:
    sick = scenes.check("images", "old; older", "old", "older", ok=False, remedy="build.")
    names = {"a": sick, "b": sick, "c": sick | {"findings": ["old"]}, "d": scenes.check("images", "fine")}
    known = [scenes.host(name, 7) | {"doctor": {"checks": [check]}} for name, check in names.items()]
    (matter,) = told.matters(hosts(*known), ())
    assert matter.hosts == ["a", "b", "c"]
    assert matter.sentences == [told.Sentence("old"), told.Sentence("older", ("a", "b"))]


def test_nobody_waits_below_what_can_wait() -> None:
    found = told.matters(hosts(*scenes.environment(7, 20)), given.checks(scenes.AROUND))
    grades = [each.grade for each in found]
    assert grades == sorted(grades, key=told.GRADES.index)
    assert set(grades) == set(told.GRADES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db is due", {"db"}),
        ("db-password is due", {"db-password"}),
        ("/run/coffre/shop/web/0a/db-password is 0644", {"db-password"}),
        ("my-db and adb are due", set()),
        ("db, db-password, tls", {"db", "db-password", "tls"}),
    ],
)
def test_a_sentence_stands_beside_what_it_names(text: str, expected: set[str]) -> None:
    matter = told.Matter("m1", "failed", "ages", "shop", "rotate.")
    matter.add("one", [text])
    beside = told.about([matter], ["db", "db-password", "tls", "web-key"])
    assert beside.keys() == expected
    assert {one.text for each in beside.values() for one in each} == ({text} if expected else set())


def test_a_sentence_that_names_many_is_not_repeated_beside_each() -> None:
    names = [f"key-{number}" for number in range(9)]
    matter = told.Matter("m1", "warns", "ages", "shop", "")
    matter.add("one", [", ".join(names)])
    assert {one.text for each in told.about([matter], names).values() for one in each} == {
        "one of 9 that this check names"
    }


def test_every_sentence_that_is_about_a_secret_stands_beside_it() -> None:
    (stack,) = page.page("x", NOW, hosts(scenes.host("one", 7, spoilt=True)), ()).stacks
    beside = {row.secret: {each.check for each in row.beside} for row in stack.rows if row.beside}
    assert beside == {
        "session-key": {"state"},
        "db-password": {"state", "ages"},
        "tls": {"certificates"},
        "client-secret": {"vault versions"},
    }
    assert {service for service, _ in stack.services} == {"web", "worker", "proxy"}
    assert [(each.secret, each.word, len(each.beside)) for each in stack.papers] == [("tls", "expired 8 days ago", 1)]
    assert [(each.secret, len(each.beside)) for each in stack.drifts] == [("client-secret", 1)]


def life(made: float, due: float | None, ends: float | None, *ring: Previous, name: str = "tls") -> Life:
    """A life of a secret by days ago."""
    until = [ago(each) if each is not None else None for each in (due, ends)]
    return Life(name, "1" * 32, ago(made), until[0], until[1], None, ring)


@pytest.mark.parametrize(
    ("lived", "state", "word"),
    [
        (life(100, 24, 10), "ended", "ended 10 days ago"),
        (life(100, 1, -13), "due", "due since 29 Nov 2026"),
        (life(70, -6, -20), "soon", "due in 6 days"),
        (life(1, -75, -89), "far", "due in 75 days"),
        (life(1, None, None), "never", "no end"),
        (life(90, 0, -10), "due", "due since 30 Nov 2026"),
    ],
)
def test_a_life_as_a_bar(lived: Life, state: str, word: str) -> None:
    host = given.Host("one", "shop", given.host(scenes.host("one", 7)).catalogue, lives=(lived,))
    shown = bars.axis([lived], NOW)
    (row,) = bars.rows([host], host.catalogue, shown, NOW, {})
    assert (row.state, row.word, row.everywhere) == (state, word, True)
    bar = row.bar
    assert 0 <= bar.begins <= bar.due <= bar.ends <= 100
    assert bar.endless == (lived.ends is None)
    assert (shown.at(NOW) >= bar.ends) == (state == "ended")
    assert word in bar.label and row.made in bar.label


def test_what_lasts_longer_than_the_axis_is_clipped() -> None:
    lived = life(900, -2900, -3000)
    host = given.Host("one", "shop", given.host(scenes.host("one", 7)).catalogue, lives=(lived,))
    (row,) = bars.rows([host], host.catalogue, bars.axis([lived], NOW), NOW, {})
    assert (row.bar.begins, row.bar.ends, row.bar.clipped) == (0, 100, True)


def test_a_ring_in_words_and_lines() -> None:
    ring = (Previous("2" * 32, ago(90), ago(-10)), Previous("3" * 32, ago(180), None))
    lived = life(2, -70, -88, *ring, name="session-key")
    host = given.Host("one", "shop", given.host(scenes.host("one", 7)).catalogue, lives=(lived,))
    (row,) = bars.rows([host], host.catalogue, bars.axis([lived], NOW), NOW, {})
    assert row.ring == "2 earlier versions kept for good"
    assert len(row.bar.kept) == 2 and row.bar.kept[1][1] == 100


def test_lives_that_are_alike_share_a_bar_and_the_first_end_comes_first() -> None:
    known = [
        given.host(scenes.host(name, 7, shift=shift))
        for name, shift in (("a", 40), ("b", 0), ("c", 2), ("d", 20), ("e", 60), ("f", 80))
    ]
    seen = page.page("x", NOW, known, ()).stacks[0].rows
    mine = [row for row in seen if row.secret in ("db-password",)]
    assert [row.hosts for row in mine] == [("f",), ("e",), ("a",)]
    assert mine[-1].more == "3 more hosts have later dates"
    order = [bars.ORDER.index(row.state) for row in seen]
    assert order == sorted(order)
    both = page.page("x", NOW, known[1:3], ()).stacks[0].rows
    assert {row.hosts for row in both} == {("b", "c")} and all(row.everywhere for row in both)
    assert both[0].more == "2 days apart at most, the first of them here"


@pytest.mark.parametrize("count", [0, 7, 60, 300])
def test_the_picture_has_every_service_and_every_secret(count: int) -> None:
    catalogue = given.host(scenes.host("one", count)).catalogue
    seen = picture.picture(catalogue, {"web": "failed"})
    boxes = {each.name: each for each in seen.boxes}
    assert boxes.keys() >= set(scenes.SERVICES)
    assert all(one.y + one.height <= other.y for one, other in itertools.pairwise(seen.boxes))
    assert max(each.y + each.height for each in seen.boxes) <= seen.height
    for name, box in boxes.items():
        shown = [line.full for line in box.lines]
        rest = sum(int(text.split()[1]) for text in shown if text.startswith("and "))
        assert len([text for text in shown if not text.startswith("and ")]) + rest == len(catalogue.consumed(name))
        assert all(box.y < line.y < box.y + box.height for line in box.lines)
    lanes = {lane.x: lane for lane in seen.lanes}
    for box in seen.boxes:
        for line in box.lines:
            if line.lane is not None and line.full in catalogue.secrets:
                lane, verifier = lanes[line.lane], boxes[catalogue.secrets[line.full].verifier]
                assert verifier.y < lane.arrow < verifier.y + verifier.height and lane.top <= line.y <= lane.bottom
    assert len(seen.told) == len(seen.boxes)


@pytest.mark.parametrize("left", [14, 100])
def test_a_long_name_keeps_its_ends(left: int) -> None:
    name = "payments-" + "x" * 45 + "-password"
    found = picture.shortened(name, left)
    assert len(found) * picture.LETTER <= picture.WIDTH - left - 28 + picture.LETTER
    assert found[:4] == "paym" and found[-4:] == "word" and "…" in found
    assert picture.shortened("short", left) == "short"


def test_a_rotation_on_several_hosts_is_one() -> None:
    one, other, third = (scenes.host(name, 7) for name in "abc")
    other["trail"]["rotations"][0] |= {"outcome": "open", "operators": ["lee"], "failed": ["tls: proved"]}
    third["trail"] = {"failed": True, "msg": "Record 2 was changed."}
    found = rotations.told(hosts(one, other, third), axis.Axis(NOW - rotations.YEAR, NOW))
    assert len(found) == 9
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    first = found[-1]
    assert (first.hosts, first.outcome, first.operators) == (("a", "b"), "open", ("coffre-rotate", "lee"))
    assert first.failed == ("tls: proved",) and first.length == "34 s so far"
    assert {each.outcome for each in found[:-1]} == {"rotated", "undone"}


def test_marks_of_the_same_days_are_above_each_other() -> None:
    data = scenes.host("a", 7)
    same = data["trail"]["rotations"][0]
    data["trail"]["rotations"] = [copy.deepcopy(same) | {"run": f"r{number}"} for number in range(14)]
    found = rotations.told(hosts(data), axis.Axis(NOW - rotations.YEAR, NOW))
    assert sorted(each.level for each in found) == [*range(rotations.PILED), *[rotations.PILED] * 4]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.2, "59 s"), (61, "1 min 01 s"), (5399, "89 min 59 s"), (7200, "2 h"), (86400 * 3, "3 days")],
)
def test_lengths(seconds: float, expected: str) -> None:
    assert axis.length(seconds) == expected


@pytest.mark.parametrize(
    ("days", "expected"), [(0, "today"), (1, "in 1 day"), (12, "in 12 days"), (-1, "1 day ago"), (-40, "40 days ago")]
)
def test_how_far_away(days: int, expected: str) -> None:
    assert axis.away(NOW + timedelta(days=days), NOW) == expected


@pytest.mark.parametrize("months", [2, 4, 6, 13, 24])
def test_months_are_named_without_running_into_each_other(months: int) -> None:
    shown = axis.Axis(
        datetime(2025, 11, 20, tzinfo=UTC), datetime(2025, 11, 20, tzinfo=UTC) + timedelta(days=30 * months)
    )
    ticks = shown.ticks()
    assert 1 <= len(ticks) <= 13
    main = [each.at for each in ticks if each.main]
    assert 1 <= len(main) <= 4
    assert all(other - one >= 12 for one, other in itertools.pairwise(main))
    assert all(0 <= each.at <= 100 for each in ticks)


def test_a_check_is_told_once_for_all_hosts_by_outcome() -> None:
    (stack,) = page.page("x", NOW, hosts(*scenes.environment(7, 20)), ()).stacks
    checks = {each.check: [(one.grade, len(one.hosts)) for one in each.outcomes] for each in stack.checks}
    assert checks["memory"] == [("ok", 18)]
    assert checks["ages"] == [("failed", 1), ("skipped", 1), ("ok", 17)]


def test_without_a_vault_it_says_so() -> None:
    data = scenes.host("one", 7)
    data["doctor"]["vault"] = {}
    data["doctor"]["checks"] = [each for each in data["doctor"]["checks"] if "vault" not in each["check"]]
    read = Read(page.render("demo", NOW, hosts(data), ()))
    assert "No stack of this environment reads a vault." in read.text
    assert "Nothing : every check passes on every host." in read.text


def test_a_check_of_the_vault_itself_needs_no_host() -> None:
    (matter,) = told.matters([], [Check("vault audit", False, False, "no", findings=("no",), remedy="run make vault.")])
    assert (matter.hosts, matter.stack) == ([told.VAULT], "")

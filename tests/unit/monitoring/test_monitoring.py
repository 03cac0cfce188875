"""What monitoring/ has for a Prometheus and a Grafana speaks of what the doctor writes, and of nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import alerting
import pytest
import yaml

from ansible_collections.coffre.stack.plugins.module_utils.audit import trail
from ansible_collections.coffre.stack.plugins.module_utils.doctor import lives, metrics
from ansible_collections.coffre.stack.plugins.module_utils.doctor.target import Check, History, Target
from ansible_collections.coffre.stack.plugins.module_utils.host import state
from ansible_collections.coffre.stack.plugins.module_utils.paths import StackPaths
from tests.unit import described

TESTS = Path(__file__).with_name("alerts.yml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(alerting.ALERTS.read_text())["groups"] for rule in group["rules"]
]
BOARD: dict[str, Any] = json.loads(alerting.DASHBOARD.read_text())
CHECKS = (
    Check("memory", True, False, "all is well"),
    Check("ages", True, True, 'key is due within 30 days, says "ages"'),
    Check("state", False, False, "the rotation of key by kim is open"),
    Check("logins", False, False, "not checked, because of: engine", True),
)
needs_promtool = alerting.needs("promtool")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that the doctor can write of a stack, with a secret that ends and a rotation that is open."""
    monkeypatch.setattr(trail, "rotations", lambda _: {"key": 1e9})
    monkeypatch.setattr("socket.gethostname", lambda: "one")
    secret = {"name": "key", "consumers": ["app"], "strategy": "replace", "max_age_days": 90}
    services = [{"name": "app", "uid": 60611, "gid": 60611, "adopt": "restart"}]
    catalogue = described.parse({"secrets": [secret], "services": services})
    began = "2026-08-01T00:00:00Z"
    st = state.State("shop", {"key": state.Version("1" * 32, began)})
    st.run = state.Run("r1", "r1", "kim", began, began, {})
    target = Target(StackPaths("shop", tmp_path, tmp_path), catalogue, (), None, History(None, (), ""))
    target.__dict__["state"] = st
    samples = metrics.of_secrets(target, lives.lives(target, 14))
    return metrics.exposition('a "b" \\', "shop", metrics.of_checks(CHECKS) | samples)


def promtool(*arguments: str, text: str = "") -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def labels(text: str) -> dict[str, set[str]]:
    """By metric, the labels it has."""
    lines = [re.match(r"(\w+)\{(.*)\} \d+$", line) for line in text.splitlines() if not line.startswith("#")]
    return {line[1]: set(re.findall(r'(\w+)="', line[2])) for line in lines if line}


def named(expression: str) -> set[str]:
    return set(re.findall(r"coffre_\w+", expression))


def test_checks_are_metrics_with_their_outcome_and_no_words_of_theirs(written: str) -> None:
    env = r'env="a \"b\" \\"'
    outcomes = [line for line in written.splitlines() if line.startswith("coffre_check_outcome")]
    assert outcomes == [
        f'coffre_check_outcome{{{env},host="one",stack="shop",check="{check}"}} {outcome}'
        for check, outcome in (("memory", 0), ("ages", 1), ("state", 2))
    ]
    assert not any(each.message in written for each in CHECKS)


def test_every_metric_is_written_with_few_labels(written: str) -> None:
    found = labels(written)
    assert found.keys() == metrics.METRICS.keys()
    where = {"env", "host", "stack"}
    assert {frozenset(each - where) for each in found.values()} == {
        frozenset(),
        frozenset({"check"}),
        frozenset({"secret", "strategy"}),
    }


@needs_promtool
def test_prometheus_finds_nothing_to_say_of_the_metrics(written: str) -> None:
    promtool("check", "metrics", text=written)


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("check", "rules", str(alerting.ALERTS))
    promtool("test", "rules", str(TESTS))


def test_each_alert_is_tested() -> None:
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert firing == {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert firing == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_what_happened_and_what_to_type(rule: dict[str, Any], written: str) -> None:
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert "ype make " in rule["annotations"]["description"]
    known = labels(written)
    assert named(rule["expr"]) <= known.keys()
    carried = set.intersection(*(known[name] for name in named(rule["expr"])))
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= carried


def test_the_dashboard_shows_every_metric_by_labels_that_it_has(written: str) -> None:
    known = labels(written)
    asked = [target for panel in BOARD["panels"] for target in panel["targets"]] + BOARD["annotations"]["list"]
    assert set.union(*(named(each["expr"]) for each in asked)) == known.keys()
    for each in asked:
        carried = set.intersection(*(known[name] for name in named(each["expr"])))
        by = ",".join(re.findall(r"(?:by|on) \(([^)]*)\)", each["expr"]))
        chosen = re.findall(r"(\w+)=~", each["expr"])
        told = re.findall(r"\{\{(\w+)\}\}", each.get("legendFormat", "") + each.get("textFormat", ""))
        assert {*re.findall(r"\w+", by), *chosen, *told} <= carried, each["expr"]
        assert each["expr"].count("{") == len(re.findall(r"coffre_\w+\{", each["expr"])), (
            "all that is not chosen is shown"
        )


def test_the_dashboard_is_for_any_grafana(written: str) -> None:
    known = labels(written)
    source, *chosen = BOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    for each in chosen:
        metric = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", each["query"]["query"])
        assert metric and metric[2] == each["name"] and metric[2] in known[metric[1]]
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] for panel in panels)
    text = alerting.DASHBOARD.read_text()
    assert text.count('"datasource": ') == text.count('"uid": "${datasource}"')


def test_the_guide_lists_every_metric_and_every_alert() -> None:
    guide = (alerting.ROOT / "docs" / "operations.md").read_text()
    assert re.findall(r"^\| `(coffre_\w+)`", guide, re.MULTILINE) == list(metrics.METRICS)
    alerts = dict(re.findall(r"^\| `(Coffre\w+)` \| (\w+)", guide, re.MULTILINE))
    assert alerts == {rule["alert"]: rule["labels"]["severity"] for rule in RULES}


@needs_promtool
def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"asked_{number}", "expr": each} for number, each in enumerate(alerting.expressions())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", str(file))

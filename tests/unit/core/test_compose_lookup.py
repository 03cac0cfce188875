"""The Compose file as the controller reads it: what Compose takes for a text is one, and a template is filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.coffre.stack.plugins.lookup.compose_file import LookupModule


def read(path: Path | str, **variables: Any) -> Any:
    loader = DataLoader()
    (found,) = LookupModule(loader=loader, templar=Templar(loader, variables=variables)).run([str(path)], variables)
    return found


def written(folder: Path, text: str, name: str = "compose.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("No", "No"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("truest", "truest"),
        ("22:22", "22:22"),
        ("8443:8443", "8443:8443"),
        ("1:20:30.5", "1:20:30.5"),
        ("127.0.0.1:80:80", "127.0.0.1:80:80"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("256m", "256m"),
        ("0.5g", "0.5g"),
        ("30s", "30s"),
        ("26.7.3", "26.7.3"),
        ("1_000", "1_000"),
        ("0", 0),
        ("-1", -1),
        ("60611", 60611),
        ("0440", 0o440),
        ("0o440", 0o440),
        ("0900", "0900"),
        ("0x1f", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("~", None),
        ("null", None),
        ("", None),
        ("'60611:60611'", "60611:60611"),
        ("60611:60611", "60611:60611"),
        ("!!str 12", "12"),
    ],
)
def test_a_word_is_what_compose_takes_it_for(tmp_path: Path, word: str, value: Any) -> None:
    found = read(written(tmp_path, f"services: {{a: {{x: {word} }}}}"))["services"]["a"]["x"]
    assert (found, type(found)) == (value, type(value))


def test_anchors_and_merges_are_filled_in(tmp_path: Path) -> None:
    text = "x-common: &common {image: a, user: '1:1'}\nservices: {a: {<<: *common, image: b}}"
    assert read(written(tmp_path, text))["services"]["a"] == {"image": "b", "user": "1:1"}


def test_a_template_is_filled_in_and_anything_else_is_not(tmp_path: Path) -> None:
    text = "services: {a: {image: '{{ tag }}'}}"
    assert read(written(tmp_path, text, "compose.yml.j2"), tag="a:1")["services"]["a"]["image"] == "a:1"
    assert read(written(tmp_path, text), tag="a:1")["services"]["a"]["image"] == "{{ tag }}"


def test_a_templates_variable_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match="tag"):
        read(written(tmp_path, "services: {a: {image: '{{ tag }}'}}", "compose.yml.j2"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    with pytest.raises(AnsibleError, match=f"^The Compose file {path} is not there; nothing was changed: see stack_co"):
        read(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services:\n  a: [\n", r"is no YAML in line 3 \(.*\); nothing was changed\.$"),
        ("services:\n  a: b: c\n", r"is no YAML in line 2 \(mapping values are not allowed here\); nothing was"),
        ("a: *none\n", r"is no YAML in line 1 \(found undefined alias"),
        ("a: !!python/object:os.system {}\n", r"is no YAML in line 1 \(could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", r"is no YAML in line 2 \("),
        ("services: {a: {image: x}, a: {image: y}}\n", r"is no YAML in line 1 \(the key a is there twice\)"),
        ("a: \x00\n", r"is no YAML"),
    ],
)
def test_bad_yaml_is_told_with_its_line_and_no_value(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(AnsibleError, match=sentence) as caught:
        read(path)
    assert str(caught.value).startswith(f"The Compose file {path} ")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_bytes(b"services: \xff\xfe")
    with pytest.raises(AnsibleError, match=r"is no YAML \(unreadable\); nothing was changed\.$"):
        read(path)

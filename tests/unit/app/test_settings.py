"""Where a secret is found, and that no error shows its value."""

import traceback
from pathlib import Path

import pytest

from app.config.settings import Config, Secret

NAME = "flask-secret-key"
VARIABLE = "FLASK_SECRET_KEY"


@pytest.mark.parametrize(
    ("file", "variable", "demo", "expected"),
    [
        ("of-file", "of-variable", "true", Secret("of-file", "file")),
        ("of-file", None, None, Secret("of-file", "file")),
        (" spaces\tand ümläuts ", None, None, Secret(" spaces\tand ümläuts ", "file")),
        ("of-echo\n", None, None, Secret("of-echo", "file")),
        ("of-an-editor\r\n", None, None, Secret("of-an-editor", "file")),
        ("two\nlines\n", None, None, Secret("two\nlines", "file")),
        ("no-newline\r", None, None, Secret("no-newline\r", "file")),
        (None, "of-variable", "true", Secret("of-variable", "environment")),
        (None, "of-variable", None, Secret("of-variable", "environment")),
    ],
)
def test_found(
    secrets_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str | None,
    variable: str | None,
    demo: str | None,
    expected: Secret,
) -> None:
    _plant(secrets_dir, monkeypatch, file.encode() if file else None, variable, demo)
    assert Config.find_secret(NAME) == expected
    assert Config.get_secret(NAME) == expected.value
    assert expected.value not in repr(expected)


def test_demo_value_is_random_and_lasts(secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(secrets_dir, monkeypatch, None, None, "true")
    secret = Config.find_secret(NAME)
    assert secret.source == "demo"
    assert secret.value.startswith("demo-")
    assert len(secret.value) >= 48
    assert Config.get_secret(NAME) == secret.value != Config.get_secret("another-one")


@pytest.mark.parametrize(
    ("file", "variable", "demo", "cause"),
    [
        (None, None, None, "is missing"),
        (None, None, "false", "is missing"),
        (None, None, "1", "is missing"),
        (b"", "of-variable", "true", "is empty"),
        (None, "", "true", "is empty"),
        (b"\n", "of-variable", "true", "is empty"),
        (b"canary\n\n", None, None, "ends in a newline"),
        (None, "canary\n", None, "ends in a newline"),
        (b"canary\xff\xfe", None, None, "is not UTF-8"),
        (None, "canary\udcff", None, "is not UTF-8"),
    ],
)
def test_refused(
    secrets_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: bytes | None,
    variable: str | None,
    demo: str | None,
    cause: str,
) -> None:
    _plant(secrets_dir, monkeypatch, file, variable, demo)
    with pytest.raises(ValueError, match=rf"{NAME}.*{cause}") as caught:
        Config.get_secret(NAME)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    if cause != "is missing":  # a default stands in for what is absent, not for what is wrong
        with pytest.raises(ValueError, match=cause):
            Config.get_secret(NAME, "default")


@pytest.mark.parametrize(
    ("file", "variable", "demo", "source"),
    [
        (b"x", "y", "true", "file"),
        (None, "y", "true", "environment"),
        (None, None, "true", "demo"),
        (None, None, None, "default"),
        (None, None, "1", "default"),
    ],
)
@pytest.mark.parametrize("default", ["a default", ""])
def test_a_default_is_the_last_resort(
    secrets_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    default: str,
    file: bytes | None,
    variable: str | None,
    demo: str | None,
    source: str,
) -> None:
    _plant(secrets_dir, monkeypatch, file, variable, demo)
    assert Config.find_secret(NAME, default).source == source
    assert (Config.get_secret(NAME, default) == default) == (source == "default")


def test_file_that_cannot_be_read_is_not_replaced(secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker makes a folder where a file to mount is missing."""
    _plant(secrets_dir, monkeypatch, None, "of-variable", "true")
    (secrets_dir / NAME).mkdir()
    with pytest.raises(ValueError, match=f"{NAME}.*IsADirectoryError"):
        Config.get_secret(NAME)


@pytest.mark.parametrize("name", ["", "../etc/passwd", "Upper", "1st", "under_score", "a" * 64, "line\n"])
def test_ill_formed_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Config.get_secret(name)


def _plant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: bytes | None, variable: str | None, demo: str | None
) -> None:
    if file is None:
        (folder / NAME).unlink()
    else:
        (folder / NAME).write_bytes(file)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    if demo is not None:
        monkeypatch.setenv("DEMO_MODE", demo)


OLD, OLDER = "0a" * 16, "1b" * 16


def test_previous_values(secrets_dir: Path) -> None:
    for name, text in (
        (f"{NAME}.{OLD}", "old"),
        (f"{NAME}.{OLDER}", "older"),
        (f"{NAME}-2.{OLD}", "a neighbour's"),
        (f"{NAME}.conf", "no version"),
        (f"{NAME}.{OLD}a", "no version"),
    ):
        (secrets_dir / name).write_text(text)
    secret = Config.find_secret(NAME)
    assert sorted(secret.previous) == ["old", "older"]
    assert "old" not in repr(secret)


@pytest.mark.parametrize(("content", "cause"), [(b"", "is empty"), (b"canary\n\n", "newline"), (b"\xff", "not UTF-8")])
def test_previous_value_that_is_none(secrets_dir: Path, content: bytes, cause: str) -> None:
    (secrets_dir / f"{NAME}.{OLD}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{NAME}\.{OLD} .*{cause}") as caught:
        Config.find_secret(NAME)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_only_files_have_previous_values(secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets_dir / f"{NAME}.{OLD}").write_text("old")
    _plant(secrets_dir, monkeypatch, None, "of-variable", None)
    assert Config.find_secret(NAME) == Secret("of-variable", "environment")

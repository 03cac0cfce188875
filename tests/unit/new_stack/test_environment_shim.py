"""The shim is run by every shell that is here, as a container would run it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.environment_shim import environment_shim
from ansible_collections.coffre.stack.plugins.module_utils.errors import CatalogueError

SHELLS = [
    [path, *words]
    for name, words in (("dash", []), ("bash", ["--posix"]), ("busybox", ["sh"]))
    if (path := shutil.which(name))
]
SHOW = "import os, sys, json; print(json.dumps([dict(os.environ), sys.argv[1:], os.getpid()]))"


def run(shell: list[str], keys: dict[str, list[str]], **environment: str) -> subprocess.CompletedProcess[str]:
    words = [word.replace("$$", "$") for word in (*keys["entrypoint"], *keys["command"])]
    assert words[0] == "/bin/sh"
    return subprocess.run([*shell, *words[1:]], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: Path(words[0]).name)
@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("postgresql://shop:a$b`c'd\"e\\n @db/shop", None),
        ("one newline\n", "one newline"),
        ("two\n\n", "two\n"),
        ("-----BEGIN X-----\n  indented\n\nEND", None),
        ("carriage\r\n", "carriage\r"),
        ("", ""),
        ("\n", ""),
        ("-n", None),
        ("é\\", None),
    ],
)
def test_the_value_reaches_the_process_and_nothing_else_changes(
    shell: list[str], content: str, value: str | None, tmp_path: Path
) -> None:
    (tmp_path / "database-url").write_bytes(content.encode())
    image = {"Entrypoint": [shutil.which("python3"), "-c", SHOW], "Cmd": ["$HOME", "two words"]}
    done = run(
        shell, environment_shim({}, image, {"DATABASE_URL": "database-url"}, str(tmp_path)), coffre_line="x", A="a"
    )
    assert done.returncode == 0, done.stderr
    environment, arguments, _ = json.loads(done.stdout)
    assert environment["DATABASE_URL"] == (content if value is None else value)
    assert environment["A"] == "a"
    assert not {"coffre_value", "coffre_line"} & set(environment)
    assert arguments == ["$HOME", "two words"]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: Path(words[0]).name)
def test_a_file_that_is_missing_starts_nothing(shell: list[str], tmp_path: Path) -> None:
    keys = environment_shim({"command": "echo started"}, {}, {"TOKEN": "token"}, str(tmp_path))
    done = run(shell, keys)
    assert (done.returncode, done.stdout) == (78, "")
    assert "TOKEN was not set and nothing was started" in done.stderr


IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["default", "$x"]}


@pytest.mark.parametrize(
    ("service", "image", "command"),
    [
        ({}, IMAGE, ["/entry", "default", "$$x"]),
        ({"command": None, "entrypoint": None}, IMAGE, ["/entry", "default", "$$x"]),
        ({"command": "run 'two words' ${PORT}"}, IMAGE, ["/entry", "run", "two words", "${PORT}"]),
        ({"command": ["run", 1, "$$HOME"]}, IMAGE, ["/entry", "run", "1", "$$HOME"]),
        ({"entrypoint": ["/own"]}, IMAGE, ["/own"]),
        ({"entrypoint": "/own -a", "command": ["b"]}, IMAGE, ["/own", "-a", "b"]),
        ({"entrypoint": []}, IMAGE, ["default", "$$x"]),
        ({"entrypoint": "", "command": "b"}, IMAGE, ["b"]),
        ({}, {"Entrypoint": None, "Cmd": ["/bin/bash"]}, ["/bin/bash"]),
    ],
)
def test_the_command_is_the_one_the_engine_would_run(
    service: dict[str, Any], image: dict[str, Any], command: list[str]
) -> None:
    assert environment_shim(service, image, {"A": "a"})["command"] == command


@pytest.mark.parametrize(
    ("mapping", "image", "sentence"),
    [({"A-B": "a"}, IMAGE, "A-B, which no variable"), ({"A": "a"}, {}, "neither the Compose file nor the image")],
)
def test_what_it_refuses(mapping: dict[str, str], image: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CatalogueError, match=sentence):
        environment_shim({}, image, mapping)

"""For an app that reads its environment only: a shell reads the secrets, exports them, and becomes the app.

They are then in the app's own process, which its uid and root can read, and not in what the engine keeps of the
container. A health check and `docker exec` are other processes, and have none of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from .errors import CatalogueError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRETS = "/run/secrets"
# Builtins only, as an image may have a shell and nothing else. One newline at the end is no part of a value.
READ = r"""coffre_read() {
  [ -r "$1" ] || { echo "coffre: $2 was not set and nothing was started: $1 cannot be read." >&2; exit 78; }
  coffre_value=
  while IFS= read -r coffre_line || [ -n "$coffre_line" ]; do coffre_value="$coffre_value$coffre_line
"; done < "$1"
  coffre_value="${coffre_value%?}"
}
"""
BECOME = 'unset coffre_value coffre_line; unset -f coffre_read; exec "$@"\n'


def environment_shim(
    service: Mapping[str, Any], image: Mapping[str, Any], mapping: Mapping[str, str], directory: str = SECRETS
) -> dict[str, list[str]]:
    """The Compose keys `entrypoint` and `command` that give a service's process the variables of `mapping`.

    `service` is its Compose mapping, `image` the Config of its image (`docker image inspect`), `mapping` has by
    variable the files, in `directory` where their path is relative. The result is Compose text: what interpolation
    would take up is doubled, but for what the file itself says. Raises CatalogueError for a variable's name that is
    none, and where nothing is to be run.
    """
    if wrong := sorted(name for name in mapping if not VARIABLE.fullmatch(name)):
        raise CatalogueError(f"x-coffre.environment names {', '.join(wrong)}, which no variable can be called.")
    command = _command(service, image)
    if not command:
        raise CatalogueError(
            "x-coffre.environment needs a command to start, and neither the Compose file nor the image has one: "
            "say `command` in the service."
        )
    return {"entrypoint": ["/bin/sh", "-c", _script(mapping, directory), "coffre"], "command": command}


def _script(mapping: Mapping[str, str], directory: str) -> str:
    lines = [
        f'coffre_read {shlex.quote(str(PurePosixPath(directory, file)))} {name}; export {name}="$coffre_value"\n'
        for name, file in sorted(mapping.items())
    ]
    return _escaped(READ + "".join(lines) + BECOME)


def _command(service: Mapping[str, Any], image: Mapping[str, Any]) -> list[str]:
    """What the engine would run: an entrypoint of the file hides the image's command, an empty one does not."""
    entrypoint, command = (_words(service.get(key)) for key in ("entrypoint", "command"))
    default = [_escaped(word) for word in image.get("Cmd") or []]
    if entrypoint is None:
        entrypoint = [_escaped(word) for word in image.get("Entrypoint") or []]
    elif entrypoint:
        default = []
    return [*entrypoint, *(command or default)]


def _words(value: Any) -> list[str] | None:
    """A command as Compose takes it: a list, or a text that is split as a shell would."""
    return shlex.split(value) if isinstance(value, str) else None if value is None else [str(word) for word in value]


def _escaped(text: str) -> str:
    return text.replace("$", "$$")

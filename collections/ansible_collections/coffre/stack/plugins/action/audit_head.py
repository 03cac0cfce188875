"""Keep the head of an audit trail on the controller."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Works in the controller's own process; the module of the same name has the documentation only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        required = {"type": "str", "required": True}
        _, given = self.validate_argument_spec({"path": required, "head": required})
        path, head = Path(given["path"]), str(given["head"])
        if head.splitlines() != [head]:
            raise AnsibleActionFail("The head of the audit trail is not one line, so it was not kept.")
        try:
            before = self._read(path)
            result["changed"] = head.encode() not in before.splitlines()
            if result["changed"] and not self._task.check_mode:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write(
                    path, before + (b"" if before.endswith(b"\n") or not before else b"\n") + f"{head}\n".encode()
                )
        except OSError as error:
            raise AnsibleActionFail(
                f"The head of the audit trail could not be kept in {path} on the controller ({error.strerror}); what "
                "the play did is not concerned: mend that and run playbooks/verify_audit.yml, which keeps it."
            ) from None
        return result

    @staticmethod
    def _read(path: Path) -> bytes:
        if not path.exists():
            return b""
        if not path.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        return path.read_bytes()

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        """Let the file be the old one or the new one, whatever happens meanwhile."""
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # its mode is 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

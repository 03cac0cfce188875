"""Keep the head of an audit trail on the controller."""

from __future__ import annotations

import os
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
        try:
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            result["changed"] = head not in before.splitlines()
            if result["changed"] and not self._task.check_mode:
                path.parent.mkdir(parents=True, exist_ok=True)
                torn = "" if not before or before.endswith("\n") else "\n"
                handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(f"{torn}{head}\n")
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise AnsibleActionFail(
                f"The head of the audit trail could not be kept in {path} on the controller ({error.strerror}); what "
                "the play did is not concerned: mend that and run playbooks/verify_audit.yml, which keeps it."
            ) from None
        return result

"""Keep the head of an audit trail on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.coffre.stack.plugins.module_utils.host import files


class ActionModule(ActionBase):
    """Works in the controller's own process; the module of the same name has the documentation only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        required = {"type": "str", "required": True}
        _, given = self.validate_argument_spec({"path": required, "head": required})  # type: ignore[no-untyped-call]
        path, head = Path(given["path"]), str(given["head"])
        if head.splitlines() != [head]:
            raise AnsibleActionFail("The head of the audit trail is not one line, so it was not kept.")
        try:
            result["changed"] = files.add_line(path, head.encode(), self._task.check_mode)
        except OSError as error:
            raise AnsibleActionFail(
                f"The head of the audit trail could not be kept in {path} on the controller ({error.strerror}); what "
                "the play did is not concerned: mend that and run playbooks/verify_audit.yml, which keeps it."
            ) from None
        return result

"""Write the report on an environment, on the controller."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.coffre.stack.plugins.module_utils.host import files
from ansible_collections.coffre.stack.plugins.module_utils.report import given, page, told


class ActionModule(ActionBase):
    """Works in the controller's own process; the module of the same name has the documentation only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        required = {"type": "str", "required": True}
        several = {"type": "list", "elements": "dict"}
        _, asked = self.validate_argument_spec(  # type: ignore[no-untyped-call]
            {"path": required, "env": required, "hosts": several | {"required": True}, "around": several}
        )
        asked = json.loads(json.dumps(asked))  # Ansible's own kinds of texts and mappings are not to reach the core
        path = Path(asked["path"])
        hosts = [given.host(each) for each in asked["hosts"]]
        around = given.checks(asked["around"] or [])
        text = page.render(str(asked["env"]), datetime.now(UTC), hosts, around)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(path, text.encode(), 0o600)
        except OSError as error:
            raise AnsibleActionFail(
                f"The report could not be written to {path} on the controller ({error.strerror}); no host is "
                "concerned: mend that, and run it again."
            ) from None
        grades = [each.grade for each in told.matters(hosts, around)]
        result |= {"changed": False, "needs": len(grades) - grades.count(told.WARNS), "warns": grades.count(told.WARNS)}
        return result

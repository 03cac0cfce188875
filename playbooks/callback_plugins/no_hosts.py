"""Makes a run fail that would do nothing and call it a success. Lies here because Ansible loads what lies beside its
playbooks whatever its configuration says."""

from __future__ import annotations

from typing import NoReturn

from ansible import context
from ansible.inventory.manager import split_host_pattern
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Ends the run at a play that matches no host, and before all plays at a --limit with a part that matches none."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "no_hosts"

    def v2_playbook_on_start(self, playbook: object) -> None:  # noqa: ARG002 - as Ansible calls it
        if context.CLIARGS["subset"] == "":
            self._end("The --limit is empty, which would be every host; nothing was done: name hosts, or leave it out.")

    def v2_playbook_on_play_start(self, play: Play) -> None:
        self._pattern = ":".join(play.hosts)
        inventory = play.get_variable_manager()._inventory
        for part in split_host_pattern(context.CLIARGS["subset"] or ""):
            known = inventory.get_hosts(part.lstrip("!&"), ignore_limits=True, ignore_restrictions=True)
            if not part.startswith("@") and not known:
                self._end(f"No host is {part}, which --limit names; nothing was done: name hosts that are there.")

    def v2_playbook_on_no_hosts_matched(self) -> None:
        inventory = ", ".join(context.CLIARGS["inventory"] or ["/etc/ansible/hosts"])
        within = f" within --limit {subset}" if (subset := context.CLIARGS["subset"]) else ""
        self._end(
            f"No host of {self._pattern} is in {inventory}{within}; nothing was done: name an inventory that has one, "
            "such as -i inventory/demo or make's ENV=demo, and hosts of it."
        )

    def _end(self, sentence: str) -> NoReturn:
        self._display.error(sentence, wrap_text=False)
        raise SystemExit(1)

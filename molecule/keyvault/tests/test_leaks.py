"""A deploy of staging with every log of Ansible's switched on leaves no value where it does not belong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from searches import search_controller, search_host
from staging import STACK, play

from tests.keyvault_emulator.control import Control

testinfra_hosts = ["ansible://debian13"]


def test_not_a_value_is_found(vault: Control, host: Any, tmp_path: Path) -> None:
    began = time.time()
    vault.put(STACK, "flask-secret-key", os.urandom(32).hex())
    told = play(
        "site",
        "-vvvv",
        "--diff",
        environment={
            "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_PIPELINING": "0",
        },
    )
    (tmp_path / "output").write_text(told.output)
    assert told.status == 0, told.output[-4000:]
    assert "AnsiballZ_secret_bundles.py" in told.output
    status, output = search_host(host, since=began, stack=STACK)
    assert status == 0 and " 0 leaks, " in output, output
    print(output)
    status, output = search_controller(began, tmp_path, stack=STACK)
    assert status == 0, output
    print(output)
    host.check_output("find /root /home -maxdepth 3 -path '*/.ansible/tmp/*' -prune -exec rm -r {} +")

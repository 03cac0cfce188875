"""A module tells the head of the trail whether its work succeeds or fails."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host.outcome import report


class Module:
    """What an AnsibleModule is asked to say."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def exit_json(self, **result: Any) -> None:
        self.said.append(result)

    def fail_json(self, **result: Any) -> None:
        self.said.append(result | {"failed": True})


def succeed() -> dict[str, Any]:
    return {"changed": True}


def fail() -> dict[str, Any]:
    raise CoffreError("The app could not adopt.")


@pytest.mark.parametrize(
    ("work", "said"), [(succeed, {"changed": True}), (fail, {"failed": True, "msg": "The app could not adopt."})]
)
def test_the_head_is_told_in_either_case(work: Any, said: dict[str, Any]) -> None:
    module = Module()
    report(module, work, lambda: {"audit": "7 digest"})
    report(module, work, fail)
    assert module.said == [said | {"audit": "7 digest"}, said]

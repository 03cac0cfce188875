"""The emulator's tables of keys against Microsoft's own models: what it refuses in a body, Azure does not know."""

from __future__ import annotations

import re
from inspect import get_annotations
from typing import Any

import pytest
from azure.mgmt import keyvault, loganalytics
from azure.mgmt.authorization.v2022_04_01 import models as authorization
from azure.mgmt.eventgrid import models as eventgrid
from azure.mgmt.monitor.v2021_05_01_preview import models as monitor
from azure.mgmt.msi.v2024_11_30 import models as msi

from tests.keyvault_emulator.arm.documented import KEYS

MODELS: dict[str, tuple[Any, str]] = {
    "microsoft.keyvault/vaults": (keyvault.models, "Vault"),
    "microsoft.operationalinsights/workspaces": (loganalytics.models, "Workspace"),
    "microsoft.managedidentity/userassignedidentities": (msi, "Identity"),
    "microsoft.authorization/roleassignments": (authorization, "RoleAssignment"),
    "microsoft.insights/diagnosticsettings": (monitor, "DiagnosticSettingsResource"),
    "microsoft.eventgrid/eventsubscriptions": (eventgrid, "EventSubscription"),
}


def keys(models: Any, name: str) -> dict[str, Any]:
    """The keys of a model, with the names of the models that they hold."""
    model = getattr(models, name)
    if hasattr(model, "_attribute_map"):
        return older(model)
    model({})  # the SDK fills in its fields at first use
    hints = {key: str(value) for each in reversed(model.__mro__) for key, value in get_annotations(each).items()}
    fields = model._attr_to_rest_field
    return {field._rest_name: word(hints[key]) for key, field in fields.items()}


def word(hint: str) -> str:
    """The model that an annotation names, or nothing."""
    found = re.search(r"_models\.(\w+)", hint)
    return found[1] if found else ""


def older(model: Any) -> dict[str, Any]:
    """The same of a model that says it as one flat map, with dots between the levels."""
    found: dict[str, Any] = {}
    for about in model._attribute_map.values():
        *above, last = about["key"].split(".")
        place = found
        for each in above:
            place = place.setdefault(each, {})
        place[last] = about["type"].strip("[]{}")
    return found


def compare(models: Any, ours: Any, theirs: Any, where: str) -> None:
    """Compare as deep as both go."""
    if isinstance(ours, list):
        ours = ours[0]
    if isinstance(theirs, str) and isinstance(ours, dict):
        assert hasattr(models, theirs), where
        # A destination is one of many kinds; a run makes this one.
        kind = "MonitorAlertEventSubscriptionDestination" if theirs == "EventSubscriptionDestination" else theirs
        theirs = keys(models, kind)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key, value in ours.items():
            compare(models, value, theirs[key], f"{where}/{key}")


@pytest.mark.parametrize("kind", MODELS)
def test_keys_are_those_of_microsofts_models(kind: str) -> None:
    models, name = MODELS[kind]
    compare(models, KEYS[kind], keys(models, name), "")


def test_the_comparison_finds_a_key_too_many() -> None:
    wrong = KEYS["microsoft.keyvault/vaults"] | {"colour": str}
    with pytest.raises(AssertionError):
        compare(keyvault.models, wrong, keys(keyvault.models, "Vault"), "")

"""Pages of 25, and their number."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError

from tests.keyvault_emulator.server import Emulator

from .conftest import Connect


@pytest.mark.parametrize(("secrets", "pages"), [(0, 1), (1, 1), (25, 1), (26, 2), (60, 3)])
def test_pages_of_secrets(emulator: Emulator, connect: Connect, secrets: int, pages: int) -> None:
    names = [f"secret-{number:03}" for number in range(secrets)]
    for name in names:
        emulator.control.put("coffre", name, "one", updated=1_900_000_000)
    listed = list(connect().list_properties_of_secrets())
    assert [each.name for each in listed] == names
    assert {each.version for each in listed} <= {None}
    assert emulator.control.count()["list"] == pages


def test_pages_that_are_asked_to_be_smaller(emulator: Emulator, connect: Connect) -> None:
    for number in range(5):
        emulator.control.put("coffre", f"secret-{number}", "one")
    pages = list(connect().list_properties_of_secrets(max_page_size=2).by_page())
    assert [len(list(page)) for page in pages] == [2, 2, 1]
    with pytest.raises(HttpResponseError, match="maxresults"):
        list(connect().list_properties_of_secrets(max_page_size=26))


def test_pages_of_versions_and_of_deleted_secrets(emulator: Emulator, connect: Connect) -> None:
    for number in range(30):
        emulator.control.put("coffre", "alpha", str(number))
        emulator.control.put("coffre", f"beta-{number}", "one")
        emulator.control.delete("coffre", f"beta-{number}")
    client = connect()
    assert len(list(client.list_properties_of_secret_versions("alpha"))) == 30
    assert len(list(client.list_deleted_secrets())) == 30
    counted = emulator.control.count()
    assert (counted["versions"], counted["list_deleted"]) == (2, 2)

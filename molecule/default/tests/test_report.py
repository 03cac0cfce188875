"""The report as a person sees it: in a browser, at both widths, light and dark, of small and of large environments."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_selenium_python import Axe
from browser import chromium
from machines import ROOT, run_playbook
from selenium import webdriver

from ansible_collections.coffre.stack.plugins.module_utils.report import given, page
from tests.unit.report import scenes

testinfra_hosts = ["ansible://debian13"]

REPORT = ROOT / ".coffre" / "inventory" / "report.html"
PICTURES = Path(os.environ.get("TEST_ARTIFACTS", Path.home() / ".cache" / "coffre" / "pictures"))
WIDTHS = (400, 1600)
# By number of secrets and hosts, the width and the light by which axe-core reads it, which takes some seconds each.
SIZES = [
    (7, 1, 400, "dark"),
    (7, 20, 1600, "light"),
    (60, 1, 1600, "dark"),
    (60, 20, 400, "light"),
    (300, 1, 400, "light"),
    (300, 20, 1600, "dark"),
]
OPTIONS = '{"resultTypes": ["violations"], "preload": false}'  # as JavaScript has them
SECONDS = 120  # that a script may take, of a machine that does more than this
missing = [each for each in ("chromium", "chromedriver") if not shutil.which(each)]
needed = pytest.mark.skipif(
    bool(missing) and not os.environ.get("CI"), reason="Debian's packages chromium and chromium-driver are missing"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = chromium(tmp_path_factory.mktemp("browser"), "--hide-scrollbars")
    driver.set_script_timeout(SECONDS)
    driver.set_page_load_timeout(SECONDS)
    yield driver
    driver.quit()


def look(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    """Have the page in a window so wide, of a person who likes it light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def keep(browser: webdriver.Chrome, name: str, width: int) -> None:
    """Keep a picture of the page's first 8000 pixels."""
    tall = min(int(browser.execute_script("return document.documentElement.scrollHeight")), 8000)
    clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def violations(browser: webdriver.Chrome) -> list[Any]:
    """What axe-core finds wrong with the page as it is now."""
    axe = Axe(browser)
    axe.inject()
    return list(axe.run(options=OPTIONS)["violations"])


def seen_well(browser: webdriver.Chrome, name: str, width: int, scheme: str) -> None:
    """A page that is open fits each width, and everybody can read it at one of them; keeps pictures of both."""
    for other in sorted(WIDTHS, key=lambda each: each == width):
        look(browser, other, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= other
        keep(browser, f"{name}-{other}-{scheme}", other)
    assert violations(browser) == []
    assert browser.get_log("browser") == []


@needed
@pytest.mark.parametrize(("secrets", "hosts", "width", "scheme"), SIZES)
def test_everybody_can_read_it(
    browser: webdriver.Chrome, tmp_path: Path, secrets: int, hosts: int, width: int, scheme: str
) -> None:
    known = [given.host(each) for each in scenes.environment(secrets, hosts)]
    file = tmp_path / "report.html"
    file.write_text(page.render("production", scenes.NOW, known, given.checks(scenes.AROUND)), encoding="utf-8")
    browser.get(file.as_uri())
    seen_well(browser, f"{secrets}-secrets-{hosts}-hosts", width, scheme)


@needed
def test_on_paper_nothing_is_folded_away(browser: webdriver.Chrome, tmp_path: Path) -> None:
    known = [given.host(each) for each in scenes.environment(60, 1)]
    file = tmp_path / "report.html"
    file.write_text(page.render("production", scenes.NOW, known, ()), encoding="utf-8")
    browser.get(file.as_uri())
    folded = "return [...document.querySelectorAll('details .lives tr')].filter(e => e.checkVisibility()).length"
    assert browser.execute_script(folded) == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(folded) > 30
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "paper.pdf").write_bytes(base64.b64decode(printed["data"]))


@pytest.fixture(scope="module")
def written(host: Any) -> str:
    """What a run of the playbook says; it changes nothing."""
    play = run_playbook(playbook="report")
    assert play.status == 0, play.output
    assert all(figures["changed"] == 0 for figures in play.recap.values())
    assert host.check_output("find /run -maxdepth 1 -name 'coffre-*'") == ""
    return play.output


def test_it_is_written_of_real_hosts(written: str) -> None:
    assert REPORT.stat().st_mode & 0o777 == 0o600
    text = REPORT.read_text(encoding="utf-8")
    assert str(REPORT) in "".join(written.split())
    for name in ("debian12", "debian13", "flask-secret-key", "keycloak-db-password", "proxy-tls"):
        assert f"<code>{name}</code>" in text
    assert "No host has told of any secret" not in text
    assert "records in order" in text


@needed
def test_the_one_of_real_hosts_can_be_read_too(browser: webdriver.Chrome, written: str) -> None:  # noqa: ARG001
    browser.get(REPORT.as_uri())
    seen_well(browser, "real-hosts", 1600, "light")

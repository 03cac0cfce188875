"""Chromium, as a person at it uses a stack that a test host has on its loopback address."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from machines import KEYS, STACK
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as becomes
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 60.0  # for a page, of a machine that rotates at the same time
PACE = 0.5  # seconds between two looks
BROWSER = ("chromium", "chromedriver")


class Person:
    """Somebody at a browser, with the page of the app before them."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def sign_in(self, user: str, password: str) -> None:
        """From the app's page by Keycloak's form, and back."""
        self.driver.get(self.url)
        self._one("a.button").click()
        self._one("#username").send_keys(user)
        self._one("#password").send_keys(password)
        self._one("#kc-login").click()
        self._one(".who .name")

    def sign_in_again(self) -> None:
        """As one whom Keycloak still knows: no password is asked for."""
        self.driver.get(self.url)
        self._one("a.button").click()
        self._one(".who .name")

    def sign_out(self) -> str:
        """By the page's button; what then stands where signing in would begin."""
        self.driver.get(self.url)
        self._one(".who button").click()
        self._one(".hero a.button").click()
        return self._one("#kc-login").tag_name

    @property
    def name(self) -> str:
        """Who the page that is open says is signed in."""
        return self._one(".who .name").text

    @property
    def cookie(self) -> str:
        """The app's session, as somebody who steals it would have it."""
        found = self.driver.get_cookie("__Host-session")
        assert found
        return str(found["value"])

    def write(self, text: str) -> None:
        """Go on with the note in the form, and leave it there."""
        self._one("#note").send_keys(text)

    @property
    def written(self) -> str:
        return str(self._one("#note").get_property("value"))

    def send(self) -> list[str]:
        """Send the note; the notes that the page then has among its records, newest first."""
        form = self._one("form.note")
        form.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(self.driver, SECONDS).until(becomes.staleness_of(form))
        self._one("ol.records")
        return [each.text for each in self.driver.find_elements(By.CSS_SELECTOR, "ol.records q")]

    @contextmanager
    def staying(self) -> Iterator[list[str]]:
        """In another tab, load the page again and again; what it said each time. The first tab stays as it is."""
        said: list[str] = []
        first, over = self.driver.current_window_handle, threading.Event()
        self.driver.switch_to.new_window("tab")
        looking = threading.Thread(target=self._look, args=(said, over))
        looking.start()
        try:
            yield said
        finally:
            over.set()
            looking.join()
            self.driver.close()
            self.driver.switch_to.window(first)

    def _look(self, said: list[str], over: threading.Event) -> None:
        while True:
            try:
                self.driver.get(self.url)
                said.append(self.driver.find_element(By.CSS_SELECTOR, ".who .name, h1").text)
            except WebDriverException as error:
                said.append(f"{type(error).__name__}: {error.msg}")
            if over.wait(PACE):
                return

    def _one(self, selector: str) -> Any:
        """The element, waited for."""
        wait = WebDriverWait(self.driver, SECONDS)
        return wait.until(becomes.element_to_be_clickable((By.CSS_SELECTOR, selector)))


@contextmanager
def person(host: Any, folder: Path, machine: str = "debian13") -> Iterator[Person | None]:
    """Somebody at a browser of this machine, whose localhost:8443 is that of a test host, by SSH.

    None where Debian's packages chromium and chromium-driver are not installed; in CI they are, or it fails.
    """
    if not (all(shutil.which(each) for each in BROWSER) or os.environ.get("CI")):
        yield None
        return
    authority = host.check_output(f"cat /var/lib/coffre/{STACK}/ca.crt")
    port = _free_port()
    forward = ["ssh", "-F", str(KEYS / "ssh_config"), "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:8443", f"ops@{machine}"]
    with ExitStack() as stack:
        tunnel = stack.enter_context(subprocess.Popen(forward))
        stack.callback(tunnel.terminate)
        _listens(port)
        driver = _driver(folder, port, authority)
        stack.callback(driver.quit)
        yield Person(driver, "https://localhost:8443/")


def _driver(folder: Path, port: int, authority: str) -> webdriver.Chrome:
    """A Chromium that trusts what the stack's authority has signed, and keeps all it has in a folder."""
    key = x509.load_pem_x509_certificate(authority.encode()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    driver = chromium(
        folder,
        f"--host-resolver-rules=MAP localhost:8443 127.0.0.1:{port}",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}",
        "--no-proxy-server",
    )
    driver.set_page_load_timeout(SECONDS)
    return driver


def chromium(folder: Path, *arguments: str) -> webdriver.Chrome:
    """A Chromium without a window, and what it is told besides."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for each in (
        "--headless=new",
        "--no-sandbox",  # root has none; it sees our own pages only
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        f"--user-data-dir={folder}",
        *arguments,
    ):
        options.add_argument(each)
    return webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listens(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, "SSH forwards no port"
        time.sleep(0.1)

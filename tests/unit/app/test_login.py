"""People sign in and out, and what each may see; Keycloak is a server of the test's that signs its tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey

from app import create_app, login, overview
from app.audit import AuditError, AuditLog
from app.sessions import COOKIE
from tests.unit.app.conftest import TokenServer

BASE = "https://localhost:8443"
ISSUER = f"{BASE}/realms/iam"
VERSION = "a" * 32
EARLIER = "b" * 32


@dataclass
class Browser:
    """A browser at the app, and Keycloak, which lets anybody in."""

    client: FlaskClient
    keycloak: TokenServer

    def get(self, path: str) -> Any:
        return self.client.get(path, base_url=BASE)

    def post(self, path: str, **fields: str) -> Any:
        return self.client.post(path, data=fields, base_url=BASE)

    def begin(self) -> dict[str, str]:
        """What Keycloak is asked for."""
        url = urlsplit(self.get("/login").headers["Location"])
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/protocol/openid-connect/auth"
        return {name: value for name, (value,) in parse_qs(url.query).items()}

    def sign_in(self, *roles: str, state: str | None = None, **claims: object) -> Any:
        """Go to Keycloak and come back, with these claims beside or instead of right ones."""
        asked, now = self.begin(), int(time.time())
        person = {"sub": "7", "preferred_username": "kim", "name": "Kim Doe", "roles": list(roles)}
        right = {"iss": ISSUER, "aud": "flask-app", "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        self.keycloak.claims = {**right, **person, **claims}
        return self.get(f"/login/done?code=c&state={state or asked['state']}")

    def form(self) -> str:
        """What the page's forms bring back."""
        found = re.search(r'name="form" value="([^"]+)"', self.get("/").text)
        assert found
        return found[1]

    @property
    def cookie(self) -> str:
        found = self.client.get_cookie(COOKIE, domain="localhost")
        return found.value if found else ""

    @property
    def kept(self) -> dict[str, Any]:
        """What the cookie holds, as anybody can read it."""
        with self.client.session_transaction(base_url=BASE) as session:
            return dict(session)


@pytest.fixture
def browser(app: Flask, token_server: TokenServer) -> Browser:
    return Browser(app.test_client(), token_server)


def test_keycloak_is_asked_for_a_code_with_pkce(browser: Browser) -> None:
    first = browser.begin()
    asked = browser.begin()
    assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
        "response_type": "code",
        "client_id": "flask-app",
        "redirect_uri": f"{BASE}/login/done",
        "scope": "openid",
    }
    assert asked["code_challenge_method"] == "S256"
    assert not {first[name] for name in ("state", "nonce", "code_challenge")} & {*asked.values()}
    assert len([key for key in browser.kept if key.startswith("_state_")]) == 1


def test_the_code_is_exchanged_inside_and_nothing_of_it_is_kept(browser: Browser) -> None:
    browser.get("/session")
    asked = browser.sign_in("operator")
    assert (asked.status_code, asked.headers["Location"]) == (302, "/")
    (form,) = browser.keycloak.forms
    assert form["client_id"] == ["flask-app"]
    assert "client_secret" not in form
    assert form["redirect_uri"] == [f"{BASE}/login/done"]
    assert set(browser.kept) == {"person"}
    assert set(browser.kept["person"]) == {"user", "name", "roles", "since", "form", "id_token"}
    assert "canary-token" not in json.dumps(browser.kept)
    assert len(browser.cookie) < 3000


def test_the_verifier_is_that_of_the_challenge(browser: Browser) -> None:
    asked = browser.begin()
    browser.get(f"/login/done?code=c&state={asked['state']}")
    digest = hashlib.sha256(browser.keycloak.forms[0]["code_verifier"][0].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]


def test_what_each_sees(browser: Browser, canaries: dict[str, str], secrets_dir: Path) -> None:
    (secrets_dir / "versions.json").write_text(
        json.dumps({"flask-secret-key": {"version": VERSION, "created": "2026-01-31T12:00:00Z"}})
    )
    (secrets_dir / f"flask-secret-key.{EARLIER}").write_text("canary-earlier")
    out = browser.get("/").text
    assert "Sign in" in out
    assert "Sign out" not in out + browser.get("/login/done").text
    browser.sign_in()
    guest = browser.get("/").text
    assert "Kim Doe" in guest
    assert "no role" in guest
    browser.sign_in("operator", "other")
    operator = browser.get("/").text
    for shown in (*canaries, VERSION, "2026-01-31 12:00 UTC", EARLIER, "3 records", "all of them"):
        assert shown in operator
        assert shown not in out + guest
    assert "canary" not in operator + guest + out
    assert "<script" not in operator + guest + out
    assert 'href="https://localhost:8443/realms/iam/account/"' in operator
    assert 'href="https://localhost:8443/realms/iam/account/"' in guest


def test_a_name_is_no_markup(browser: Browser) -> None:
    browser.sign_in(name="<b>Kim</b>")
    assert "<b>" not in browser.get("/").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "another"},
        {"nonce": "another"},
        {"iss": "https://a.test/realms/iam"},
        {"aud": "automation-cli"},
        {"exp": 1},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
    ],
)
def test_what_is_not_the_answer_to_this_login(browser: Browser, wrong: dict[str, Any]) -> None:
    answer = browser.sign_in("operator", **wrong)
    assert (answer.status_code, "did not end well" in answer.text) == (400, True)
    assert "Kim Doe" not in browser.get("/").text


def test_a_token_that_somebody_else_signed(browser: Browser) -> None:
    browser.keycloak.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert browser.sign_in("operator").status_code == 400


@pytest.mark.parametrize(
    ("answer", "status"),
    [((400, b'{"error": "invalid_grant"}'), 400), ((200, b"{}"), 400), ((200, b"none"), 400), ((503, b"busy"), 503)],
)
def test_what_keycloak_does_not_answer(browser: Browser, answer: tuple[int, bytes], status: int) -> None:
    browser.keycloak.answer = answer
    assert browser.sign_in("operator").status_code == status


def test_no_more_than_a_few_wait_for_keycloak(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_asking", threading.BoundedSemaphore(1))
    with login._asking:
        assert browser.sign_in("operator").status_code == 503
    assert browser.keycloak.forms == []
    assert browser.sign_in("operator").status_code == 302
    assert browser.sign_in("operator", nonce="another").status_code == 302  # who is signed in goes home
    assert browser.sign_in("operator").status_code == 302


def test_keycloak_is_silent(browser: Browser) -> None:
    asked = browser.begin()
    browser.keycloak.shutdown()
    browser.keycloak.server_close()
    answer = browser.get(f"/login/done?code=c&state={asked['state']}")
    assert (answer.status_code, "try again" in answer.text) == (503, True)


def test_a_login_that_was_cancelled_and_a_way_back(browser: Browser) -> None:
    assert browser.get("/login/done?error=access_denied").status_code == 400
    asked = browser.sign_in()
    again = browser.get("/login/done?code=c&state=old")
    assert (asked.headers["Location"], again.headers["Location"]) == ("/", "/")


@pytest.mark.parametrize("path", ["/login?next=https://a.test/", "/login?redirect_uri=https://a.test/"])
def test_no_address_of_theirs_is_gone_to(browser: Browser, path: str) -> None:
    assert "a.test" not in browser.get(path).headers["Location"]
    assert browser.sign_in(state=None).headers["Location"] == "/"


def test_the_host_of_a_request_is_not_believed(browser: Browser) -> None:
    url = browser.client.get("/login", base_url="https://a.test").headers["Location"]
    assert "a.test" not in url


def test_logout_ends_both_sessions(browser: Browser) -> None:
    browser.sign_in("operator")
    id_token = browser.kept["person"]["id_token"]
    stolen = browser.get("/logout")
    assert stolen.status_code == 405
    assert browser.post("/logout").status_code == 400
    assert browser.post("/logout", form="x").status_code == 400
    out = browser.post("/logout", form=browser.form())
    url = urlsplit(out.headers["Location"])
    asked = parse_qs(url.query)
    assert (out.status_code, f"{BASE}{url.path}") == (303, f"{ISSUER}/protocol/openid-connect/logout")
    assert (asked["id_token_hint"], asked["post_logout_redirect_uri"]) == ([id_token], [f"{BASE}/"])
    assert "Sign in" in browser.get("/").text
    assert browser.post("/logout").headers["Location"] == "/"


def test_a_login_ends_by_itself(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.sign_in("operator")
    now = time.time()
    for later, there in ((login.LASTS - 60, True), (login.LASTS + 60, False), (-60, False)):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert ("Kim Doe" in browser.get("/").text) is there


Rotated = Callable[..., Browser]


@pytest.fixture
def rotated(secrets_dir: Path, token_server: TokenServer) -> Rotated:
    """The same browser at an app with other keys."""

    def start(before: Browser, current: str, *previous: str) -> Browser:
        for path in secrets_dir.glob("flask-secret-key*"):
            path.unlink()
        (secrets_dir / "flask-secret-key").write_text(current)
        for number, key in enumerate(previous):
            (secrets_dir / f"flask-secret-key.{number:032x}").write_text(key)
        after = Browser(create_app().test_client(), token_server)
        after.client.set_cookie(COOKIE, before.cookie, domain="localhost", secure=True)
        return after

    return start


def test_who_is_signed_in_stays_so_with_the_form_they_began(browser: Browser, rotated: Rotated, canaries: Any) -> None:
    browser.sign_in("operator")
    form, old = browser.form(), canaries["flask-secret-key"]
    first = rotated(browser, "new-1", old)
    assert first.post("/notes", note="half", form=form).headers["Location"] == "/#records"
    assert first.cookie != browser.cookie  # signed anew, so that the old key may go
    second = rotated(first, "new-2", "new-1")
    assert second.post("/notes", note="whole", form=form).status_code == 303
    assert [text in second.get("/").text for text in ("<q>half</q>", "<q>whole</q>")] == [True, True]


def test_a_stolen_cookie_ends_with_its_key(browser: Browser, rotated: Rotated, canaries: Any) -> None:
    browser.sign_in("operator")
    assert "Kim Doe" in rotated(browser, "new", canaries["flask-secret-key"]).get("/").text
    thrown_out = rotated(browser, "new")
    assert "Kim Doe" not in thrown_out.get("/").text
    assert thrown_out.post("/notes", note="text", form=browser.kept["person"]["form"]).status_code == 403


@pytest.mark.parametrize("text", ["", " \n", "x" * 201, "bell\a"])
def test_a_note_that_is_none(browser: Browser, text: str) -> None:
    browser.sign_in("operator")
    assert browser.post("/notes", note=text, form=browser.form()).status_code == 400


def test_only_operators_add_notes(browser: Browser, tmp_path: Path) -> None:
    assert browser.post("/notes", note="text").status_code == 403
    browser.sign_in()
    assert browser.post("/notes", note="text", form=browser.form()).status_code == 403
    browser.sign_in("operator")
    assert browser.post("/notes", note="text", form="another").status_code == 403
    assert "text" not in (tmp_path / "audit.jsonl").read_text()
    browser.post("/notes", note=" a\r\nnote ", form=browser.form())
    last = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["by"], last["text"]) == ("note", "kim", "a note")


def test_an_operator_sees_what_is_wrong(browser: Browser, secrets_dir: Path, tmp_path: Path) -> None:
    browser.sign_in("operator")
    assert "all well" in browser.get("/").text
    (secrets_dir / "audit-log-signing-key").unlink()
    log = tmp_path / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"secret-loaded", b"secret-loader", 1))
    page = browser.get("/").text
    assert "not well: 2 of 3" in page
    assert "missing: audit-log-signing-key" in page
    assert "not verified" in page


def test_nobody_signs_in_without_a_key(secrets_dir: Path) -> None:
    (secrets_dir / "flask-secret-key").unlink()
    client = create_app().test_client()
    assert client.get("/login").status_code == 503
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("text", ["", "[]", "{", '{"flask-secret-key": {}}', '{"flask-secret-key": 1}'])
def test_versions_that_nobody_understands(browser: Browser, secrets_dir: Path, text: str) -> None:
    (secrets_dir / "versions.json").write_text(text)
    browser.sign_in("operator")
    assert "not told" in browser.get("/").text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (90000, "1 day ago"), (86400 * 40, "40 days ago")],
)
def test_how_long_ago(seconds: int, said: str) -> None:
    assert overview.ago(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))) == said


def test_times_that_are_none() -> None:
    assert (overview.ago(""), overview.clock("never")) == ("", "")


def spoil(log: Path, how: str) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    first = lines[0].replace(b'"n":0', b'"n":9')
    new = {
        "changed": [first, *lines[1:]],
        "swapped": lines[::-1],
        "cut": lines[1:],
        "torn": [*lines, b'{"seq": 4'],
        "cut off": lines[:2],
        "gone": [],
    }
    log.write_bytes(b"".join(new[how]))


@pytest.mark.parametrize("how", ["changed", "swapped", "cut", "torn", "cut off", "gone"])
def test_records_that_are_not_as_they_were_written(tmp_path: Path, how: str) -> None:
    audit = AuditLog(tmp_path / "log", b"key")
    for number in range(3):
        head = audit.append("event", {"n": number})
    found = audit.verify(head, 2)
    assert (found.records, found.signed, [each["n"] for each in found.last]) == (3, 3, [2, 1])
    other = AuditLog(tmp_path / "log", b"other")
    assert (other.verify(head).records, other.verify(head).signed) == (3, 0)
    spoil(tmp_path / "log", how)
    with pytest.raises(AuditError, match=r"^Record \d of the audit log is .*: run make verify-audit\.$"):
        audit.verify(head)

"""A server that holds two secrets of a client, and one password of an admin, as Keycloak 26.7 does.

It can die at a request that changes something, before or after the change: the caller gets no answer.
"""

from __future__ import annotations

import copy
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLIENT, USER, SERVICE, PREFIX = "client-uuid", "user-uuid", "service-account-uuid", "client.secret."
PERIOD, OVERLAP = 315360000, 2592000
Answer = tuple[int, Any]


class Keycloak:
    """The realms iam, with the client automation-cli, and master, with the user admin. Times are epoch seconds."""

    def __init__(self, secret: str, password: str, entries: dict[str, Any]) -> None:
        self.password, self.entries, self.policy = password, copy.deepcopy(entries), ""
        self.sessions: set[str] = set()
        self.realms: dict[str, dict[str, Any]] = {name: {"realm": name, "enabled": True} for name in ("iam", "master")}
        self.users = {each: {"id": each, "username": each, "enabled": True} for each in (USER, SERVICE)}
        self.users[USER]["username"] = "admin"
        self.answers_to_admin: dict[str, Any] = {}  # what is said to a login with the right password, where not a yes
        self.logins = 0
        self.client: dict[str, Any] = {
            "id": CLIENT,
            "clientId": "automation-cli",
            "secret": secret,
            "description": "Kept.",
            "enabled": True,
            "protocol": "openid-connect",
            "publicClient": False,
            "bearerOnly": False,
            "clientAuthenticatorType": "client-secret",
            "serviceAccountsEnabled": True,
            "attributes": {"foreign": "kept", **self._times("", PERIOD)},
        }
        self.others: list[dict[str, Any]] = []  # the realm's other clients, whose ids are their names
        self.roles: dict[str, list[dict[str, Any]]] = {}  # by client, and the realm's own by ""
        self.people: dict[str, dict[str, Any]] = {}  # users that were imported, by name
        self.changes = 0
        self.deaths: dict[int, bool] = {}  # by the number of a change, whether it is still made

    def _times(self, infix: str, period: int) -> dict[str, str]:
        moment = int(time.time())
        return {
            f"{PREFIX}{infix}creation.time": str(moment),
            f"{PREFIX}{infix}expiration.time": str(moment + period),
        }

    def accepts(self, secret: str) -> bool:
        attributes = self.client["attributes"]
        rotated = attributes.get("client.secret.rotated")
        alive = int(attributes.get("client.secret.rotated.expiration.time", "0")) > time.time()
        return secret == self.client["secret"] or (secret == rotated and alive)

    def age(self, seconds: int) -> None:
        """Let everything that Keycloak notes of the client's secrets be this much older."""
        for name, text in self.client["attributes"].items():
            if name.endswith(".time"):
                self.client["attributes"][name] = str(int(text) - seconds)

    def token(self, realm: str, form: dict[str, str]) -> Answer:
        match form["grant_type"]:
            case "client_credentials":
                return self.grant(realm, form["client_secret"])
            case "password" if self.answers_to_admin:
                self.logins += 1
                return 400, self.answers_to_admin
            case "password" if form["password"] == self.password:
                self.logins += 1
                session = secrets.token_hex(8)
                self.sessions.add(session)
                return 200, {"access_token": session, "refresh_token": session, "expires_in": 60}
            case "refresh_token" if realm == "master" and (session := form["refresh_token"]) in self.sessions:
                return 200, {"access_token": session, "refresh_token": session, "expires_in": 60}
            case "refresh_token":
                return 400, {"error": "invalid_grant", "error_description": "Session not active"}
        self.logins += form["grant_type"] == "password"
        return 400, {"error": "invalid_grant", "error_description": "Invalid user credentials"}

    def grant(self, realm: str, secret: str) -> Answer:
        """Each refusal in the words of Keycloak 26.7.3."""
        if realm not in self.realms:
            return 404, {"error": "Realm does not exist"}
        if not self.realms[realm]["enabled"]:
            return 403, {"error": "access_denied", "error_description": "Realm not enabled"}
        able = ("enabled", True), ("clientAuthenticatorType", "client-secret"), ("protocol", "openid-connect")
        if any(self.client.get(name) != wanted for name, wanted in able):
            return 401, {"error": "invalid_client", "error_description": "Invalid client or Invalid client credentials"}
        if not self.accepts(secret) or self.client["publicClient"] or not self.client["serviceAccountsEnabled"]:
            return 401, {"error": "unauthorized_client"}
        if not self.users[SERVICE]["enabled"]:
            return 401, {"error": "invalid_request", "error_description": "User 'service-account' disabled"}
        return 200, {"access_token": "t", "expires_in": 60}

    def admits(self, path: str, bearer: str) -> bool:
        """Whether who asks may: the admin API is for those with a session."""
        return not path.startswith("/admin/") or bearer in self.sessions

    def answer(self, method: str, path: str, body: Any) -> Answer:
        client, iam, master = f"/admin/realms/iam/clients/{CLIENT}", "/admin/realms/iam", "/admin/realms/master"
        match method, path:
            case "POST", _ if path.endswith("/token"):
                return self.token(path.split("/")[2], body)
            case "POST", _ if path.endswith("/openid-connect/logout"):
                self.sessions.discard(body["refresh_token"])
                return 204, None
            case "GET", _ if path == f"{iam}/clients":
                return 200, [each for each in (self.client, *self.others) if each]
            case "GET", _ if path == f"{iam}/roles":
                return 200, self.roles.get("", [])
            case "GET", _ if path.startswith(f"{iam}/clients/") and path.endswith("/roles"):
                return 200, self.roles.get(path.split("/")[-2], [])
            case "GET", _ if path == f"{client}/service-account-user":
                return 200, self.users[SERVICE]
            case "GET", _ if path == client:
                return 200, self.client
            case "GET", _ if path.startswith(f"{iam}/client-policies/"):
                kind = path.rpartition("/")[2]
                return 200, {kind: self.entries[kind]}
            case "GET", _ if path == f"{master}/users":
                return 200, [self.users[USER]]
            case "GET", _ if path in (iam, master):
                found = self.realms.get(path.rpartition("/")[2])
                return (200, found | {"passwordPolicy": self.policy}) if found else (404, {"error": "Realm not found."})
        return self._change(method, path.removeprefix(iam).removeprefix(master) or "/", body)

    def _change(self, method: str, path: str, body: Any) -> Answer:
        self.changes += 1
        made = self.deaths.get(self.changes)
        answer = (0, None) if made is False else self._apply(method, path, body)
        if made is not None:
            raise ConnectionAbortedError
        return answer

    def _apply(self, method: str, path: str, body: Any) -> Answer:
        attributes = self.client.get("attributes", {})
        match method, path:
            case "PUT", "/":
                self.realms[body.get("realm", "master")].update(body)
                return 204, None
            case "POST", "/admin/realms":
                self.realms[body["realm"]] = {"realm": body["realm"], "enabled": body["enabled"]}
                first, *others = body["clients"]
                self._import({"clients": others, "roles": body["roles"]})
                return self._apply("POST", "/clients", first)
            case "POST", "/partialImport":
                wanted = {"users": "OVERWRITE", "clients": "SKIP"}
                assert body["ifResourceExists"] in [rule for kind, rule in wanted.items() if kind in body]
                self.people.update({each["username"]: each for each in body.get("users", [])})
                self._import({"clients": [], "roles": {}, **body})
                return 200, {}
            case "POST", "/clients":
                rest = {"publicClient": False, "bearerOnly": False, "protocol": "openid-connect"}
                times = {"attributes": self._times("", PERIOD), "secret": secrets.token_urlsafe(64)}
                self.client = {"id": CLIENT} | rest | times | body
                return 201, None
            case "PUT", _ if path.startswith("/users/") and path.rpartition("/")[2] in self.users:
                self.users[path.rpartition("/")[2]] = body
                return 204, None
            case "POST", "/clients/client-uuid/client-secret":
                attributes.update({"client.secret.rotated": self.client["secret"], **self._times("rotated.", OVERLAP)})
                attributes.update(self._times("", PERIOD))
                self.client["secret"] = secrets.token_urlsafe(64)
                return 200, {"type": "secret", "value": self.client["secret"]}
            case "PUT", "/clients/client-uuid":
                outlived = int(attributes["client.secret.expiration.time"]) <= time.time()
                changed = body["secret"] != self.client["secret"]
                self.client = body
                if outlived:
                    self._apply("POST", "/clients/client-uuid/client-secret", None)
                elif changed:
                    self.client["attributes"].update(self._times("", PERIOD))
                return 204, None
            case "DELETE", "/clients/client-uuid/client-secret/rotated":
                for name in [name for name in attributes if name.startswith("client.secret.rotated")]:
                    del attributes[name]
                return 204, None
            case "PUT", "/users/user-uuid/reset-password":
                self.password = body["value"]
                return 204, None
            case "POST", "/users/user-uuid/logout":
                self.sessions.clear()
                return 204, None
        return 500, {"error": f"the model knows no {method} {path}"}

    def _import(self, body: dict[str, Any]) -> None:
        self.others += [{"id": each["clientId"], **each} for each in body["clients"]]
        for owner, roles in {"": body["roles"].get("realm", []), **body["roles"].get("client", {})}.items():
            assert owner in ("", *(each["id"] for each in self.others))
            if roles:
                self.roles.setdefault(owner, []).extend(roles)


@contextmanager
def serving(model: Keycloak) -> Iterator[str]:
    """The model's URL while it answers."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
            body = {k: v[0] for k, v in parse_qs(text).items()} if form else json.loads(text) if text else None
            path, bearer = urlsplit(self.path).path, self.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                no = 401, {"error": "HTTP 401 Unauthorized"}
                status, answer = model.answer(self.command, path, body) if model.admits(path, bearer) else no
            except ConnectionAbortedError:
                self.close_connection = True
                return
            payload = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 201:
                self.send_header("Location", f"{self.path}/{CLIENT}")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()

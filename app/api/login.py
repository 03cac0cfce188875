"""/login sends people to Keycloak, /login/done is where they come back to, and /logout ends both sessions."""

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import login

blueprint = Blueprint("login", __name__)

Answer = Response | tuple[str, int]


@blueprint.get("/login")
def begin() -> Answer:
    """To Keycloak."""
    if current_app.secret_key is None:
        return _message(503, "There are no sessions", "The app's secret flask-secret-key is missing.")
    return login.begin()


@blueprint.get("/login/done")
def done() -> Answer:
    """From Keycloak, and on to the page, whatever the address says."""
    try:
        login.finish()
    except login.LoginError as error:
        if login.person():  # the browser's way back, or a second tab
            return redirect(url_for("home.home"))
        if error.retry:
            return _message(503, "Keycloak gave no answer", "Nobody was signed in. It may be starting: try again.")
        return _message(400, "That login did not end well", "It was cancelled, took too long, or began elsewhere.")
    return redirect(url_for("home.home"))


@blueprint.post("/logout")
def logout() -> Answer:
    """Out of the app and of Keycloak; only by the page's own form, so that no other site does it."""
    who = login.person()
    if who and not who.sent(request.form.get("form", "")):
        return _message(400, "You are still signed in", "That form was not this page's.")
    return login.end()


def _message(status: int, title: str, text: str) -> tuple[str, int]:
    return render_template("message.html", title=title, text=text, who=login.person()), status

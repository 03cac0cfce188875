"""GET /: what this is."""

from flask import Blueprint, render_template

from app import runtime

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def home() -> str:
    """A page without scripts."""
    return render_template("home.html", account_url=runtime.current().settings.account_url)

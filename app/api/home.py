"""GET /: what this is, and, to who is signed in, what they may do. POST /notes: an operator's word."""

from datetime import UTC, datetime

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import login, overview, runtime
from app.audit import AuditError

blueprint = Blueprint("home", __name__)
LONGEST = 200  # characters of a note


@blueprint.get("/")
def home() -> str:
    """A page without scripts."""
    now, who = runtime.current(), login.person()
    if who is None:
        return render_template("welcome.html", who=None)
    board = overview.look(now) if who.operator else None
    return render_template(
        "home.html", who=who, board=board, account_url=now.settings.account_url, longest=LONGEST, until=_until(who)
    )


@blueprint.post("/notes")
def note() -> Response | tuple[str, int]:
    """Add an operator's note to the audit records, signed and chained like them."""
    who, audit = login.person(), runtime.current().audit
    text = " ".join(request.form.get("note", "").split())
    if who is None or not who.operator or not who.sent(request.form.get("form", "")):
        return _kept_nothing(403, "only operators who are signed in can add one", who)
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        return _kept_nothing(400, f"write 1 to {LONGEST} printable characters", who)
    try:
        if audit is None:
            return _kept_nothing(503, "the audit log is not written", who)
        audit.append("note", {"by": who.user, "text": text})
    except AuditError:
        return _kept_nothing(503, "the audit log cannot be written", who)
    return redirect(url_for("home.home", _anchor="records"), 303)


def _kept_nothing(status: int, why: str, who: login.Person | None) -> tuple[str, int]:
    return render_template("message.html", title="The note was not kept", text=f"Because {why}.", who=who), status


def _until(who: login.Person) -> datetime:
    return datetime.fromtimestamp(who.since + login.LASTS, UTC)

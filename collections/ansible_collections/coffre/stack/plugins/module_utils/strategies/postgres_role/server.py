"""A database of one owner and several login roles, and the password of one of them.

The password never reaches the server: a login proves it by SCRAM, and what is stored is a
verifier made here. PostgreSQL is administered over the network by a user that may make roles and databases, or, where
the catalogue has none, by peer login, through psql in its container: the statements are the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ...engines import containers
from ...engines.base import Container
from ...errors import CoffreError
from . import NAME

ITERATIONS = 4096  # PostgreSQL's own default
ADMIN_SECONDS = 60
POLL_SECONDS = 0.5

# What of the owner, the login roles, their grants and the database is not as REPAIR makes it; "" where all is.
# Every role may read these catalogues, so the login that is to be proved can ask by itself.
AMISS = """
SELECT concat_ws(', ',
  CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {owner}) THEN {owner} || ' is missing' END,
  CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role}) THEN {role} || ' is missing' END,
  (SELECT nullif(concat_ws(', ',
       CASE WHEN NOT rolcanlogin THEN {role} || ' may not log in' END,
       CASE WHEN rolvaliduntil < 'infinity' THEN
         format('the password of %s counts until %s', rolname, date_trunc('second', rolvaliduntil)) END,
       CASE WHEN rolconnlimit >= 0 THEN format('%s may have %s sessions', rolname, rolconnlimit) END,
       (SELECT {role} || ' may not connect to ' || datname FROM pg_database
          WHERE datname = {database} AND NOT has_database_privilege(pg_roles.oid, pg_database.oid, 'CONNECT'))), '')
     FROM pg_roles WHERE rolname = {role}),
  CASE WHEN NOT EXISTS (SELECT FROM pg_database WHERE datname = {database})
       THEN 'the database ' || {database} || ' is missing' END,
  (SELECT nullif(concat_ws(', ',
       CASE WHEN pg_get_userbyid(datdba) <> {owner} THEN format('%s belongs to another', datname) END,
       CASE WHEN NOT datallowconn THEN format('%s takes no connections', datname) END,
       CASE WHEN datconnlimit >= 0 THEN format('%s takes %s connections', datname, datconnlimit) END,
       CASE WHEN has_database_privilege('public', oid, 'CONNECT')
              OR has_database_privilege('public', oid, 'TEMPORARY') THEN format('%s is open to all', datname) END), '')
     FROM pg_database WHERE datname = {database}),
  (SELECT string_agg(format('%s does not act as %s', wanted.name, {owner}), ', ')
     FROM unnest(ARRAY[{roles}]) AS wanted (name)
     WHERE NOT EXISTS (
       SELECT FROM pg_roles login
       JOIN pg_auth_members m ON m.member = login.oid AND m.inherit_option AND m.set_option
       JOIN pg_roles owner ON owner.oid = m.roleid AND owner.rolname = {owner}
       JOIN pg_db_role_setting s ON s.setrole = login.oid AND s.setdatabase = 0
            AND {setting} = ANY (s.setconfig)
       WHERE login.rolname = wanted.name)))
"""

# The addresses that a role's sessions come from, a line for each session; `hidden` for who can neither see nor shut it.
SESSIONS = """
SELECT 'hidden' FROM pg_roles
  WHERE rolname = {role} AND NOT (pg_has_role(oid, 'USAGE') AND pg_has_role(oid, 'MEMBER WITH ADMIN OPTION'))
UNION ALL
SELECT host(client_addr) FROM pg_stat_activity WHERE usename = {role} AND client_addr IS NOT NULL"""

# Of a statement that ends so each row is a statement, to be run next, as psql has it.
ROWS = "\\gexec"

SHUT = "SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM pg_roles WHERE rolname = {role} \\gexec"

# Since PostgreSQL 16 who makes a role may hand it on, and takes part in it only by its own leave. An administrator has
# to act as the owner, and to see the sessions of a login role; a superuser does already.
REPAIR_ROLE = (
    "SELECT format('CREATE ROLE %I NOLOGIN', {role})"
    "  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role}) \\gexec",
    "SELECT format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', rolname, current_user) FROM pg_roles"
    "  WHERE rolname = {role} AND NOT (pg_has_role(oid, 'USAGE') AND pg_has_role(oid, 'SET')) \\gexec",
)

REPAIR = (
    "SELECT format('CREATE DATABASE %I OWNER %I', {database_name}, {owner_name})"
    "  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {database_name}) \\gexec",
    "ALTER DATABASE {database} OWNER TO {owner}",
    "ALTER DATABASE {database} ALLOW_CONNECTIONS TRUE CONNECTION LIMIT -1",
    "REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {roles}",
    "GRANT {owner} TO {roles} WITH INHERIT TRUE, SET TRUE",
    "ALTER ROLE {role} LOGIN VALID UNTIL 'infinity' CONNECTION LIMIT -1",
)

# The statement that carries a verifier is kept out of every log of the server, by whoever may say so.
QUIET = """
SELECT format('SET %s = %L', name, value)
  FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic'))
    AS wanted (name, value)
  WHERE has_parameter_privilege(name, 'SET') \\gexec"""


@dataclass(frozen=True)
class User:
    """Who logs in over the network; of its passwords one may be the live one."""

    name: str
    passwords: tuple[bytes, ...]


@dataclass(frozen=True)
class Database:
    """A running container of PostgreSQL, and who administers it: a user over the network, or its own psql there."""

    container: Container
    superuser: str = "postgres"  # as whom psql logs in
    user: User | None = None


@dataclass(frozen=True)
class LoginRole:
    """Which of `roles` is to log in to `database`, acting as `owner`. Raises CoffreError for names that are none."""

    database: str
    owner: str
    roles: tuple[str, ...]
    role: str

    def __post_init__(self) -> None:
        for name in (self.database, self.owner, *self.roles):
            if not NAME.fullmatch(name):
                raise CoffreError(
                    f"{name!r} cannot name a role or a database: use a-z, 0-9 and _, no digit first; "
                    "nothing was changed."
                )
        if self.role not in self.roles:
            raise CoffreError(
                f"The version in force belongs to the role {self.role!r}, which is none of {', '.join(self.roles)}; "
                "nothing was changed: correct the secret's settings in the catalogue."
            )


def verifier(password: bytes, salt: bytes | None = None) -> str:
    """The SCRAM-SHA-256 verifier that PostgreSQL stores for a password, of RFC 5803's form.

    Raises CoffreError for a password outside printable ASCII, which SCRAM would first normalise.
    """
    if not all(0x20 <= byte <= 0x7E for byte in password):
        raise CoffreError("A database password must be printable ASCII; nothing was changed: replace it at its source.")
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def amiss_query(target: LoginRole) -> str:
    return _compose(
        AMISS,
        owner=sql.Literal(target.owner),
        role=sql.Literal(target.role),
        database=sql.Literal(target.database),
        roles=sql.SQL(", ").join(map(sql.Literal, target.roles)),
        setting=sql.Literal(f"role={target.owner}"),
    )


def repair_script(target: LoginRole) -> list[str]:
    """The statements after which nothing of AMISS is told; running them again changes nothing."""
    owner, roles = sql.Identifier(target.owner), [sql.Identifier(role) for role in target.roles]
    names = (target.owner, *target.roles)
    parts = [_compose(each, role=sql.Literal(name)) for name in names for each in REPAIR_ROLE]
    parts += [
        _compose(
            each,
            owner=owner,
            owner_name=sql.Literal(target.owner),
            database=sql.Identifier(target.database),
            database_name=sql.Literal(target.database),
            roles=sql.SQL(", ").join(roles),
            role=sql.Identifier(target.role),
        )
        for each in REPAIR
    ]
    return parts + [_compose("ALTER ROLE {role} SET role = {owner}", role=role, owner=owner) for role in roles]


def password_script(role: str, password: bytes) -> list[str]:
    """The statements after which a role has a password. Raises CoffreError for one that cannot be any."""
    parts = {"role": sql.Identifier(role), "verifier": sql.Literal(verifier(password))}
    return [QUIET, _compose("ALTER ROLE {role} PASSWORD {verifier}", **parts)]


def connect(
    server: Database, database: str, user: str, password: bytes, seconds: int = 10
) -> psycopg.Connection[tuple[object, ...]] | None:
    """Log in over TCP as an application does; None if refused. Each statement counts by itself, for so many seconds.

    Only a server that asks for SCRAM is believed: one that trusts everybody proves nothing.
    Raises CoffreError when no answer can be had.
    """
    try:
        return psycopg.connect(
            host=containers.address(server.container),
            dbname=database,
            user=user,
            password=password.decode("ascii", "replace"),
            connect_timeout=10,
            options=f"-c statement_timeout={seconds}s",
            require_auth="scram-sha-256",
            sslmode="disable",  # the peer is on a network of the stack's own; SCRAM does not send the password
            gssencmode="disable",
            application_name="coffre",
            autocommit=True,  # a database cannot be made in a transaction
        )
    except psycopg.OperationalError as error:
        # libpq gives no SQLSTATE here, but tells whether the server took the password before it said no.
        if error.pgconn is not None and error.pgconn.used_password:
            return None
        raise CoffreError(
            f"PostgreSQL gives no usable answer to a login as {user} ({type(error).__name__}); nothing was "
            "changed: see the log of its container, and that pg_hba.conf asks for scram-sha-256."
        ) from None


def login(server: Database, target: LoginRole, password: bytes) -> bool | None:
    """Log in as the application does: None if refused, else whether roles and database agree. Raises CoffreError."""
    connection = connect(server, target.database, target.role, password)
    if connection is None:
        return None
    try:
        with connection:
            row = connection.execute(amiss_query(target).encode()).fetchone()
    except psycopg.OperationalError as error:
        raise CoffreError(
            f"PostgreSQL lets {target.role} in and then gives no usable answer ({type(error).__name__}); nothing was "
            "changed: see the log of its container, then run again."
        ) from None
    return bool(row and not row[0])


def administer(server: Database, script: Sequence[str], what: str, database: str = "postgres") -> str:
    """Run statements as who administers PostgreSQL, and return what they print, a line for each row.

    Raises CoffreError without the server's own words, which may quote a statement.
    """
    if server.user:
        return _over_network(server, server.user, script, what, database)
    return _psql(server, script, what, database)


def _over_network(server: Database, user: User, script: Sequence[str], what: str, database: str) -> str:
    for password in user.passwords:
        connection = connect(server, database, user.name, password, ADMIN_SECONDS)
        if connection is None:
            continue
        try:
            with connection:
                return "\n".join(_carried(connection, script))
        except psycopg.errors.InsufficientPrivilege:
            raise CoffreError(f"PostgreSQL does not let its user {user.name} {what}: {_handed(user)}") from None
        except psycopg.Error as error:
            raise CoffreError(
                f"PostgreSQL could not {what} when {user.name} asked ({error.sqlstate or type(error).__name__}): "
                "see the log of its container, then run site.yml again."
            ) from None
    raise CoffreError(
        f"PostgreSQL refuses the deployed password of its user {user.name}, by whom it is administered; nothing was "
        "changed: run site.yml, which mends that or tells how."
    )


def _handed(user: User) -> str:
    """How a user comes to administer what somebody else has made, as the rest of a sentence."""
    return (
        f"somebody else has made what it is about: let a superuser say `ALTER ROLE {user.name} CREATEROLE CREATEDB` "
        f"and, for the owner and each login role, `GRANT ROLE TO {user.name} WITH ADMIN TRUE, INHERIT TRUE, SET TRUE`, "
        "then run again."
    )


def _carried(connection: psycopg.Connection[tuple[object, ...]], script: Sequence[str]) -> Iterator[str]:
    """What psql would print of statements."""
    for each in script:
        result = connection.execute(each.removesuffix(ROWS).encode()).pgresult
        rows = [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)] if result else []
        if each.endswith(ROWS):
            for statement in rows:
                connection.execute(statement.encode())
        else:
            yield from rows


def _psql(server: Database, script: Sequence[str], what: str, database: str) -> str:
    """Run statements as the superuser in PostgreSQL's container, on the standard input of its psql."""
    command = ["exec", "--interactive", server.container.id, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
    command += ["-U", server.superuser, "-d", database]
    text = "".join(f"{each}\n" if each.endswith(ROWS) else f"{each};\n" for each in script)
    try:
        done = subprocess.run(
            ["docker", *command], input=text, capture_output=True, text=True, timeout=ADMIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CoffreError(
            f"psql in PostgreSQL's container could not {what} within {ADMIN_SECONDS} s: "
            "see the log of that container, then run site.yml again."
        ) from None
    if done.returncode != 0:
        raise CoffreError(
            f"psql in PostgreSQL's container could not {what} (exit status {done.returncode}): "
            "see the log of that container, then run site.yml again."
        )
    return done.stdout.strip()


def ensure(server: Database, target: LoginRole, password: bytes, dry: bool = False) -> list[str]:
    """Make the target's role log in with this password, mending only what is amiss; return what was repaired.

    `roles` stands for owner, login roles, grants and database, `verifier` for the role's password.
    With dry, only tell what would be repaired.
    """
    seen = login(server, target, password)
    repaired: list[str] = []
    if seen is False or (seen is None and amiss(server, target)):
        repaired.append("roles")
        if not dry:
            administer(server, repair_script(target), "make the roles and the database")
            seen = login(server, target, password)
    if seen is None:
        repaired.append("verifier")
        if not dry:
            administer(server, password_script(target.role, password), f"set the verifier of {target.role}")
            seen = login(server, target, password)
    if repaired and not dry and not seen:
        raise CoffreError(
            f"PostgreSQL still refuses {target.role} after its roles and verifier were set "
            f"({amiss(server, target) or 'which are as they should be'}): "
            "see the log of its container, and that pg_hba.conf asks for scram-sha-256."
        )
    return repaired


def amiss(server: Database, target: LoginRole) -> str:
    """What of roles, grants and database is not as `ensure` makes it, as clauses with commas between them, or ""."""
    return administer(server, [amiss_query(target)], "read the roles")


def trouble(server: Database, target: LoginRole, password: bytes) -> str:
    """Why the target's role does not log in with this password as it should, as a sentence; "" if it does. Reads only.

    Raises CoffreError when no answer can be had.
    """
    seen = login(server, target, password)
    if seen:
        return ""
    why = amiss(server, target) or f"{target.role} has another password"
    what = "refuses the deployed password of" if seen is None else "lets in, though not all is as it should be,"
    return f"PostgreSQL {what} {target.role} ({why}): run site.yml, which mends it."


def sessions(server: Database, role: str) -> list[str]:
    """The addresses of the clients that are logged in as a role, one for each session. Raises CoffreError."""
    what = f"list the sessions of {role}"
    found = administer(server, [_compose(SESSIONS, role=sql.Literal(role))], what).split()
    if server.user and "hidden" in found:
        raise CoffreError(f"PostgreSQL does not let its user {server.user.name} {what}: {_handed(server.user)}")
    return found


def shut(server: Database, role: str, seconds: float) -> None:
    """Take a role's password and login away, once its last session has ended by itself.

    A session that is cut off would fail the requests of whoever uses it. Raises CoffreError, the role unchanged, if
    sessions are left after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while left := sessions(server, role):
        if time.monotonic() > deadline:
            raise CoffreError(
                f"The role {role} keeps its password, for {len(left)} of its sessions have not ended within "
                f"{seconds:.0f} s: see with `docker ps` which container has the address {min(left)} and stop it; where "
                "none has it any more, PostgreSQL itself ends them in time (tcp_keepalives_idle)."
            )
        time.sleep(POLL_SECONDS)
    administer(server, [_compose(SHUT, role=sql.Literal(role))], f"take the password of {role} away")


def _compose(text: str, **parts: sql.Composable) -> str:
    return sql.SQL(text).format(**parts).as_string(None)

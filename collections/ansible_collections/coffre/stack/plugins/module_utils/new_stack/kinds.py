"""What is known of variables, files and images by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

CREDENTIAL = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PW|SECRET|SECRETS|TOKEN|SALT|PEPPER|CREDENTIALS?|DSN|JWT|KEY|KEYS)(_|$|\d)"
    r"|PASSWORD|PASSWD|SECRET|APIKEY|API_KEY|PRIVATE_KEY|ACCESS_KEY|ENCRYPTION_KEY|AUTHKEY"
)
# Names that speak of a credential and have none.
ABOUT = re.compile(
    r"(_FILE|_PATH|_DIR|_NAME|_ID|_URL|_URI|_HOST|_TTL|_AGE|_EXPIR\w*|_EXP|_LIFETIME|_ALGORITHM|_ALG|_LENGTH|_ENABLED?|"
    r"_REQUIRED|_ISSUER|_TYPE|_HEADER|_METHOD|_TIMEOUT|_POLICY|_DAYS|_MINUTES|_SECONDS|_HOURS|_PREFIX|_COUNT)$"
    r"|PUBLIC_?KEY|ACCESS_KEY_ID|RANDOM_ROOT_PASSWORD|ALLOW_EMPTY|ENABLE_|DISABLE_|(^|_)PASS_THROUGH|KEYBOARD"
)
# An address of a server, which often has a password in it.
ADDRESS = re.compile(
    r"(DATABASE|DB|REDIS|MONGO\w*|AMQP|RABBITMQ|BROKER|CACHE|CELERY\w*|CLICKHOUSE\w*|POSTGRES\w*)_(URL|URI)$"
)
# Names of what is no secret, whatever its value.
OPEN = re.compile(
    r"(USER|USERNAME|DB|DATABASE|NAME|HOST|PORT|VERSION|DOMAIN|EMAIL|LOCATION|DIR|PATH|ORIGINS|ZONE|SERVER|TAG)$"
)
OPEN_VALUE = re.compile(r"(?!.*://[^/@]*:[^/@]*@)[\w.@:/,+ -]{0,80}")
SWITCH = re.compile(r"(?i)true|false|yes|no|on|off|none|null|\d{1,9}|")
ENCRYPTS = re.compile(r"ENCRYPT|CRYPT|FERNET|MASTER_KEY|VAULT|SALT|PEPPER|(^|_)APP_KEY$|CIPHER")
RING = re.compile(r"SECRET_KEY|SESSION|COOKIE|JWT|SIGNING|HMAC|CSRF|(^|_)APP_SECRET$")
PAIR = re.compile(r"PRIVATE_?KEY|(^|_)CERT(IFICATE)?(_|$)")
FILES = re.compile(
    r"(?i)(\.(key|pem|p12|pfx|jks|htpasswd|crt|cer)|(^|/)\.?(htpasswd|pgpass|id_(rsa|ed25519|ecdsa)|acme\.json)"
    r"|(secret|passw|credential|token)[^/]*\.(txt|json|ya?ml|conf)?)$"
)
URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^:/@\s]*):(?P<password>[^@/\s]+)@(?P<host>[^:/?#\s,]+)")
# What can be copied from a .env without a second look: numbers, versions, short words, paths and hosts.
HARMLESS = re.compile(
    r"|\d{1,9}|v?\d+([._-]\w{1,10}){0,5}|[a-z][a-z_-]{0,19}|[A-Z][A-Za-z]{0,15}/[A-Z][A-Za-z_]{0,20}|\.{0,2}/[\w./-]*"
    r"|(https?://)?[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20})+(:\d+)?(/[\w./-]{0,40})?|[a-z]+(/[a-z0-9-]+)*:[\w.-]{1,30}|[a-z]+:\d+"
)


@dataclass(frozen=True)
class Image:
    """What is known of an image: the server that it is, its uid, the directories it must be able to write, and whether
    a variable NAME_FILE names a file with the value (`files` is what is put behind the name).
    """

    kind: str = ""
    uid: int = 0
    tmpfs: tuple[str, ...] = ()
    files: str = ""
    passwords: tuple[str, ...] = ()


IMAGES = {
    "postgres": Image("postgres", 999, ("/var/run/postgresql", "/tmp"), "_FILE", ("POSTGRES_PASSWORD",)),  # noqa: S108
    "mysql": Image("mysql", 999, ("/var/run/mysqld", "/tmp"), "_FILE", ("MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD")),  # noqa: S108
    "mariadb": Image(
        "mysql",
        999,
        ("/run/mysqld", "/tmp"),  # noqa: S108
        "_FILE",
        ("MARIADB_ROOT_PASSWORD", "MARIADB_PASSWORD", "MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD"),
    ),
    "mongo": Image("mongodb", 999, ("/tmp",), "_FILE", ("MONGO_INITDB_ROOT_PASSWORD",)),  # noqa: S108
    "rabbitmq": Image("amqp", 999, (), "", ("RABBITMQ_DEFAULT_PASS",)),
    "redis": Image("redis", 999),
    "valkey": Image("redis", 999),
    "memcached": Image("", 11211),
    "wordpress": Image("", 0, (), "_FILE"),
    "nextcloud": Image("", 0, (), "_FILE"),
    "grafana": Image("", 472, (), "__FILE"),
}
SAME = {"postgis": "postgres", "timescaledb": "postgres", "timescaledb-ha": "postgres", "pgvector": "postgres"}
WORDS = {
    "postgres": re.compile(r"POSTGRES|PG|(^|_)(DB|DATABASE|SQL)(_|$)"),
    "mysql": re.compile(r"MYSQL|MARIADB|(^|_)(DB|DATABASE|SQL)(_|$)"),
    "redis": re.compile(r"REDIS|VALKEY"),
    "amqp": re.compile(r"RABBIT|AMQP"),
    "mongodb": re.compile(r"MONGO"),
}


def credential(variable: str) -> bool:
    name = variable.upper()
    return bool(CREDENTIAL.search(name)) and not ABOUT.search(name)


def harmless(variable: str, value: str) -> bool:
    """Whether a value that stands in a file of variables can be copied."""
    return bool(HARMLESS.fullmatch(value) or (OPEN.search(variable.upper()) and OPEN_VALUE.fullmatch(value)))


def concerns(server: Image, variable: str) -> bool:
    """Whether a variable of an env_file, which several services may share, is for this server."""
    return not server.passwords or bool(WORDS[server.kind].search(variable.upper()))


def image(reference: object) -> Image:
    """What is known of an image by the last word of its name; nothing is known of most."""
    name = str(reference or "").rpartition("/")[2].partition("@")[0]
    word, _, tag = name.partition(":")
    known = IMAGES.get(SAME.get(word, word), Image())
    if known.kind == "postgres" and "alpine" in tag:
        return Image(known.kind, 70, known.tmpfs, known.files, known.passwords)
    return known


def scheme(name: str) -> str:
    """The kind of server that a URL's scheme speaks to."""
    word = name.partition("+")[0]
    return {
        "postgresql": "postgres",
        "postgis": "postgres",
        "mariadb": "mysql",
        "rediss": "redis",
        "amqps": "amqp",
    }.get(word, word if word in WORDS else "")


def slug(text: str) -> str:
    """A name for the catalogue: a-z, 0-9 and -, a letter first."""
    word = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (word if word[:1].isalpha() else f"s-{word}")[:60].rstrip("-")

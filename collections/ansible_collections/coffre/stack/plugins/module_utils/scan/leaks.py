"""Finding values where they do not belong, in whatever usual encoding, without ever showing one.

Values go in, names and encodings come out. Stdlib only and no relative import: the leak search of the tests
runs this file on its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

# Shorter values occur by chance, and everywhere: they cannot be searched for.
SHORTEST = 12
WINDOW = 8
WORD = re.compile(rb"[\t -~\x80-\xff]{%d,}" % SHORTEST)
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+?)-----END \1-----")


class Hit(NamedTuple):
    """A value was found: the secret's name, the encoding it was found in, where it starts in the data."""

    secret: str
    encoding: str
    offset: int


def _base64(value: bytes, offset: int) -> bytes:
    """The characters that depend on value alone when it stands offset bytes into a group of three."""
    encoded = base64.b64encode(bytes(offset) + value)
    last = 0 if (offset + len(value)) % 3 == 0 else 4
    return encoded[(0, 2, 3)[offset] : len(encoded) - last]


def encodings(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Each way in which value may appear: (name of the encoding, its bytes); equal ones are repeated."""
    yield "raw", value
    for offset in range(3):
        plain = _base64(value, offset)
        yield "base64", plain
        yield "base64url", plain.translate(bytes.maketrans(b"+/", b"-_"))
    yield "hex", value.hex().encode()
    yield "hex", value.hex().upper().encode()
    yield "url", urllib.parse.quote_from_bytes(value, safe="").encode()
    yield "url", urllib.parse.quote_from_bytes(value, safe="").lower().encode()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        yield "json", json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def secret_parts(value: bytes) -> list[bytes]:
    """The parts of a value to search for: the whole, or of PEM the lines of its private keys.

    Certificates are public, and so is whatever of a key's lines they hold; its last line is short or public.
    """
    blocks = [(label, body.split()) for label, body in PEM.findall(value)]
    keys = [lines for label, lines in blocks if label.endswith(b"PRIVATE KEY")]
    if not keys:
        return [value.rstrip(b"\r\n")]
    public = b"".join(_decoded(b"".join(lines)) for label, lines in blocks if not label.endswith(b"PRIVATE KEY"))
    parts = [line for lines in keys for line in (lines[:-1] or lines)]
    return [part for part in parts if _decoded(part) not in public or not public]


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return text


def unsearchable(values: Mapping[str, bytes]) -> list[str]:
    """The names of the values that are too short to be searched for."""
    return sorted(name for name, value in values.items() if min(map(len, secret_parts(value)), default=0) < SHORTEST)


class Finder:
    """All values in all encodings as one regular expression, fast enough for a disk (100 to 300 MB/s).

    Each needle is looked for by a window of eight bytes, chosen so that few different bytes, and rare ones,
    begin all the windows: the expression's scan then skips nearly all positions. A window that matches is
    compared with the whole needle.
    """

    def __init__(self, parts: Iterable[tuple[str, bytes]]) -> None:
        """Take pairs of a secret's name and a part of its value; raises ValueError for a part that is too short."""
        needles: dict[bytes, tuple[str, str]] = {}
        for name, part in parts:
            if len(part) < SHORTEST:
                raise ValueError(f"{name} is shorter than {SHORTEST} bytes and cannot be searched for")
            for encoding, needle in encodings(part):
                needles.setdefault(needle, (name, encoding))
        self.longest = max(map(len, needles), default=1)
        self._windows: dict[bytes, list[tuple[int, bytes, str, str]]] = {}
        for first, needle in _anchored(needles):
            at = needle.index(first, 0, len(needle) - WINDOW + 1)
            entry = (at, needle, *needles[needle])
            self._windows.setdefault(needle[at : at + WINDOW], []).append(entry)
        groups: dict[bytes, list[bytes]] = {}
        for window in self._windows:
            groups.setdefault(window[:1], []).append(re.escape(window[1:]))
        self._expression = re.compile(
            b"|".join(re.escape(first) + b"(?=" + b"|".join(rest) + b")" for first, rest in groups.items()) or b"(?!)",
            re.DOTALL,
        )

    def find(self, data: bytes) -> Iterator[Hit]:
        """Each place in data where a value stands, in order of its window."""
        for match in self._expression.finditer(data):
            start = match.start()
            for at, needle, name, encoding in self._windows[data[start : start + WINDOW]]:
                if start >= at and data.startswith(needle, start - at):
                    yield Hit(name, encoding, start - at)

    def names(self, data: bytes) -> list[str]:
        """The secrets whose values stand in data."""
        return sorted({hit.secret for hit in self.find(data)})


def words(data: bytes) -> list[bytes]:
    """The runs of text in data that are long enough to hold a value; blanks are text, line ends are not."""
    return WORD.findall(data)


class ValueFinder:
    """Finds values, but those that are too short, also in what was cut into lines or `words`.

    A value of several words is there if it stands there whole, in some encoding, or if each of its words does.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        short = set(unsearchable(values))
        parts = [(name, part) for name, value in values.items() if name not in short for part in secret_parts(value)]
        known = {part: name for name, part in parts}
        self._cut: dict[str, set[str]] = {}  # by secret of several words or none, what each is known by
        for name, whole in parts:
            cut = words(whole)
            if cut != [whole] and not PEM.search(values[name]):
                self._cut[name] = {known.setdefault(word, f"\0{len(known)}") for word in cut}
        self._finder = Finder((name, part) for part, name in known.items())

    @property
    def without_words(self) -> list[str]:
        """The values that cannot be found in words, but for their encodings."""
        return sorted(name for name, cut in self._cut.items() if not cut)

    def names(self, *data: bytes) -> list[str]:
        """The secrets whose values stand in data."""
        return self.names_in(data)

    def names_in(self, blocks: Iterable[bytes]) -> list[str]:
        """The secrets whose values stand in blocks, none of which ends in a line's middle."""
        seen = {name for block in blocks for name in self._finder.names(block)}
        whole = {name for name in seen if not name.startswith("\0")}
        return sorted(whole | {name for name, cut in self._cut.items() if cut and cut <= seen})


def _anchored(needles: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Pair each needle with a byte it can be anchored at, taking few and rare bytes in all (a greedy cover)."""
    holders: dict[int, set[bytes]] = {}
    for needle in needles:
        for byte in needle[: len(needle) - WINDOW + 1]:
            holders.setdefault(byte, set()).add(needle)
    left = set(needles)
    while left:
        best = max(holders, key=lambda byte: (len(holders[byte] & left) / _frequency(byte), byte))
        for needle in sorted(holders[best] & left):
            yield bytes([best]), needle
        left -= holders[best]


def _frequency(byte: int) -> int:
    """How common a byte is on a disk, roughly: text, code and compressed data together."""
    if byte in b"\0\xff etaoinsr0":
        return 12
    return 4 if byte in b"\n" or 97 <= byte <= 122 else 1

"""Blanks loaded secrets out of text or bytes. Compares with their values; never guesses by the look of a text."""

import re
from collections.abc import Iterable

BLANK = "[redacted]"
# A shorter "secret" would blank ordinary words, and is too short to protect anything.
MIN_LENGTH = 6
# What makes a second look worth while: most frames of a stream have none of these, but line ends as `\n`.
_MAY_ESCAPE = re.compile(rb'\\[u/"\\]|%[0-9A-Fa-f]')


class Redactor:
    """Replaces each known secret, also where JSON or a URL has escaped any of its characters.

    `add` may be called at any time: credentials come and go with reloads, and a secret once
    known stays known for the life of the process.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[bytes] = []
        self._escaped: re.Pattern[bytes] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add `secrets`. Longer ones are replaced first: a secret inside another would leave the rest of that one."""
        forms = set(self._secrets)
        forms.update(secret.encode("utf-8", "replace") for secret in secrets if len(secret) >= MIN_LENGTH)
        self._secrets = sorted(forms, key=lambda form: (-len(form), form))
        self._escaped = None

    def clean(self, data: bytes) -> bytes:
        """Return `data` with every known secret replaced by `[redacted]`."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, BLANK.encode())
        if self._secrets and (b"\\" in data or b"%" in data) and _MAY_ESCAPE.search(data):
            if self._escaped is None:
                self._escaped = re.compile(b"|".join(map(_spellings, self._secrets)))
            data = self._escaped.sub(BLANK.encode(), data)
        return data


def _spellings(secret: bytes) -> bytes:
    """Return a pattern of a secret in which each character may also be escaped, as in JSON or in a URL."""
    found = []
    for letter in secret.decode("utf-8", "replace"):
        plain = re.escape(letter.encode())
        units = letter.encode("utf-16-be")
        escaped = b"".join(rb"\\u(?i:%04x)" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
        percent = b"".join(b"%%(?i:%02x)" % byte for byte in letter.encode())
        found.append(b"(?:" + b"|".join((plain, rb"\\" + plain, escaped, percent)) + b")")
    return b"".join(found)

"""Blanks loaded secrets out of text or bytes. Compares with their values; never guesses by the look of a text."""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence, Set

from attrs import define, field

BLANK = b"[redacted]"
# A shorter "secret" would blank ordinary words, and is too short to protect anything.
MIN_LENGTH = 6
MAX_PASSING = 4  # tokens of one credentials file: the last one may still be in use, and those before it in a reply
# Letters of a secret's base64 that do not depend on what stands beside it; with fewer of them, ordinary words match.
MIN_BASE64 = 10
# What makes a second look worth while: most frames of a stream have none of these, but line ends as `\n`.
_MAY_ESCAPE = re.compile(rb'\\[u/"\\]|%[0-9A-Fa-f]')


@define
class _Known:
    """What is looked for, replaced as a whole: the log's thread may look while secrets are added."""

    secrets: Sequence[bytes] = ()  # as they are, longer ones first
    encoded: Sequence[bytes] = ()  # in base64
    _escaped: re.Pattern[bytes] | None = field(default=None, init=False)

    @property
    def escaped(self) -> re.Pattern[bytes]:
        """Any secret with any of its characters escaped; made when it is first needed."""
        if self._escaped is None:
            self._escaped = re.compile(b"|".join(map(_spellings, self.secrets)))
        return self._escaped


class Redactor:
    """Replaces each known secret, also where JSON or a URL has escaped any of its characters.

    With `deep`, also inside base64, where a secret may be a part of what was encoded, as in `Authorization: Basic`.
    `add` may be called at any time: credentials come and go with reloads, and a secret once known stays known for the
    life of the process.
    """

    def __init__(self, secrets: Iterable[str] = (), *, deep: bool = False) -> None:
        self._deep = deep
        self._passing: dict[str, list[str]] = {}
        self._known = _Known()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add `secrets`. Longer ones are replaced first: a secret inside another would leave the rest of that one."""
        forms = set(self._known.secrets)
        forms.update(secret.encode("utf-8", "replace") for secret in secrets if len(secret) >= MIN_LENGTH)
        if len(forms) == len(self._known.secrets):
            return
        self._known = self._make(forms)

    def _make(self, forms: Set[bytes]) -> _Known:
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        encoded = [form for secret in ordered for form in _base64_of(secret)] if self._deep else []
        return _Known(ordered, encoded)

    def add_passing(self, place: str, secret: str) -> None:
        """Add a secret that others follow at the same place, such as a token: the last few of them are known."""
        passing = self._passing.setdefault(place, [])
        if secret in passing:
            return
        passing.append(secret)
        gone = {one.encode("utf-8", "replace") for one in passing[:-MAX_PASSING]}
        del passing[:-MAX_PASSING]
        self._known = self._make(set(self._known.secrets) - gone)
        self.add([secret])

    def clean(self, data: bytes) -> bytes:
        """Return `data` with every known secret replaced by `[redacted]`."""
        known = self._known
        for secret in known.secrets:
            if secret in data:
                data = data.replace(secret, BLANK)
        for form in known.encoded:
            if form in data:
                data = data.replace(form, BLANK)
        if known.secrets and (b"\\" in data or b"%" in data) and _MAY_ESCAPE.search(data):
            data = known.escaped.sub(BLANK, data)
        return data

    def clean_lines(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """Yield `lines` without secrets; none of which has a line end inside, so that most are looked at in one go."""
        joined = b"\n".join(lines)
        if _MAY_ESCAPE.search(joined):  # the slow look, and only at the lines that need it
            yield from map(self.clean, lines)
        else:
            yield self.clean(joined)


def _base64_of(secret: bytes) -> Iterator[bytes]:
    """Yield how a secret looks inside base64 (both alphabets), whatever stands before and behind it."""
    for before in range(3):
        # Letters that also hold bits of a neighbour are left out: at the front, and behind the last whole triple.
        text = base64.b64encode(bytes(before) + secret)
        inner = text[(0, 2, 3)[before] : (before + len(secret)) // 3 * 4]
        if len(inner) >= MIN_BASE64:
            yield inner
            if (other := inner.translate(_URL_SAFE)) != inner:
                yield other


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


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

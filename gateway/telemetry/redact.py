"""Blanks loaded secrets out of text or bytes. Compares with their values; never guesses by the look of a text."""

from collections.abc import Iterable

import msgspec

BLANK = "[redacted]"
# A shorter "secret" would blank ordinary words, and is too short to protect anything.
MIN_LENGTH = 6


class Redactor:
    """Replaces each known secret, also where JSON has escaped it.

    `add` may be called at any time: credentials come and go with reloads, and a secret once
    known stays known for the life of the process.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[bytes] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add `secrets`. Longer ones are replaced first: a secret inside another would leave the rest of that one."""
        forms = set(self._secrets)
        for secret in secrets:
            if len(secret) >= MIN_LENGTH:
                raw = secret.encode("utf-8", "replace")
                forms.update((raw, msgspec.json.encode(raw.decode())[1:-1]))
        self._secrets = sorted(forms, key=lambda form: (-len(form), form))

    def clean(self, data: bytes) -> bytes:
        """Return `data` with every known secret replaced by `[redacted]`."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, BLANK.encode())
        return data

"""What the shape of providers.yaml is written with: the units of its values, and what is noted of each field."""

from typing import Any, Literal, NewType

from attrs import field, frozen

Seconds = NewType("Seconds", float)
Size = NewType("Size", int)
Share = NewType("Share", float)
StoreUrl = NewType("StoreUrl", str)
MISSING = "missing:"  # begins a base URL that was looked for and not found
BUILTIN = "builtin:mock"  # the base URL of the mock inside the daemon
ORIGIN = "{origin}"  # begins a path of `speaks` that is not below the base URL, but elsewhere at its host
ANONYMOUS = "anonymous"  # the owner of responses stored for clients without a key
# Fields of wire.profile.Profile by name: only those that the file sets.
ModelSettings = NewType("ModelSettings", dict[str, Any])
MIB = 1024 * 1024


def doc(text: str, **more: Any) -> dict[str, Any]:
    """Make field metadata with the sentence for docs/reference.md."""
    return {"doc": text, **more}


def unbuilt(text: str) -> dict[str, Any]:
    """Mark a key whose behaviour is not built yet: a file that sets it is refused, so that nobody relies on it."""
    return {"doc": text, "unbuilt": True}


INTERNAL = {"internal": True}  # filled by `load`, not a key of the file


@frozen
class Secret:
    """A secret: `origin` is where the file says it is (`env NAME`), `value` what was found there, None when nothing."""

    origin: str
    value: str | None = field(default=None, repr=False)


@frozen
class KeySecret:
    """One secret of a client key: its SHA-256 as 32 bytes.

    `text` is None when the file gives the hash; else it is the secret itself, so that logs can blank it.
    """

    origin: str
    digest: bytes = field(repr=False)
    text: str | None = field(default=None, repr=False)


HeaderValue = str | Secret
Workers = int | Literal["auto"]

"""Makes tool names and ids safe for a dialect that would refuse them, and finds the originals again.

All results depend on the input alone, so that the same conversation gives the same bytes and hits prompt caches.
"""

import hashlib
import re
from collections.abc import Iterable

from attrs import define, field, frozen

_BAD = re.compile(r"[^A-Za-z0-9_-]")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LONGEST = 64  # characters of a name or an id, where a provider's bound is not known better
SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@frozen
class Named:
    """A tool as its client names it. `kind` is the kind of its calls."""

    name: str
    namespace: str | None = None
    kind: str = "function"

    @property
    def qualified(self) -> str:
        """The namespace and the name in one, for dialects without namespaces."""
        return f"{self.namespace}__{self.name}" if self.namespace else self.name


@define
class ToolNames:
    """A bijection between the client's names of tools and the names sent upstream, of at most `longest` characters."""

    longest: int = LONGEST
    _to: dict[tuple[str, str | None], str] = field(factory=dict, init=False)
    _back: dict[str, Named] = field(factory=dict, init=False)
    _next: dict[str, int] = field(factory=dict, init=False)  # the suffix to try next for a tidied name

    def reserve(self, name: str) -> None:
        """Keep a name for a tool that the provider runs, so that no function is sent under it."""
        self._back.setdefault(name, Named(name))

    def learn(self, tools: Iterable[Named]) -> None:
        """Give each tool a safe name. Names that are safe already are kept, and therefore assigned first."""
        fresh = [tool for tool in dict.fromkeys(tools) if (tool.name, tool.namespace) not in self._to]
        for tool in fresh:
            if self._is_safe(tool.qualified) and tool.qualified not in self._back:
                self._put(tool, tool.qualified)
        for tool in fresh:
            if (tool.name, tool.namespace) not in self._to:
                self._put(tool, self._free(self._tidy(tool.qualified)))

    def safe(self, name: str, namespace: str | None = None) -> str:
        """Return the name to send."""
        if (name, namespace) not in self._to:
            self.learn([Named(name, namespace)])
        return self._to[name, namespace]

    def is_known(self, safe: str) -> bool:
        """Whether a tool was sent under this name."""
        return safe in self._back

    def original(self, safe: str) -> Named:
        """Return the client's tool for a name in a reply; a name that was never sent is returned unchanged."""
        return self._back.get(safe) or Named(safe)

    def _is_safe(self, name: str) -> bool:
        return 0 < len(name) <= self.longest and _BAD.search(name) is None

    def _tidy(self, name: str) -> str:
        tidy = _BAD.sub("_", name) or "tool"
        if len(tidy) <= self.longest:
            return tidy
        return f"{tidy[: self.longest - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    def _free(self, name: str) -> str:
        number, found = self._next.get(name, 2), name
        while found in self._back:
            suffix = f"_{number}"
            found = name[: self.longest - len(suffix)] + suffix
            number += 1
        self._next[name] = number
        return found

    def _put(self, tool: Named, safe: str) -> None:
        self._to[tool.name, tool.namespace] = safe
        self._back[safe] = tool


def safe_id(text: str, longest: int = LONGEST) -> str:
    """Return a tool call's id that Anthropic and OpenAI accept; the same text gives the same id."""
    if len(text) <= longest and SAFE_ID.fullmatch(text):
        return text
    return _with_digest(_BAD.sub("_", text), text, longest)


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return a text of at most `longest` characters; one that is cut ends in a digest, so that it stays distinct."""
    return text if len(text) <= longest else _with_digest(text, text, longest)


def _with_digest(head: str, text: str, longest: int) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return f"{head[: longest - 17]}_{digest}"


def nine(text: str) -> str:
    """Return a tool call's id as Mistral requires it: nine letters and digits."""
    if len(text) == 9 and text.isascii() and text.isalnum():
        return text
    return _base62(text, 9)


def mint(prefix: str, *parts: object) -> str:
    """Make an id: the prefix, and 24 letters and digits that depend on the parts alone."""
    return prefix + _base62("\0".join(map(str, parts)), 24)


def _base62(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    out = ""
    for _ in range(length):
        number, index = divmod(number, 62)
        out += _ALPHABET[index]
    return out

"""Arguments of tool calls: JSON text in OpenAI's dialects, an object in Anthropic's, raw text for a freeform tool.

If the model's text is a JSON object, it is kept character for character, so that large numbers and the order
of members survive (docs/wire/tools.md#calls-in-history, docs/wire/tools.md#freeform-tools).

A freeform (`custom`) tool takes raw text, such as a patch, which only some upstreams support. For the others
the gateway offers a function with one string parameter, `input`, and describes the grammar in words. In the
reply it takes the raw text out of `{"input": "..."}` again, while the text is streamed; out of other forms at the end.
"""

import re
from typing import Any

import msgspec
from attrs import define, field

from gateway.wire.codec.json_prefix import JsonPrefix, is_half, is_object, wrapped
from gateway.wire.codec.odd_json import repaired
from gateway.wire.neutral import Tool
from gateway.wire.translation.memo import Drops

_EMPTY = msgspec.Raw(b"{}")
# Members in which models put the text of a freeform tool, the likeliest first, and objects around it that are opened.
_NAMES = ("input", "patch", "diff", "code", "text", "content", "raw")
_MAX_NESTED = 3
_NOTHING = "{}"
_TWO_OBJECTS = re.compile(r"\}\s*\{")
MAX_REPEATS = 8  # of a call's whole arguments; servers send them twice
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _StandIn(msgspec.Struct, forbid_unknown_fields=True):
    input: str


def as_object(text: str, drops: Drops) -> msgspec.Raw:
    """Return arguments as a JSON object: wrapped, and noted as a loss, if they are not one. Never raises."""
    if not text.strip():
        return _EMPTY
    if is_object(text):
        return msgspec.Raw(text.encode())
    if is_object(mended := repaired(text.encode()).decode()):  # half of a surrogate pair in it, or NaN
        return msgspec.Raw(mended.encode())
    drops.add("arguments")
    return msgspec.Raw(wrapped(text).encode())


def describe_freeform(tool: Tool) -> str:
    """Write the description of the function that stands in for a freeform tool."""
    payload = f"{tool.description or ''}\n\nPass the complete raw text in `input`.".lstrip()
    if tool.grammar and isinstance(definition := tool.grammar.get("definition"), str):
        syntax = tool.grammar.get("syntax") or ""
        payload += f" It must match this grammar:\n\n```{syntax}\n{definition}\n```"
    return payload


FREEFORM_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def wrap_freeform(text: str) -> msgspec.Raw:
    """Write the raw text of a freeform call as the arguments of the stand-in function."""
    return msgspec.Raw(msgspec.json.encode({"input": text}))


@define
class ArgumentsOnce:
    """Takes the arguments of a streamed call, and leaves out what only repeats them.

    Some servers send the whole object once more when its pieces have come. So what follows a complete object is held
    until the call ends, and dropped if it says the same. Only text that looks like two objects side by side is
    examined: `_unread` has not gone through `_prefix` yet, and in most calls never does. Others send `{}` before the
    pieces, so that an empty object is held until it is clear that nothing follows.
    """

    _told: list[str] = field(factory=list, init=False)
    _unread: list[str] = field(factory=list, init=False)
    _prefix: JsonPrefix = field(factory=JsonPrefix, init=False)
    _is_bad: bool = field(default=False, init=False)  # what was told is not the beginning of an object
    _last: str = field(default="", init=False)  # the last character that is no white space
    _more: list[str] = field(factory=list, init=False)  # what came behind the object
    _empty: str = field(default="", init=False)  # an empty object, so far the only thing that came

    @property
    def is_half(self) -> bool:
        """Whether what was told is an object that stops in the middle."""
        return is_half("".join(self._told))

    @property
    def is_complete(self) -> bool:
        """Whether what was told is a complete object."""
        return bool(self._empty) or (self._last == "}" and self._read("") == 0 and self._prefix.is_complete)

    def feed(self, text: str) -> str:
        """Take a fragment, return what may be told of it."""
        if self._more:
            self._more.append(text)
            return ""
        if not self._told and (text.strip() == _NOTHING or (self._empty and not text.strip())):
            self._empty = _NOTHING
            return ""
        if self._empty:
            text = text if text.lstrip()[:1] == "{" else self._empty + text
            self._empty = ""
        if (self._last == "}" and text.lstrip()[:1] == "{") or _TWO_OBJECTS.search(text) is not None:
            good = self._read(text)
            if good < len(text) and self._prefix.is_complete:
                self._more.append(text[good:])
                text = text[:good]
        else:
            self._unread.append(text)
        self._told.append(text)
        self._last = (text.rstrip() or self._last)[-1:]
        return text

    def end(self) -> str:
        """Return what came behind the object, unless it repeats it."""
        more, self._more = "".join(self._more).strip(), []
        if self._empty:
            self._told.append(self._empty)
            self._empty = ""
            return _NOTHING
        return "" if self.repeats(more) else more

    def repeats(self, text: str) -> bool:
        """Return whether a text is the object that was told, up to MAX_REPEATS times; the last may be cut off."""
        whole = "".join(self._told).strip() or self._empty
        try:
            wanted = msgspec.json.decode(whole)
            for _ in range(MAX_REPEATS):
                if whole.startswith(text):
                    return True
                prefix = JsonPrefix()
                end = prefix.feed(text)
                if not prefix.is_complete or msgspec.json.decode(text[:end]) != wanted:
                    return False
                text = text[end:]
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False
        return not text

    def _read(self, text: str) -> int:
        """Feed the automaton all that it has not read, then `text`; return how much of that continues the object."""
        for piece in self._unread:
            self._is_bad = self._is_bad or self._prefix.feed(piece) < len(piece)
        self._unread.clear()
        if self._is_bad:
            return len(text)
        good = self._prefix.feed(text)
        self._is_bad = good < len(text) and not self._prefix.is_complete
        return good


# What `{"input":"` consists of; white space may stand before each part.
_BEGINNING = ("{", '"input"', ":", '"')
_SPACE = " \t\r\n"
# Of a JSON string: all that is whole. The first half of a surrogate pair is whole only if what follows is known.
_WHOLE = re.compile(
    r'(?:[^"\\]++|\\[^u]|\\u(?![dD][89abAB]).{4}|\\u[dD][89abAB].{2}(?=[^\\]|\\[^u]|\\u.{4}))*+', re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u(.{4})|(.))", re.DOTALL)
_CODE = re.compile(r"[0-9a-fA-F]{4}")


@define
class FreeformDecoder:
    """Takes the raw text out of streamed `{"input": "…"}`, and undoes its JSON escapes.

    The states: `before` waits for `{"input":"` (white space may stand between), `text` copies the string, `after`
    ignores what follows it. `other` holds back arguments of another form, whose text `end` looks for. Each fragment is
    read once; of the string only an escape that is cut between fragments waits for its rest.
    """

    _raw: list[str] = field(factory=list, init=False)  # while the form is not certain
    _state: str = field(default="before", init=False)  # before, text, after, other
    _awaited: tuple[str, ...] = field(default=_BEGINNING, init=False)
    _rest: str = field(default="", init=False)  # a part of the beginning, or an escape, that is cut

    def feed(self, text: str) -> str:
        """Take a fragment of the arguments, return the raw text that is certain."""
        if self._state in ("before", "other"):
            self._raw.append(text)
        if self._state == "before":
            text = self._find_beginning(text)
        return self._decode(text) if self._state == "text" else ""

    def end(self) -> str:
        """Return the raw text of arguments that were held back, or what a cut escape still says; empty if nothing."""
        if self._state in ("before", "other"):
            return text_inside("".join(self._raw))
        return "\ufffd" if self._state == "text" and len(self._rest) >= 6 else ""

    def _find_beginning(self, text: str) -> str:
        """Return what follows the beginning in `text`; nothing as long as it is not complete."""
        text = self._rest + text
        while self._awaited:
            text = text.lstrip(_SPACE)
            part = self._awaited[0]
            if not text.startswith(part):
                if not part.startswith(text):
                    self._state = "other"
                self._rest = text
                return ""
            text, self._awaited = text[len(part) :], self._awaited[1:]
        self._state, self._rest = "text", ""
        self._raw.clear()
        return text

    def _decode(self, text: str) -> str:
        text = self._rest + text
        found = _WHOLE.match(text)
        assert found is not None
        self._rest = text[found.end() :]
        if self._rest.startswith('"'):
            self._state, self._rest = "after", ""
        return _ESCAPE.sub(_unescaped, found[0])


def _unescaped(found: re.Match[str]) -> str:
    high, low, code, letter = found.groups()
    if letter is not None:
        return _ESCAPES.get(letter, letter)
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
    number = int(code, 16) if _CODE.fullmatch(code) else 0xD800
    return "\ufffd" if 0xD800 <= number < 0xE000 else chr(number)


def text_inside(arguments: str) -> str:
    """Return the raw text in arguments of any form: a string, or the string in an object; else all of the arguments.

    Models that know the tool in another shape write `{"patch": "…"}`, or the text as a bare JSON string. In an object
    `input` counts, then the names of `_NAMES`, then the only member there is.
    """
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return arguments
    if isinstance(given, str):
        return _wrapped_again(given)
    found = _string_in(given)
    return arguments if found is None else found


def _wrapped_again(text: str) -> str:
    """Return the text inside, if a string is the whole stand-in's arguments, written as JSON twice."""
    try:
        return msgspec.json.decode(text, type=_StandIn).input
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text


def _string_in(given: Any) -> str | None:
    for _ in range(_MAX_NESTED):
        if not isinstance(given, dict):
            return None
        named = next((name for name in _NAMES if isinstance(given.get(name), str)), None)
        if named is None and len(given) != 1:
            return None
        given = given[named] if named is not None else next(iter(given.values()))
        if isinstance(given, str):
            return given
    return None

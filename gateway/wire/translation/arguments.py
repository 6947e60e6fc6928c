"""Arguments of tool calls: text in OpenAI's dialects, an object in Anthropic's; and tools without arguments' form.

The text of the model is kept as it was wherever it is a JSON object, so that large numbers and the order of
members survive (TRANSLATION.md 5.2 and 5.4).
"""

from collections.abc import Iterator

import msgspec
from attrs import define, field

from gateway.wire.codec.json_prefix import is_object, wrapped
from gateway.wire.neutral import Tool
from gateway.wire.translation.memo import Drops

_EMPTY = msgspec.Raw(b"{}")
_MAX_BEGINNING = 200  # deltas before `{"input":"` is there
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def as_object(text: str, drops: Drops) -> msgspec.Raw:
    """The arguments as a JSON object, whatever the model wrote; never raises."""
    if not text.strip():
        return _EMPTY
    if is_object(text):
        return msgspec.Raw(text.encode())
    drops.add("arguments")
    return msgspec.Raw(wrapped(text).encode())


def describe_freeform(tool: Tool) -> str:
    """The description of a freeform tool that has to be offered as a function."""
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
    """The raw text of a freeform call as arguments of its stand-in function."""
    return msgspec.Raw(msgspec.json.encode({"input": text}))


@define
class FreeformDecoder:
    """Takes the raw text out of `{"input": "…"}` while it comes.

    What has another form is held back and told as it is in the end.
    """

    _raw: list[str] = field(factory=list, init=False)
    _state: str = field(default="before", init=False)  # before, text, escape, unicode, after, other
    _code: str = field(default="", init=False)
    _high: int = field(default=0, init=False)  # the first half of a surrogate pair

    def feed(self, text: str) -> str:
        """Take more arguments, return more raw text."""
        self._raw.append(text)
        if self._state == "before":
            text = self._find_beginning()
        if self._state in ("before", "other", "after"):
            return ""
        return "".join(self._decode(text))

    def end(self) -> str:
        """Return what was held back."""
        whole = "".join(self._raw)
        if self._state in ("before", "other"):
            try:
                given = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
                return msgspec.json.decode(given["input"], type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
                return whole
        return ""

    def _find_beginning(self) -> str:
        whole = "".join(self._raw)
        if len(self._raw) > _MAX_BEGINNING:
            self._state = "other"
            return ""
        tidy = "".join(whole.split())
        if not '{"input":"'.startswith(tidy[:10]):
            self._state = "other"
        elif len(tidy) >= 10:
            self._state = "text"
            return whole.split('"', 3)[3]
        return ""

    def _decode(self, text: str) -> Iterator[str]:
        start = 0
        for index, letter in enumerate(text):
            match self._state:
                case "text" if letter in '"\\':
                    yield text[start:index]
                    self._state = "escape" if letter == "\\" else "after"
                case "escape" if letter == "u":
                    self._state, self._code = "unicode", ""
                case "escape":
                    yield _ESCAPES.get(letter, letter)
                    self._state, start = "text", index + 1
                case "unicode":
                    self._code += letter
                    if len(self._code) == 4:
                        yield self._character()
                        self._state, start = "text", index + 1
                case "after":
                    return
        if self._state == "text":
            yield text[start:]

    def _character(self) -> str:
        if not all(letter in "0123456789abcdefABCDEF" for letter in self._code):
            return "\ufffd"
        code = int(self._code, 16)
        if 0xD800 <= code < 0xDC00:
            self._high = code
            return ""
        if 0xDC00 <= code < 0xE000:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)) if high else "\ufffd"
        return chr(code)

"""Arguments of tool calls: JSON text in OpenAI's dialects, an object in Anthropic's, raw text for a freeform tool.

If the model's text is a JSON object, it is kept character for character, so that large numbers and the order
of members survive (docs/wire/tools.md#calls-in-history, docs/wire/tools.md#freeform-tools).

A freeform (`custom`) tool takes raw text, such as a patch, which only some upstreams support. For the others
the gateway offers a function with one string parameter, `input`, and describes the grammar in words. In the
reply it takes the raw text out of `{"input": "..."}` again, while the text is streamed.
"""

from collections.abc import Iterator

import msgspec
from attrs import define, field

from gateway.wire.codec.json_prefix import is_object, wrapped
from gateway.wire.neutral import Tool
from gateway.wire.translation.memo import Drops

_EMPTY = msgspec.Raw(b"{}")
_MAX_BEGINNING = 200  # deltas that may come before `{"input":"` is complete
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def as_object(text: str, drops: Drops) -> msgspec.Raw:
    """Return arguments as a JSON object: wrapped, and noted as a loss, if they are not one. Never raises."""
    if not text.strip():
        return _EMPTY
    if is_object(text):
        return msgspec.Raw(text.encode())
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
class FreeformDecoder:
    """Takes the raw text out of streamed `{"input": "…"}`, and undoes its JSON escapes.

    The states: `before` waits for `{"input":"` (white space may stand between), `text` copies the string, `escape`
    and `unicode` are inside an escape of it, which may be cut between deltas. `after` ignores what follows the
    string. `other` holds back arguments of another form; `end` looks for `input` in them, and otherwise returns
    them unchanged. The two escapes of a surrogate pair become one character.
    """

    _raw: list[str] = field(factory=list, init=False)
    _state: str = field(default="before", init=False)  # before, text, escape, unicode, after, other
    _code: str = field(default="", init=False)
    _high: int = field(default=0, init=False)  # the first half of a surrogate pair

    def feed(self, text: str) -> str:
        """Take a fragment of the arguments, return the raw text that is certain."""
        self._raw.append(text)
        if self._state == "before":
            text = self._find_beginning()
        if self._state in ("before", "other", "after"):
            return ""
        return "".join(self._decode(text))

    def end(self) -> str:
        """Return the raw text of arguments that were held back; empty if none were."""
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

"""Follows a JSON object while it comes: whether it is complete, where it goes wrong, how to close it.

Arguments of tool calls are streamed as text. Sequential dialects have to know when one is complete, and
Anthropic's SDKs raise when what was streamed is no JSON object in the end (TRANSLATION.md 7.5).
"""

from enum import Enum

import msgspec

_SPACE = " \t\r\n"
_DIGITS = "0123456789"
_HEX = "0123456789abcdefABCDEF"
_ESCAPES = '"\\/bfnrt'
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}


class _At(Enum):
    """What may come next."""

    VALUE = "value"
    FIRST_ITEM = "first item or ]"
    FIRST_KEY = "first key or }"
    KEY = "key"
    COLON = "colon"
    AFTER = "comma or end"
    STRING = "inside a string"
    ESCAPE = "behind a backslash"
    HEX = "hexadecimal digits"
    MINUS = "digit behind a minus"
    ZERO = "behind a leading zero"
    INTEGER = "inside an integer"
    POINT = "digit behind a point"
    FRACTION = "inside a fraction"
    EXPONENT = "sign or digit of an exponent"
    EXPONENT_SIGN = "digit behind an exponent's sign"
    EXPONENT_DIGITS = "inside an exponent"
    LITERAL = "inside true, false or null"
    DONE = "nothing"


_NUMBERS_END = frozenset({_At.ZERO, _At.INTEGER, _At.FRACTION, _At.EXPONENT_DIGITS})
# What completes a value that was cut at this place; what is open around it is closed afterwards.
_COMPLETIONS = {
    _At.VALUE: "null",
    _At.KEY: '"":null',
    _At.COLON: ":null",
    _At.MINUS: "0",
    _At.POINT: "0",
    _At.EXPONENT: "0",
    _At.EXPONENT_SIGN: "0",
}


class JsonPrefix:
    """An automaton over the characters of one JSON object."""

    def __init__(self) -> None:
        self._at = _At.VALUE
        self._open: list[str] = []  # the closing brackets that are still to come
        self._is_key = False
        self._left = ""  # of a literal; or as many hexadecimal digits

    @property
    def is_complete(self) -> bool:
        """Whether the object has been closed."""
        return self._at is _At.DONE

    @property
    def is_empty(self) -> bool:
        """Whether nothing but white space has come."""
        return self._at is _At.VALUE and not self._open

    def feed(self, text: str) -> int:
        """Take characters; return how many of them can begin a JSON object."""
        for index, letter in enumerate(text):
            if self._at is _At.STRING and letter not in '"\\' and letter >= " ":
                continue
            if not self._step(letter):
                return index
        return len(text)

    def closing(self) -> str:
        """The shortest text that makes a JSON object of what was taken so far."""
        out = ""
        match self._at:
            case _At.STRING:
                out = '":null' if self._is_key else '"'
            case _At.ESCAPE:
                out = '\\":null' if self._is_key else '\\"'
            case _At.HEX:
                out = self._left + ('":null' if self._is_key else '"')
            case _At.LITERAL:
                out = self._left
            case _ if self.is_empty:
                return "{}"
            case at:
                out = _COMPLETIONS.get(at, "")
        return out + "".join(reversed(self._open))

    def _step(self, letter: str) -> bool:
        if self._at in _NUMBERS_END and letter not in "0123456789.eE":
            self._at = _At.AFTER
        match self._at:
            case _At.STRING:
                return self._in_string(letter)
            case _At.ESCAPE:
                return self._escape(letter)
            case _At.HEX:
                self._left = self._left[1:]
                self._at = _At.HEX if self._left else _At.STRING
                return letter in _HEX
            case _At.LITERAL:
                expected, self._left = self._left[0], self._left[1:]
                self._at = _At.LITERAL if self._left else _At.AFTER
                return letter == expected
        if self._at in _NUMBER_STEPS:
            return self._number(letter)
        if letter in _SPACE:
            return True
        return self._structure(letter)

    def _in_string(self, letter: str) -> bool:
        if letter == "\\":
            self._at = _At.ESCAPE
        elif letter == '"':
            self._at = _At.COLON if self._is_key else _At.AFTER
        else:
            return False  # a control character
        return True

    def _escape(self, letter: str) -> bool:
        if letter == "u":
            self._at, self._left = _At.HEX, "0000"
            return True
        self._at = _At.STRING
        return letter in _ESCAPES

    def _number(self, letter: str) -> bool:
        for letters, following in _NUMBER_STEPS[self._at]:
            if letter in letters:
                self._at = following
                return True
        return False

    def _structure(self, letter: str) -> bool:
        match self._at:
            case _At.FIRST_KEY | _At.KEY if letter == '"':
                self._at, self._is_key = _At.STRING, True
                return True
            case _At.COLON if letter == ":":
                self._at, self._is_key = _At.VALUE, False
                return True
            case _At.AFTER if letter == ",":
                self._at = _At.KEY if self._open[-1] == "}" else _At.VALUE
                return True
            case _At.AFTER | _At.FIRST_KEY | _At.FIRST_ITEM if self._open and letter == self._open[-1]:
                self._open.pop()
                self._at = _At.AFTER if self._open else _At.DONE
                return True
            case _At.VALUE | _At.FIRST_ITEM:
                return self._begin_value(letter)
            case _:
                return False

    def _begin_value(self, letter: str) -> bool:
        if not self._open and letter != "{":
            return False  # only an object is wanted
        if letter == "{":
            self._open.append("}")
            self._at = _At.FIRST_KEY
        elif letter == "[":
            self._open.append("]")
            self._at = _At.FIRST_ITEM
        elif letter == '"':
            self._at, self._is_key = _At.STRING, False
        elif letter == "-":
            self._at = _At.MINUS
        elif letter == "0":
            self._at = _At.ZERO
        elif letter in _DIGITS:
            self._at = _At.INTEGER
        elif letter in _LITERALS:
            self._at, self._left = _At.LITERAL, _LITERALS[letter]
        else:
            return False
        return True


_NUMBER_STEPS: dict[_At, tuple[tuple[str, _At], ...]] = {
    _At.MINUS: (("0", _At.ZERO), (_DIGITS, _At.INTEGER)),
    _At.ZERO: ((".", _At.POINT), ("eE", _At.EXPONENT)),
    _At.INTEGER: ((_DIGITS, _At.INTEGER), (".", _At.POINT), ("eE", _At.EXPONENT)),
    _At.POINT: ((_DIGITS, _At.FRACTION),),
    _At.FRACTION: ((_DIGITS, _At.FRACTION), ("eE", _At.EXPONENT)),
    _At.EXPONENT: (("+-", _At.EXPONENT_SIGN), (_DIGITS, _At.EXPONENT_DIGITS)),
    _At.EXPONENT_SIGN: ((_DIGITS, _At.EXPONENT_DIGITS),),
    _At.EXPONENT_DIGITS: ((_DIGITS, _At.EXPONENT_DIGITS),),
}


class Mender:
    """Lets through what stays a JSON object, and closes it in the end, whatever the model wrote.

    What does not begin as one is held back, and unwrapped or wrapped in the end.
    """

    def __init__(self) -> None:
        self._prefix = JsonPrefix()
        self._is_broken = False
        self._other: list[str] | None = None
        self.has_mended = False

    def feed(self, text: str) -> str:
        """Return what of `text` may be sent."""
        if self._other is None and self._prefix.is_empty:
            text = text.lstrip(_SPACE)  # white space alone would be no JSON
            if text and text[0] != "{":
                self._other = []
        if self._other is not None:
            self._other.append(text)
            return ""
        if self._is_broken:
            return ""
        good = self._prefix.feed(text)
        self._is_broken = good < len(text)
        return text[:good]

    def end(self) -> str:
        """Return what closes the object; an empty text when it is complete. No text at all becomes `{}`."""
        if self._other is not None:
            self.has_mended = True
            return wrapped("".join(self._other))
        if self._prefix.is_complete:
            self.has_mended = self._is_broken
            return ""
        self.has_mended = not self._prefix.is_empty
        return self._prefix.closing() if self.has_mended else ""


def is_object(text: str) -> bool:
    """Whether a text is one complete JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def wrapped(text: str) -> str:
    """Arguments that are no object as one: what they hold under `value`, what is no JSON under `__invalid_json`."""
    try:
        inner = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return msgspec.json.encode({"__invalid_json": text}).decode()
    if isinstance(inner, str) and is_object(inner):
        return inner  # encoded twice
    return msgspec.json.encode({"value": msgspec.Raw(text.encode())}).decode()

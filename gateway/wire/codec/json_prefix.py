"""Follows a JSON object while it is streamed: whether it is complete, where it goes wrong, how to close it.

The arguments of a tool call are streamed as fragments of JSON text. The sequencer has to know when the
arguments of a call are complete, and Anthropic's SDKs raise if all fragments together are not a JSON object
(docs/wire/streaming.md#messages-writer-event-order).
"""

import re
from enum import Enum

import msgspec

from gateway.wire.codec.odd_json import LoneHalves

_SPACE = " \t\r\n"
_DIGITS = "0123456789"
_HEX = "0123456789abcdefABCDEF"
_ESCAPES = '"\\/bfnrt'
_MAX_DEPTH = 500  # brackets; deeper arguments are no JSON object that any SDK would read
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}


class _At(Enum):
    """The states of the automaton: what may come next."""

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


_BETWEEN = frozenset({_At.FIRST_KEY, _At.FIRST_ITEM, _At.AFTER})
_NUMBERS_END = frozenset({_At.ZERO, _At.INTEGER, _At.FRACTION, _At.EXPONENT_DIGITS})
# The text that completes a value cut in this state. The brackets around the value are closed after it.
_COMPLETIONS = {
    _At.VALUE: "null",
    _At.KEY: '"":null',
    _At.COLON: ":null",
    _At.MINUS: "0",
    _At.POINT: "0",
    _At.EXPONENT: "0",
    _At.EXPONENT_SIGN: "0",
}


_PIECES = re.compile(r'[^"\\\[\]{},:]+|.', re.DOTALL)  # so that each value ends with a piece

# The characters that leave the automaton in its state, so that a run of them is passed over at once.
_RUNS = {
    _At.STRING: re.compile(r'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})++'),
    _At.INTEGER: re.compile(r"[0-9]+"),
    _At.FRACTION: re.compile(r"[0-9]+"),
    _At.EXPONENT_DIGITS: re.compile(r"[0-9]+"),
} | dict.fromkeys((_At.VALUE, _At.FIRST_ITEM, _At.FIRST_KEY, _At.KEY, _At.COLON, _At.AFTER), re.compile(f"[{_SPACE}]+"))


class JsonPrefix:
    """An automaton over the characters of one JSON object.

    A decoder needs the whole text; this class answers after each character, without reading any twice. Its
    state is a place in JSON's grammar (`_at`), the stack of open brackets (`_open`), whether the current string
    is a member's name (`_is_key`), and what is missing of a literal or a `u` escape (`_left`). `_step` moves
    the state by one character, or returns False if no JSON object can go on so.

    The same state gives the shortest completion: `closing` ends the value at hand, and then closes each open
    bracket.
    """

    def __init__(self) -> None:
        self._at = _At.VALUE
        self._open: list[str] = []  # the closing brackets that are still to come
        self._is_key = False
        self._left = ""  # what is missing of a literal, or one 0 for each missing hexadecimal digit

    @property
    def is_complete(self) -> bool:
        """Whether the object has been closed."""
        return self._at is _At.DONE

    @property
    def is_between(self) -> bool:
        """Whether each value that has begun is whole, so that closing brackets alone make an object."""
        return self._at in _BETWEEN or self._at in _NUMBERS_END

    @property
    def is_empty(self) -> bool:
        """Whether nothing but white space has come."""
        return self._at is _At.VALUE and not self._open

    @property
    def awaits_value(self) -> bool:
        """Whether a value inside the object may come next."""
        return self._at in (_At.VALUE, _At.FIRST_ITEM) and bool(self._open)

    def feed(self, text: str, at: int = 0) -> int:
        """Take the characters from `at` on. Return how far they continue the object: to the end, or to a bad one."""
        end = len(text)
        while at < end:
            if (run := _RUNS.get(self._at)) is not None and (found := run.match(text, at)) is not None:
                at = found.end()  # a long string, number or indentation costs one step
                if at == end:
                    break
            if not self._step(text[at]):
                return at
            at += 1
        return end

    def closing(self) -> str:
        """Return the shortest text that makes a JSON object of the characters taken so far."""
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

    def closing_with(self, member: str) -> str:
        """Return a text that makes an object of the characters taken so far, with `member` as its last member."""
        if len(self._open) == 1 and self._at in (_At.FIRST_KEY, _At.KEY):
            return f"{member}}}"
        return f"{self.closing()[:-1]},{member}}}"

    def _step(self, letter: str) -> bool:
        if self._at in _NUMBERS_END and letter not in "0123456789.eE":
            self._at = _At.AFTER
        match self._at:
            case _At.STRING:
                return self._in_string(letter)
            case _At.ESCAPE:
                return self._escape(letter)
            case _At.HEX:
                if letter not in _HEX:
                    return False
                self._left = self._left[1:]
                self._at = _At.HEX if self._left else _At.STRING
                return True
            case _At.LITERAL:
                if letter != self._left[0]:
                    return False
                self._left = self._left[1:]
                self._at = _At.LITERAL if self._left else _At.AFTER
                return True
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
        if letter not in _ESCAPES:
            return False
        self._at = _At.STRING
        return True

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
            return False  # the outermost value must be an object
        if letter in "{[" and len(self._open) >= _MAX_DEPTH:
            return False
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


_ODD_LITERALS = ("NaN", "Infinity")
_ODD_LITERAL = re.compile(r"NaN|Infinity|(?:Na?|I(?:n(?:f(?:i(?:n(?:it?)?)?)?)?)?)\Z")


class Mender:
    """Makes arguments that SDKs can read of what the model wrote, while it is streamed.

    Text that begins as an object is let through. If it only stops in the middle, it stays as it is, so that the client
    can tell: the SDKs read what has come of it. At a bad character the object is closed, and what the model wrote from
    there on becomes its last member. Text that begins otherwise is held back, and replaced at the end by the object
    that `wrapped` makes of it. `has_mended`: the result is not what the model wrote, apart from white space before it.
    `is_half`: the arguments stop in the middle. NaN and Infinity, which Python's writer makes, become null, and a half
    of a surrogate pair that stays alone U+FFFD.
    """

    def __init__(self) -> None:
        self._prefix = JsonPrefix()
        self._halves = LoneHalves()
        self._literal = ""  # the beginning of NaN or Infinity
        self._has_nulls = False
        self._bad: list[str] = []  # the bad character, and all that came behind it
        self._other: list[str] | None = None
        self.has_mended = False
        self.is_half = False

    def feed(self, text: str) -> str:
        """Take a fragment, return the text that may be sent."""
        return self._take(self._halves.feed(text))

    def _take(self, text: str) -> str:
        if self._other is None and self._prefix.is_empty:
            text = text.lstrip(_SPACE)  # white space alone would not be JSON
            if text and text[0] != "{":
                self._other = []
        if self._other is not None:
            self._other.append(text)
            return ""
        if self._bad:
            self._bad.append(text)
            return ""
        text, self._literal = self._literal + text, ""
        out, at = [], 0
        while at < len(text):
            good = self._prefix.feed(text, at)
            out.append(text[at:good])
            at = good
            if at < len(text):
                if not self._prefix.awaits_value or (found := _ODD_LITERAL.match(text, at)) is None:
                    self._bad.append(text[at:])
                    break
                at = found.end()
                if found[0] in _ODD_LITERALS:
                    self._has_nulls = True
                    self._prefix.feed("null")
                    out.append("null")
                else:
                    self._literal = found[0]
        return "".join(out)

    def end(self) -> str:
        """Return the text that ends the arguments, empty if nothing is to be mended.

        No text at all stays empty: SDKs read that as `{}`.
        """
        return self._take(self._halves.end()) + self._end()

    def _end(self) -> str:
        if self._other is not None:
            self.has_mended = True
            return wrapped("".join(self._other))
        self.has_mended = bool(self._bad) or self._has_nulls
        if self._prefix.is_complete or not self._bad:
            self.is_half = not self._prefix.is_complete and not self._prefix.is_empty
            return ""
        member = '"__invalid_json":' + msgspec.json.encode("".join(self._bad)).decode()
        return self._prefix.closing_with(member)


def is_half(text: str) -> bool:
    """Return whether a text is an object that stops in the middle."""
    if is_object(text):
        return False
    mender = Mender()
    mender.feed(text)
    mender.end()
    return mender.is_half


def mended(text: str) -> str:
    """Return the object that an SDK has read when it has got a call's arguments through a Mender."""
    mender = Mender()
    out = mender.feed(text) + mender.end()
    return whole_values(out) if mender.is_half else out or "{}"


def whole_values(text: str) -> str:
    """Return what SDKs read of an object that stops in the middle: all but the value that is cut off."""
    prefix, whole, closing, at = JsonPrefix(), 0, "{}", 0
    for piece in _PIECES.findall(text):
        at += len(piece)
        if prefix.feed(piece) < len(piece):
            break
        if prefix.is_between:
            whole, closing = at, prefix.closing()
    return text[:whole] + closing


def is_object(text: str) -> bool:
    """Return whether a text is one complete JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def wrapped(text: str) -> str:
    """Make an object of arguments that are not one.

    A string that holds an object in JSON becomes that object. Any other JSON value is put under `value`, and text
    that is not JSON under `__invalid_json`.
    """
    try:
        value = msgspec.json.decode(text, type=msgspec.Raw)  # makes nothing of what may be a million values
        inner = msgspec.json.decode(value, type=str) if text.lstrip().startswith('"') else ""
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return msgspec.json.encode({"__invalid_json": text}).decode()
    if is_object(inner):
        return inner  # encoded twice
    return msgspec.json.encode({"value": msgspec.Raw(text.encode())}).decode()

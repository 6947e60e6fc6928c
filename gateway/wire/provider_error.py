"""Reads a provider's error in any known shape (docs/wire/errors.md#shapes), and classifies it as a Fault.

All dialects share this reader: compatible servers send errors in each other's shapes, so the dialect of the
request does not tell the shape of the error.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from attrs import evolve, frozen

from gateway.errors import Declined
from gateway.faults import Fault
from gateway.wire.context_full import CODES, says_full

# Characters quoted of an error body that is not JSON: any provider's sentence fits, a whole page does not.
_MAX_TEXT = 500
# Seconds, a year. A longer wait is no wait but a slip, such as Unix milliseconds read as seconds.
_MAX_WAIT = 366 * 86400.0
_STATUSES: dict[int, Fault] = {
    401: Fault.CREDENTIALS,
    402: Fault.QUOTA,
    403: Fault.REFUSED,
    404: Fault.MISSING,
    405: Fault.ADDRESS,
    408: Fault.TRANSIENT,
    413: Fault.TOO_LARGE,
    425: Fault.TRANSIENT,
    429: Fault.LIMITED,
    503: Fault.OVERLOADED,
    529: Fault.OVERLOADED,
}
# OpenAI says of any member that its text is too long. Only a shorter conversation helps where it is the conversation's.
_LONG_STRING = "string_above_max_length"
_PLACE_IN_WORDS = re.compile(r"'([\w.\[\]]{1,200})'")
_OF_CONVERSATION = re.compile(
    r"(?:input|messages|prompt|contents)(?:\[\d+\])*"
    r"(?:\.(?:content|text|output|arguments|input|input_text|parts|summary|function\.arguments)(?:\[\d+\])*"
    r"|\.tool_calls\[\d+\]\.(?:function\.arguments|custom\.input))*"
)
# A 413 with one of these is Groq's limit of tokens a minute, no limit of the size.
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error"})
_LIMIT_WORDS = re.compile(r"tokens per min|\bTPM\b", re.IGNORECASE)
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached", "payment_required"})
_QUOTA_WORDS = re.compile(r"credit balance is too low|insufficient (?:balance|quota|credit)|spend limit", re.IGNORECASE)
# Anthropic says that the account has no money with a 400. The whole message, so that no quoted text makes it.
_NO_MONEY = re.compile(r"Your credit balance is too low(?: to access the Anthropic API)?(?:\.[\w &,.]{0,120})?")
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_KEY_CODES = frozenset({"invalid_api_key", "authentication_error", "account_deactivated"})
_KEY_WORDS = re.compile(r"api[ _-]?key|credential|authenticat|x-api-key|access denied", re.IGNORECASE)
# How Anthropic says that a message thread cannot be continued. Its clients then send the whole conversation; no other
# target can continue the thread.
_THREAD_CODES = frozenset(
    {
        "thread_not_found", "thread_already_continued", "thread_continue_in_flight", "thread_fingerprint_mismatch",
        "thread_unsupported_request",
    }
)  # fmt: skip
_LOCK_WORDS = re.compile(r"lock|timeout|timed out|try again", re.IGNORECASE)
# The status of an error inside a 200, which has only a type or a code.
_TYPES: dict[str, int] = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "requests": 429,
    "tokens": 429,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "BadRequestError": 400,
    "tool_use_failed": 400,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
    "service_unavailable": 503,
    "insufficient_system_resource": 503,
}
# How servers say that a path does not exist: OpenAI, Groq, Anthropic and FastAPI, LM Studio, llama.cpp, Go, Express.
_NO_PATH = re.compile(
    r"(?:404:? )?(?:(?:page|file|path|route|url|endpoint|resource) )?not[_ ]found\.?(?: please check .{0,300})?"
    r"|invalid url .{0,300}|unknown (?:request )?(?:url|path).{0,300}|unexpected endpoint.{0,300}"
    r"|(?:cannot|could not route to|no (?:route|static resource)|no handler for) .{0,300}"
    r"|route (?:get|post):? ?/.{0,300} not found"
    r"|the requested (?:url|path|resource|endpoint|route)(?: /\S{1,300})? (?:was|is) not found.{0,300}",
    re.IGNORECASE,
)
_SILENT = "The provider answered with status"
# How a TLS port answers plain HTTP: nginx, Go, Apache, Tomcat.
_OF_TLS = re.compile(rb"plain HTTP|HTTP request to an HTTPS|requires TLS")
_WANTS_TLS = "The provider's port speaks TLS only"
_HAS_VERSION = re.compile(r"/v\d")
_OF_MODEL = re.compile(r"model|deployment", re.IGNORECASE)
# The statuses whose message may say how long to wait.
_WAITING = frozenset({429, 503, 529})
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
MAX_SAID_WAIT = 30.0  # seconds; a message may quote the client, who is not to choose how long a credential rests
_SPAN = r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d)){1,5}"  # 1m30s, as Go writes it; OpenAI and Groq do, too
_AGAIN_IN = re.compile(rf"try again in ({_SPAN}|\d{{1,9}}(?:\.\d{{1,9}})? (?:ms|s|m))\b", re.IGNORECASE)
_IS_SPAN = re.compile(_SPAN)
_PART = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)", re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIX, _UNIX_MS = 1e9, 1e12  # a reset of at least this is a point in time, in seconds or in milliseconds


@frozen
class Said:
    """The four members that an error of any shape may have."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


def read_declined(
    dialect: str, status: int, headers: Mapping[str, str], body: bytes, now: float, request: bytes = b""
) -> Declined:
    """Read an HTTP error. `now` is Unix time, needed for a Retry-After that is a date.

    `request` is what was sent. A message may quote the client, and no client may put a credential to rest for all
    others: what only the words of a message say is not certain, and nothing rests on it.
    """
    payload = said_in(body, status)
    is_page = not body or not _is_json(body)
    if is_page and _OF_TLS.search(body):
        payload = Said(_WANTS_TLS)
    error = _declined(dialect, status, payload, body if _is_object(body) else b"", request, is_page=is_page)
    is_waiting = status in _WAITING or error.fault is Fault.LIMITED
    error.retry_after = read_wait(headers, payload.message, now, is_waiting=is_waiting)
    flag = headers.get("x-should-retry", "").lower()
    error.should_retry = {"true": True, "false": False}.get(flag)
    return error


def read_inner(dialect: str, error: Any) -> Declined:
    """Read an error that came inside a 200 reply or stream. `error` is its decoded JSON."""
    payload = _payload(error)
    return _declined(dialect, _status_in(error, payload), payload, msgspec.json.encode({"error": error}))


def doubt(base: str, body: bytes) -> str:
    """Say what is probably wrong with a base URL, at which there is no API. `body` is the refusal."""
    if _OF_TLS.search(body):
        return "does its port want https?"
    return "is it the right one?" if _HAS_VERSION.search(base) else "does it lack /v1?"


def said_in(body: bytes, status: int) -> Said:
    """Read the members of an error body. HTML and binary bodies are never quoted."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        if not text or text.startswith("<") or (not text.isprintable() and "\ufffd" in text):
            return Said(f"{_SILENT} {status}")
        return Said(text[:_MAX_TEXT])
    return _payload(decoded, f"{_SILENT} {status}")


def read_wait(headers: Mapping[str, str], message: str, now: float, *, is_waiting: bool = True) -> float | None:
    """Return the seconds to wait: of the first source that has some. None if there is none.

    Negative, endless and odd values are passed over. `is_waiting`: the status says to wait, so that the message and
    the headers of limits, which come with every reply, are about this refusal.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (value := _seconds(headers.get(name))) is not None and (wait := _sane(value / 1000)) is not None:
            return wait
    if (wait := _until(headers.get("retry-after"), now)) is not None:
        return wait
    if not is_waiting:
        return None
    if found := _AGAIN_IN.search(message):
        return min(MAX_SAID_WAIT, _span(found[1]))
    return _read_resets(headers, now)


def _read_resets(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait until a limit is reset: the longest of those used up, else the shortest that is named.

    See docs/wire/rate-limits.md: `x-ratelimit-reset-tokens`, `anthropic-ratelimit-requests-reset` and their kin.
    """
    waits: list[float] = []
    used_up: list[float] = []
    for name, text in headers.items():
        lower = name.lower()
        if "ratelimit" in lower and "reset" in lower and (wait := _until(text, now)):
            waits.append(wait)
            if _seconds(headers.get(lower.replace("reset", "remaining"))) == 0:
                used_up.append(wait)
    return max(used_up) if used_up else min(waits, default=None)


def _until(text: str | None, now: float) -> float | None:
    """Read a wait: seconds, a span such as 6m0s, a point in Unix time, or a date of HTTP or ISO 8601."""
    if not text:
        return None
    text = text.strip()
    if (value := _seconds(text)) is not None:
        if value >= _UNIX:
            value = (value / 1000 if value >= _UNIX_MS else value) - now
        return _sane(value)
    if _IS_SPAN.fullmatch(text):
        return _sane(_span(text))
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text)
            return _sane((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
        except (TypeError, ValueError, OverflowError):
            continue
    return None


def _span(text: str) -> float:
    return sum(float(amount) * _UNITS[unit.lower()] for amount, unit in _PART.findall(text))


def _declined(
    dialect: str, status: int, payload: Said, body: bytes, request: bytes = b"", *, is_page: bool = False
) -> Declined:
    fault = _classify(status, payload, is_page=is_page)
    error = Declined(
        payload.message,
        fault,
        status=status,
        dialect=dialect,
        body=body,
        error_type=payload.type,
        code=payload.code,
        param=payload.param,
    )
    # Without the request, as for an error inside a 200, nobody can tell whether the words are the client's.
    is_own_message = request and _NO_MONEY.fullmatch(payload.message) and not _stands_in(payload.message, request)
    if is_own_message or fault is Fault.TOO_LONG:  # which rests nothing, so that it need not be certain
        error.certain = fault
    else:
        error.certain = _classify(status, evolve(payload, message=""), is_page=is_page)
    return error


def _classify(status: int, payload: Said, *, is_page: bool = False) -> Fault:
    """Decide what a refusal means. `is_page`: its body is no JSON, so that it is not the model's server that speaks."""
    words, message = {payload.code, payload.type}, payload.message
    if words & _QUOTA_CODES or (status in (400, 402, 429) and _QUOTA_WORDS.search(message)):
        return Fault.QUOTA
    if payload.code in _THREAD_CODES and status < 500:
        return Fault.CALLER
    if words & _FILTER_CODES and status < 500:
        return Fault.FILTERED
    if _LONG_STRING in words:
        return Fault.TOO_LONG if _is_of_conversation(payload) else Fault.CALLER
    if words & CODES or (not is_page and says_full(status, message)):
        return Fault.TOO_LONG
    if "tool_use_failed" in words:
        return Fault.BAD_CALL
    if status == 403 and (words & _KEY_CODES or _KEY_WORDS.search(message)):
        return Fault.CREDENTIALS
    if status == 409 and _LOCK_WORDS.search(message):
        return Fault.TRANSIENT
    if status == 413 and (words & _LIMIT_CODES or _LIMIT_WORDS.search(message)):
        return Fault.LIMITED
    if status == 400 and is_page:
        return Fault.ADDRESS if message == _WANTS_TLS else Fault.TOO_LARGE
    if status == 404 and _is_of_path(payload, is_page=is_page):
        return Fault.ADDRESS
    if status in _STATUSES:
        return _STATUSES[status]
    return Fault.CALLER if 400 <= status < 500 else Fault.TRANSIENT


def _is_of_conversation(payload: Said) -> bool:
    """Whether an error is about the text of the conversation, not about a name or an id in it."""
    found = _PLACE_IN_WORDS.search(payload.message)
    place = payload.param or (found[1] if found else "")
    return _OF_CONVERSATION.fullmatch(place) is not None


def _is_of_path(payload: Said, *, is_page: bool) -> bool:
    """Whether a 404 is about the path, and not about a model or something else that the request names."""
    if _OF_MODEL.search(f"{payload.code} {payload.type}"):
        return False
    message = payload.message.strip()
    if message.startswith(_SILENT) and payload.code is None:
        return True  # JSON that says nothing: an API would name the model that it lacks
    return _NO_PATH.fullmatch(message) is not None or (is_page and not _OF_MODEL.search(message))


def _stands_in(words: str, request: bytes) -> bool:
    """Whether a request holds these words, in any case and also where its JSON has escaped their letters."""
    plain = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), request)
    return words.lower() in plain.decode("utf-8", "replace").lower()


def _payload(decoded: Any, default: str = "The provider reported an error") -> Said:
    """Read the members of decoded JSON.

    The message is the first of (order of docs/wire/errors.md#shapes): error.message, error, message, detail,
    error.metadata.raw.
    """
    while isinstance(decoded, list) and decoded:
        decoded = decoded[0]  # Google's compatible endpoint wraps its errors in a list
    if isinstance(decoded, str):
        return Said(decoded or default)
    if not isinstance(decoded, dict):
        return Said(default)
    error = decoded.get("error")
    if isinstance(error, dict):
        inner = _payload(error, default)
        metadata = error.get("metadata")
        if inner.message == default and isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):
            return Said(metadata["raw"], inner.type, inner.code, inner.param)
        return inner
    texts = (error, decoded.get("message"), _detail(decoded.get("detail")), decoded.get("error_msg"))
    return Said(
        next((text for text in texts if isinstance(text, str) and text), default),
        _word(decoded.get("type")),
        _word(decoded.get("code")) or _thread_code(decoded.get("details")),
        _word(decoded.get("param")),
    )


def _thread_code(details: Any) -> str | None:
    """Read Anthropic's `details.error_code` if it is about a message thread."""
    found = details.get("error_code") if isinstance(details, dict) else None
    return found if isinstance(found, str) and found in _THREAD_CODES else None


def _detail(detail: Any) -> str | None:
    """Read FastAPI's `detail`: a text, or a list of objects with a path (`loc`) and a message (`msg`)."""
    if isinstance(detail, list):
        return "; ".join(
            ".".join(map(str, entry["loc"])) + f": {entry.get('msg', '')}"
            for entry in detail
            if isinstance(entry, dict) and isinstance(entry.get("loc"), list)
        )
    return detail if isinstance(detail, str) else None


def _status_in(error: Any, payload: Said) -> int:
    for name in ("status_code", "http_code", "code", "status"):
        code = error.get(name) if isinstance(error, dict) else None
        if isinstance(code, str) and code.isdecimal() and len(code) < 5:
            code = int(code)
        if isinstance(code, int) and 400 <= code < 600:
            return code
    for word in (payload.code, payload.type):
        if word in _TYPES:
            return _TYPES[word]
    return 502


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _MAX_WAIT else None

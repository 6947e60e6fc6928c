"""Decides how the mock answers a request: from a script, from the request's headers, or as a test sets it.

This package imports nothing of the gateway, so that a bug there cannot cancel out here.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, get_type_hints

import yaml
from attrs import define, evolve, field, fields, frozen

# Most names say where the fault strikes: before the head, in the head or in the body. The others: `truncate` ends a
# stream early but cleanly, and closes the connection in the middle of a whole reply; `garbage` and `html` answer with a
# body that is not the dialect's; `not_http` sends bytes that are not HTTP; `error_event` ends a stream with an error.
FAULTS = (
    "reset_before_head",
    "close_before_head",
    "reset_in_head",
    "reset_in_body",
    "stall_before_head",
    "stall_in_body",
    "truncate",
    "garbage",
    "not_http",
    "html",
    "error_event",
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
HEADER_PREFIX = "x-mock-"


@frozen
class Behaviour:
    """How one request is answered. The defaults are those of a healthy provider."""

    status: int = 200
    headers: dict[str, str] = field(factory=dict)
    reply: str = ""  # the name of a sample; if empty, the request's model is that name
    frames: list[bytes] | None = None  # instead of a sample's stream
    body: Any = None  # instead of a sample: a text, or JSON
    error: Any = None  # the error object of an error status or of fault error_event
    latency: float = 0.0  # seconds before the head
    first_byte: float = 0.0  # seconds between the head and the first piece of the body
    pace: float = 0.0  # seconds between two events of a stream
    chunk: int = 0  # bytes written at once, 0 for a whole event
    fault: str = ""  # one of FAULTS
    after: int = 0  # events before a fault in a stream, or bytes of a whole reply (0: half of it)
    text: str = ""  # what the model says, in samples that are text

    def __attrs_post_init__(self) -> None:
        if self.fault and self.fault not in FAULTS:
            raise ValueError(f"unknown fault '{self.fault}': one of {', '.join(FAULTS)}")


@frozen(eq=False)
class Rule:
    """One entry of a script: if `path`, `model` and `name` (globs) match, `then` is played.

    In YAML the globs stand under `when`. `times` is how often the rule may be used, 0 is without limit.
    """

    then: Behaviour
    path: str = "*"
    model: str = "*"
    name: str = "*"
    times: int = 0


@define
class Script:
    """Rules in order; the first that applies and is not used up decides."""

    rules: list[Rule] = field(factory=list)
    _used: dict[Rule, int] = field(factory=dict, init=False)

    def decide(self, name: str, path: str, model: str, headers: Mapping[str, str]) -> Behaviour:
        """Return the behaviour for a request; `x-mock-…` headers change single members of it."""
        found = Behaviour()
        for rule in self.rules:
            used = self._used.get(rule, 0)
            if rule.times and used >= rule.times:
                continue
            if fnmatchcase(path, rule.path) and fnmatchcase(model, rule.model) and fnmatchcase(name, rule.name):
                self._used[rule] = used + 1
                found = rule.then
                break
        return evolve(found, **_from_headers(headers))


def read_script(text: str) -> Script:
    """Read a YAML list of {when: {path, model, name}, then: {…}, times}. Raises ValueError with the entry."""
    entries = yaml.safe_load(text) or []
    if not isinstance(entries, list):
        raise ValueError("a script is a list of {when, then, times}")
    rules = []
    for number, entry in enumerate(entries, 1):
        try:
            unknown = set(entry) - {"when", "then", "times"}
            if unknown:
                raise ValueError(f"unknown key '{sorted(unknown)[0]}'")
            rules.append(
                Rule(make_behaviour(entry.get("then", {})), times=entry.get("times", 0), **entry.get("when", {}))
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"script entry {number}: {error}") from None
    return Script(rules)


def make_behaviour(values: Mapping[str, Any]) -> Behaviour:
    """Build a behaviour from plain values; durations may be texts such as 250ms. Raises ValueError."""
    known = {found.name for found in fields(Behaviour)}
    for name in values:
        if name not in known:
            raise ValueError(f"unknown behaviour '{name}': one of {', '.join(sorted(known))}")
    return Behaviour(**{name: _value(name, value) for name, value in values.items()})


def _from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    kinds = get_type_hints(Behaviour)
    for name in kinds:
        text = headers.get(HEADER_PREFIX + name.replace("_", "-"))
        if text is not None and kinds[name] in (int, float, str):
            out[name] = int(text) if kinds[name] is int else _value(name, text)
    if (wait := headers.get(HEADER_PREFIX + "retry-after")) is not None:
        out["headers"] = {"retry-after": wait}
    return out


def _value(name: str, value: Any) -> Any:
    if name not in ("latency", "first_byte", "pace") or not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if found is None:
        raise ValueError(f"'{name}' must be a duration such as 250ms, not '{value}'")
    return float(found[1]) * _UNITS[found[2]]

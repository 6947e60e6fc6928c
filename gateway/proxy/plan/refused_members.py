"""Learns which optional members a model refuses: after such a refusal the call is sent once more without the member.

The fact is remembered for an hour. Only members that the gateway added or may leave out are left out, never one that
changes the meaning of the answer (docs/wire/providers.md#capability-profile).
"""

import re
from collections.abc import Collection, Mapping, Set
from typing import Any

from attrs import define, field

from gateway.errors import Declined
from gateway.faults import Fault

TTL = 3600.0
MAX_FACTS = 10_000
_REFUSED = re.compile(
    r"unsupported|not supported|does not support|extra inputs are not permitted|not permitted|unrecognized"
    r"|unknown (?:parameter|field|argument)|unexpected (?:keyword|argument|field)|not allowed|deprecated",
    re.IGNORECASE,
)
# A cap on the output in a refusal: Anthropic's "max_tokens: 32000 > 8192, which is the maximum …", OpenAI's "supports
# at most 16384 completion tokens", DeepSeek's and DashScope's "range … [1, 8192]", Groq's "less than or equal to 8192",
# Bedrock's "exceeds the model limit of 4096".
_OUTPUT = re.compile(r"max_(?:completion_|output_)?tokens|maximum tokens", re.IGNORECASE)
_CAP = re.compile(
    r"> ?(\d{1,9}), which is the maximum|at most (\d{1,9}) (?:completion|output) tokens|\[1, ?(\d{1,9})\]"
    r"|less than or equal to [`'\"]?(\d{1,9})|model limit of (\d{1,9})|<= ?(\d{1,9})|at most (\d{1,9})\b",
    re.IGNORECASE,
)
# What a schema is held to, by the words with which clients are told that it was not. A refusal of one schema says
# nothing about others: it is never remembered.
SCHEMAS = {"output_config.format": "response_format.json_schema", "tools.strict": "tools.strict"}
_SCHEMA_WORDS = re.compile(r"schema|output_config|output_format|grammar|circular|\$ref|strict", re.IGNORECASE)


@define
class RefusedMembers:
    """The members that each model has refused, by (owner, provider, model), with the monotonic time of their expiry.

    Beside them is the most output that it takes. Each owner has its own facts: a refusal may repeat what its client
    wrote, and must not change the calls of others.
    """

    _facts: dict[tuple[str, str, str], dict[str, float]] = field(factory=dict, init=False)
    _caps: dict[tuple[str, str, str], tuple[int, float]] = field(factory=dict, init=False)

    def of(self, owner: str, provider: str, model: str, now: float) -> Set[str]:
        """Return the members to leave out; a path such as output_config.effort names a part of a member."""
        facts = self._facts.get((owner, provider, model))
        return frozenset(name for name, until in facts.items() if until > now) if facts else frozenset()

    def learn(self, owner: str, provider: str, model: str, name: str, now: float) -> None:
        """Remember that `name` is refused."""
        if len(self._facts) >= MAX_FACTS:
            del self._facts[next(iter(self._facts))]
        self._facts.setdefault((owner, provider, model), {})[name] = now + TTL

    def cap(self, owner: str, provider: str, model: str, now: float) -> int | None:
        """Return the most output tokens that a refusal has named, None if none has."""
        if not self._caps or (found := self._caps.get((owner, provider, model))) is None:
            return None
        return found[0] if found[1] > now else None

    def learn_cap(self, owner: str, provider: str, model: str, cap: int, now: float) -> None:
        """Remember that the model writes `cap` tokens at most."""
        if len(self._caps) >= MAX_FACTS:
            del self._caps[next(iter(self._caps))]
        self._caps[owner, provider, model] = cap, now + TTL


def cap_in(error: Declined, sent: int) -> int | None:
    """Return the output cap that a refusal names, if it is below the `sent` one; None if it names none."""
    if error.fault is not Fault.CALLER or not _OUTPUT.search(f"{error.param} {error.message}"):
        return None
    found = _CAP.search(error.message)
    cap = int(next(filter(None, found.groups()))) if found else 0
    return cap if 0 < cap < sent else None


def refused_schemas(error: Declined, members: Mapping[str, Any]) -> Set[str]:
    """Return which constraints by a schema stand in the `members` sent, if a refusal is about schemas."""
    if error.fault is not Fault.CALLER or not _SCHEMA_WORDS.search(f"{error.param} {error.message}"):
        return frozenset()
    config = members.get("output_config")
    found = {"output_config.format"} if isinstance(config, dict) and "format" in config else set()
    if any(isinstance(tool, dict) and tool.get("strict") for tool in members.get("tools") or ()):
        found.add("tools.strict")
    return found


def offending(error: Declined, sent: Collection[str]) -> str | None:
    """Return the member among those `sent` that a refusal names, the longest if several; None if it names none."""
    if error.fault is not Fault.CALLER or not _REFUSED.search(error.message):
        return None
    found = [name for name in sent if _names(error, name)]
    return max(found, key=len, default=None)


def _names(error: Declined, name: str) -> bool:
    if error.param:
        return error.param == name or error.param.startswith(f"{name}.")
    return re.search(rf"(?<![A-Za-z_.]){re.escape(name)}(?![A-Za-z_])", error.message) is not None

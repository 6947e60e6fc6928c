"""Learns which optional members a model refuses: one repaired retry, remembered for an hour.

Only members that the gateway put there or may leave out, never what changes the meaning of the answer
(TRANSLATION.md 15).
"""

import re
from collections.abc import Collection, Set

from attrs import define, field

from gateway.errors import Declined, Fault

TTL = 3600.0
MOST = 10_000
OPTIONAL = frozenset(
    {
        "stream_options", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed",
        "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls", "user", "safety_identifier",
        "prompt_cache_key", "service_tier", "verbosity", "reasoning_effort", "thinking", "reasoning",
        "enable_thinking", "thinking_budget", "chat_template_kwargs", "output_config", "cache_control", "metadata",
        "max_tokens",
    }
)  # fmt: skip
_REFUSED = re.compile(
    r"unsupported|not supported|does not support|extra inputs are not permitted|not permitted|unrecognized"
    r"|unknown (?:parameter|field|argument)|unexpected (?:keyword|argument|field)|not allowed|deprecated",
    re.IGNORECASE,
)


@define
class Learned:
    """What each (provider, model) was found to refuse, with the monotonic time until which it counts."""

    _facts: dict[tuple[str, str], dict[str, float]] = field(factory=dict, init=False)

    def refused(self, provider: str, model: str, now: float) -> Set[str]:
        """The members to leave out."""
        facts = self._facts.get((provider, model))
        return frozenset(name for name, until in facts.items() if until > now) if facts else frozenset()

    def learn(self, provider: str, model: str, name: str, now: float) -> None:
        """Remember that `name` is refused."""
        if len(self._facts) < MOST:
            self._facts.setdefault((provider, model), {})[name] = now + TTL


def offending(error: Declined, sent: Collection[str]) -> str | None:
    """The optional member among those `sent` that a refusal names; None when it is about something else."""
    if error.fault is not Fault.CALLER or not _REFUSED.search(error.message):
        return None
    found = [name for name in sent if name in OPTIONAL and _names(error, name)]
    return max(found, key=len, default=None)


def _names(error: Declined, name: str) -> bool:
    if error.param is not None and error.param.split(".")[0] == name:
        return True
    return re.search(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])", error.message) is not None

"""Learns which optional members a model refuses: after such a refusal the call is sent once more without the member.

The fact is remembered for an hour. Only members that the gateway added or may leave out are left out, never one that
changes the meaning of the answer (docs/wire/providers.md#capability-profile).
"""

import re
from collections.abc import Collection, Set

from attrs import define, field

from gateway.errors import Declined, Fault

TTL = 3600.0
MAX_FACTS = 10_000
_REFUSED = re.compile(
    r"unsupported|not supported|does not support|extra inputs are not permitted|not permitted|unrecognized"
    r"|unknown (?:parameter|field|argument)|unexpected (?:keyword|argument|field)|not allowed|deprecated",
    re.IGNORECASE,
)


@define
class RefusedMembers:
    """The members that each model has refused, by (owner, provider, model), with the monotonic time of their expiry.

    Each owner has its own facts: a refusal may repeat what its client wrote, and must not change the calls of others.
    """

    _facts: dict[tuple[str, str, str], dict[str, float]] = field(factory=dict, init=False)

    def of(self, owner: str, provider: str, model: str, now: float) -> Set[str]:
        """Return the members to leave out; a path such as output_config.effort names a part of a member."""
        facts = self._facts.get((owner, provider, model))
        return frozenset(name for name, until in facts.items() if until > now) if facts else frozenset()

    def learn(self, owner: str, provider: str, model: str, name: str, now: float) -> None:
        """Remember that `name` is refused."""
        if len(self._facts) >= MAX_FACTS:
            del self._facts[next(iter(self._facts))]
        self._facts.setdefault((owner, provider, model), {})[name] = now + TTL


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

"""How much to think, who asks, at which price: what every dialect says in words of its own.

Tables of TRANSLATION.md 3.6, 3.7 and 3.9.
"""

import hashlib
import re
from typing import Any

from gateway.errors import CannotSay
from gateway.wire.neutral import Request, Thinking
from gateway.wire.profile import EFFORTS, Profile
from gateway.wire.translation.memo import Memo

# Effort for a thinking budget of at most so many tokens, and back.
_EFFORT_BY_BUDGET = ((1024, "low"), (4096, "low"), (12_000, "medium"), (28_000, "high"))
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 60_000}
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+?[\d\s().-]{7,}")
_MAX_IDENTIFIER = 128  # SDK type: safety_identifier
_SESSION = re.compile(r"session_?(?:id)?[\"':=_\s]*([0-9a-fA-F-]{32,36})")


def is_off(thinking: Thinking) -> bool:
    """Whether the client wants no reasoning."""
    return thinking.mode == "off"


def is_on(thinking: Thinking) -> bool:
    """Whether the client wants some."""
    return not is_off(thinking)


def effort_of(thinking: Thinking, profile: Profile, memo: Memo) -> str | None:
    """The effort to ask for, in the words that the model takes; None when there is nothing to say."""
    if is_off(thinking):
        wanted = "none"
    elif thinking.effort is not None:
        wanted = thinking.effort
    elif thinking.budget is not None:
        wanted = next((effort for most, effort in _EFFORT_BY_BUDGET if thinking.budget <= most), "xhigh")
    else:
        return None
    found = nearest_effort(wanted, profile)
    if found != wanted:
        memo.drops.add("reasoning_effort")
    return found


def nearest_effort(wanted: str, profile: Profile) -> str | None:
    """The highest effort that the model takes and that is not above the wanted one, else its lowest."""
    taken = [effort for effort in EFFORTS if effort in profile.efforts]
    if wanted in taken or not taken:
        return wanted if taken else None
    if wanted not in EFFORTS:
        return taken[-1]
    below = [effort for effort in taken if EFFORTS.index(effort) <= EFFORTS.index(wanted) and effort != "none"]
    return below[-1] if below else next((effort for effort in taken if effort != "none"), taken[0])


def budget_of(thinking: Thinking) -> int | None:
    """The tokens to think with, as said or as the effort means."""
    if thinking.budget is not None:
        return thinking.budget
    return BUDGETS.get(thinking.effort or "")


def write_identity(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Who asks, for an upstream of OpenAI's family: user, cache key, tier."""
    members: dict[str, Any] = {}
    user = request.user
    if user is not None:
        short = user if len(user) <= _MAX_IDENTIFIER else hashlib.sha256(user.encode()).hexdigest()
        if profile.safety_identifier:
            members["safety_identifier"] = short
        elif profile.user:
            members["user"] = short
        else:
            memo.drops.add("user")
    if profile.cache_key and (key := request.cache_key or _session_in(user)):
        members["prompt_cache_key"] = key[:64]
    tier = {"standard_only": "default"}.get(request.tier or "", request.tier)
    if request.speed == "fast":
        tier = "priority"
    if tier is not None and profile.tiers:
        members["service_tier"] = tier
    elif tier not in (None, "auto", "default"):
        memo.drops.add("service_tier")
    return members


def opaque_user(user: str) -> str:
    """A name that Anthropic takes: mail addresses and telephone numbers are hashed."""
    if len(user) > 256 or _PERSONAL.fullmatch(user.strip()):
        return hashlib.sha256(user.encode()).hexdigest()
    return user


def check_single(request: Request) -> None:
    """Raise CannotSay when several answers are wanted of a dialect that gives one."""
    if request.n > 1:
        raise CannotSay("This model gives one answer at a time: 'n' must be 1", param="n")


def _session_in(user: str | None) -> str | None:
    """The session that Claude Code writes into its user id: stable for a conversation."""
    found = _SESSION.search(user or "")
    return found[1] if found else None


def write_verbosity(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """`verbosity` where the model takes it; the usual one is what it does anyway, so nothing is lost with it."""
    if request.verbosity is None:
        return {}
    if profile.verbosity:
        return {"verbosity": request.verbosity}
    if request.verbosity != "medium":
        memo.drops.add("verbosity")
    return {}

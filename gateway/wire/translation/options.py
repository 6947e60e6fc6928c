"""Translates reasoning effort, the end user's identity, service tier and verbosity between dialects.

Tables of docs/wire/requests.md#reasoning-controls, docs/wire/requests.md#identity, docs/wire/requests.md#tier.
"""

import hashlib
import re
from typing import Any

from gateway.errors import CannotSay
from gateway.wire.neutral import Request, Thinking
from gateway.wire.profile import EFFORTS, Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import shorten

# The effort for a thinking budget of at most so many tokens (`xhigh` beyond the last), and the budget for an effort.
_EFFORT_BY_BUDGET = ((1024, "low"), (4096, "low"), (12_000, "medium"), (28_000, "high"))
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 60_000}
# Service tiers in OpenAI's words (SDK type: Literal["auto", "default", "flex", "scale", "priority"]). Groq, Bedrock and
# others have words of their own, which no other provider's client knows.
_TIER_WORDS = {word: word for word in ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")} | {
    "standard": "default",
    "standard_only": "default",
    "batch": "default",
}
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+?[\d\s().-]{7,}")
_MAX_IDENTIFIER = 128  # SDK type: safety_identifier
_SESSION = re.compile(r"session_?(?:id)?[\"':=_\s]*([0-9a-fA-F-]{32,36})")


def is_off(thinking: Thinking) -> bool:
    """Return whether the client has switched reasoning off."""
    return thinking.mode == "off"


def is_on(thinking: Thinking) -> bool:
    """Return whether the client has left reasoning on; so also if it did not mention reasoning."""
    return not is_off(thinking)


def effort_of(thinking: Thinking, profile: Profile, memo: Memo) -> str | None:
    """Return the effort to send, one that the model takes; None to leave it to the model's default."""
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
    """Return the highest effort that the model takes and that is not above `wanted`, else its lowest.

    For a word outside EFFORTS the model's highest. `none` is returned only if `wanted` or the only choice.
    """
    taken = [effort for effort in EFFORTS if effort in profile.efforts]
    if wanted in taken or not taken:
        return wanted if taken else None
    if wanted not in EFFORTS:
        return taken[-1]
    below = [effort for effort in taken if EFFORTS.index(effort) <= EFFORTS.index(wanted) and effort != "none"]
    return below[-1] if below else next((effort for effort in taken if effort != "none"), taken[0])


def budget_of(thinking: Thinking) -> int | None:
    """Return the thinking budget in tokens: the client's own, or that of its effort; None for neither."""
    if thinking.budget is not None:
        return thinking.budget
    return BUDGETS.get(thinking.effort or "")


def write_identity(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Write the end user, the prompt cache key and the service tier for an upstream of OpenAI's family."""
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
        members["prompt_cache_key"] = shorten(key)
    tier = openai_tier(request.tier) if request.tier is not None else None
    if tier is None and request.tier is not None:
        memo.drops.add("service_tier")
    if request.speed == "fast":
        tier = "priority"
    if tier is not None and profile.tiers:
        members["service_tier"] = tier
    elif tier not in (None, "auto", "default"):
        memo.drops.add("service_tier")
    return members


def opaque_user(user: str) -> str:
    """Return a user id that Anthropic accepts: mail addresses, telephone numbers and long texts are hashed."""
    if len(user) > 256 or _PERSONAL.fullmatch(user.strip()):
        return hashlib.sha256(user.encode()).hexdigest()
    return user


def openai_tier(tier: str) -> str | None:
    """Return a provider's service tier in OpenAI's words; None for a word that only this provider has."""
    return _TIER_WORDS.get(tier)


def check_single(request: Request) -> None:
    """Raise CannotSay if the client wants several choices: this upstream's dialect has only one."""
    if request.n > 1:
        raise CannotSay("This model gives one answer at a time: 'n' must be 1", param="n")


def _session_in(user: str | None) -> str | None:
    """Return the session id in Claude Code's user id, which is the same for a whole conversation."""
    found = _SESSION.search(user or "")
    return found[1] if found else None


def write_verbosity(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Write `verbosity` if the model takes it, else note the loss; `medium` is the default, so never a loss."""
    if request.verbosity is None:
        return {}
    if profile.verbosity:
        return {"verbosity": request.verbosity}
    if request.verbosity != "medium":
        memo.drops.add("verbosity")
    return {}

"""Effort, identity, tier and verbosity in the words of the other dialect."""

import hashlib
from typing import Any

import pytest

from gateway.errors import CannotSay
from gateway.wire.neutral import Request, Thinking
from gateway.wire.profile import EFFORTS, Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import shorten
from gateway.wire.translation.options import (
    BUDGETS,
    budget_of,
    check_single,
    effort_of,
    is_off,
    is_on,
    nearest_effort,
    opaque_user,
    write_identity,
    write_verbosity,
)
from tests.wire.crossings import SEALER

ALL = Profile(efforts=EFFORTS)
SESSION = "0b9c6a52-53c4-4f4f-9d2e-0a8cf2b3c111"


def memo_of(request: Request) -> Memo:
    return Memo(request, "req_1", 1_700_000_000, SEALER)


def ask(**more: Any) -> Request:
    return Request("openai_chat", "m", **more)


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("thinking", "wanted"),
    [
        (Thinking(), None),
        (Thinking("adaptive"), None),
        (Thinking("off", effort="high"), "none"),
        (Thinking("budget", effort="low", budget=60_000), "low"),
        (Thinking("budget", budget=1024), "low"),
        (Thinking("budget", budget=4096), "low"),
        (Thinking("budget", budget=4097), "medium"),
        (Thinking("budget", budget=12_000), "medium"),
        (Thinking("budget", budget=28_000), "high"),
        (Thinking("budget", budget=28_001), "xhigh"),
    ],
)
def test_effort_for_a_way_of_thinking(thinking: Thinking, wanted: str | None) -> None:
    """Off is `none`, an effort beats a budget, and a budget becomes the effort of its size."""
    memo = memo_of(ask())
    assert effort_of(thinking, ALL, memo) == wanted
    assert memo.drops.names == []
    assert is_off(thinking) is (thinking.mode == "off") is not is_on(thinking)


def test_another_effort_than_wanted_is_a_loss() -> None:
    """If the model does not take the effort, the nearest is sent and the loss is noted."""
    memo = memo_of(ask())
    assert effort_of(Thinking(effort="max"), Profile(efforts=("low", "high")), memo) == "high"
    assert memo.drops.names == ["reasoning_effort"]


@pytest.mark.parametrize(
    ("wanted", "taken", "found"),
    [
        ("medium", ("low", "medium"), "medium"),
        ("medium", ("low", "high"), "low"),
        ("xhigh", ("high", "low"), "high"),
        ("minimal", ("none", "medium", "high"), "medium"),
        ("none", ("low", "high"), "low"),
        ("none", ("none", "high"), "none"),
        ("high", ("none",), "none"),
        ("ultra", ("low", "max", "high"), "max"),
        ("high", (), None),
    ],
)
def test_nearest_effort(wanted: str, taken: tuple[str, ...], found: str | None) -> None:
    """The nearest effort is the highest that is not above the wanted one, else the lowest; thinking is never lost."""
    assert nearest_effort(wanted, Profile(efforts=taken)) == found


def test_a_budget_for_every_effort() -> None:
    """Each effort but `none` has a budget, more effort a larger one, and the client's own budget wins."""
    budgets = [budget_of(Thinking(effort=effort)) for effort in EFFORTS[1:]]
    assert budgets == sorted(BUDGETS.values()) and len(set(budgets)) == len(budgets)
    assert budget_of(Thinking(effort="high", budget=77)) == 77
    assert budget_of(Thinking()) is budget_of(Thinking(effort="none")) is None


@pytest.mark.parametrize(
    ("request_", "profile", "members", "lost"),
    [
        (ask(), Profile(), {}, []),
        (ask(user="u"), Profile(), {"user": "u"}, []),
        (ask(user="u"), Profile(safety_identifier=True), {"safety_identifier": "u"}, []),
        (ask(user="u"), Profile(user=False), {}, ["user"]),
        (ask(user="u" * 128), Profile(), {"user": "u" * 128}, []),
        (ask(user="u" * 129), Profile(), {"user": hashed("u" * 129)}, []),
        (ask(cache_key="k" * 70), Profile(cache_key=True), {"prompt_cache_key": shorten("k" * 70)}, []),
        (ask(cache_key="k"), Profile(), {}, []),
        (ask(tier="flex"), Profile(tiers=True), {"service_tier": "flex"}, []),
        (ask(tier="standard_only"), Profile(tiers=True), {"service_tier": "default"}, []),
        (ask(tier="auto", speed="fast"), Profile(tiers=True), {"service_tier": "priority"}, []),
        (ask(tier="flex"), Profile(), {}, ["service_tier"]),
        (ask(tier="auto"), Profile(), {}, []),
        (ask(tier="standard_only"), Profile(), {}, []),
        (ask(speed="fast"), Profile(), {}, ["service_tier"]),
    ],
)
def test_identity_and_tier(request_: Request, profile: Profile, members: dict[str, Any], lost: list[str]) -> None:
    """User, cache key and tier are sent where the model takes them; only what changes something is a loss."""
    memo = memo_of(request_)
    assert write_identity(request_, memo, profile) == members
    assert memo.drops.names == lost


@pytest.mark.parametrize(
    "user", [f"user_1_account_2_session_{SESSION}", f'{{"device_id":"d","session_id": "{SESSION}"}}']
)
def test_claude_codes_session_is_a_cache_key(user: str) -> None:
    """The session in Claude Code's user id becomes the cache key, unless the client has one of its own."""
    profile = Profile(user=False, cache_key=True)
    assert write_identity(ask(user=user), memo_of(ask()), profile) == {"prompt_cache_key": SESSION}
    assert write_identity(ask(user=user, cache_key="k"), memo_of(ask()), profile) == {"prompt_cache_key": "k"}


@pytest.mark.parametrize(
    ("user", "is_kept"),
    [
        ("user-17", True),
        ("u" * 256, True),
        ("u" * 257, False),
        ("jo@example.com", False),
        (" jo@example.com ", False),
        ("+49 (30) 123-4567", False),
        ("mail of jo@example.com", True),
        ("123456", True),
    ],
)
def test_anthropic_gets_no_personal_data_as_user(user: str, is_kept: bool) -> None:
    """Mail addresses, telephone numbers and long texts are hashed; an opaque id is sent unchanged."""
    assert opaque_user(user) == (user if is_kept else hashed(user))


def test_several_choices_are_refused() -> None:
    """One choice passes; two cannot be said, and the error names `n`."""
    check_single(ask(n=1))
    with pytest.raises(CannotSay) as caught:
        check_single(ask(n=2))
    assert caught.value.param == "n"


@pytest.mark.parametrize(
    ("verbosity", "is_taken", "members", "lost"),
    [
        (None, True, {}, []),
        ("low", True, {"verbosity": "low"}, []),
        ("medium", True, {"verbosity": "medium"}, []),
        ("medium", False, {}, []),
        ("high", False, {}, ["verbosity"]),
    ],
)
def test_verbosity(verbosity: str | None, is_taken: bool, members: dict[str, str], lost: list[str]) -> None:
    """Verbosity is sent where the model takes it; elsewhere all but the default is a loss."""
    memo = memo_of(ask())
    assert write_verbosity(ask(verbosity=verbosity), memo, Profile(verbosity=is_taken)) == members
    assert memo.drops.names == lost

"""The modes, and that each leaves undone what its page says."""

import pytest
from attrs import asdict

from gateway.proxy.plan.mode import FULL, MINIMAL, PASS_THROUGH, Mode


@pytest.mark.parametrize(
    ("mode", "name", "undone"),
    [
        (FULL, "full", set()),
        (MINIMAL, "min", {"injects", "forwards_betas", "takes_subscriptions"}),
        (PASS_THROUGH, "pt", {"chooses", "edits", "injects", "has_memory", "takes_subscriptions"}),
    ],
)
def test_what_a_mode_leaves_undone(mode: Mode, name: str, undone: set[str]) -> None:
    """The full mode does everything, each other one leaves exactly its own part undone."""
    flags = asdict(mode)
    assert flags.pop("name") == name
    assert {flag for flag, is_done in flags.items() if not is_done} == undone


def test_a_subscription_is_shown_the_usual_way_only() -> None:
    """No mode but the full one takes a subscription, and none injects what it may not edit."""
    assert [mode for mode in (FULL, MINIMAL, PASS_THROUGH) if mode.takes_subscriptions] == [FULL]
    assert all(mode.edits for mode in (FULL, MINIMAL, PASS_THROUGH) if mode.injects)

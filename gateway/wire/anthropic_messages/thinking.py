"""Reads and writes the reasoning controls of Messages: budgets, adaptive thinking, effort.

See docs/wire/requests.md#reasoning-controls.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.write_messages import has_open_call, thinks_before_open_call
from gateway.wire.codec.node import Node
from gateway.wire.neutral import Request, Role, Thinking
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.options import BUDGETS, budget_of, effort_of, is_off

MIN_BUDGET = 1024
_MODES = {"enabled": "budget", "disabled": "off", "adaptive": "adaptive", "between_tools": "between_tools"}
_INTERLEAVED = {"anthropic-beta": "interleaved-thinking-2025-05-14"}


@frozen
class Thought:
    """The members and headers to send.

    `is_on`: whether thinking is on, which limits sampling. `replays`: whether thoughts of the history may be
    sent back.
    """

    members: dict[str, Any] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    is_on: bool = False
    replays: bool = True


def read_thinking(node: Node) -> Thinking:
    """Read `thinking` and `output_config.effort`."""
    config, payload = node.node("output_config"), node.node("thinking")
    effort = config.text("effort") if config is not None else None
    if payload is None:
        return Thinking(effort=effort)
    kind = payload.needed_text("type")
    if kind not in _MODES:
        raise payload.refuse("type", f"'{payload.at('type')}' must be one of {', '.join(_MODES)}, not '{kind[:50]}'")
    return Thinking(_MODES[kind], effort, payload.whole("budget_tokens"), display=payload.text("display"))


def write_thinking(request: Request, tools: Mapping[str, Any], most: int, memo: Memo, profile: Profile) -> Thought:
    """Write `thinking` and `output_config.effort` in the form that the model takes; `most` is the output cap."""
    thinking = request.thinking
    if thinking.mode is None and thinking.effort is None:
        if thinking.summary not in (None, "auto"):
            memo.drops.add("reasoning.summary")
        return Thought(replays=profile.thinking in ("adaptive", "both", "always"))
    match profile.thinking:
        case "adaptive" | "both":
            return _adaptive(request, memo, profile)
        case "always":
            if is_off(thinking):
                memo.drops.add("thinking")
                return Thought(is_on=True)
            return Thought(_effort(thinking, memo, profile), is_on=True)
        case "budget":
            return _budget(request, tools, most, memo, profile)
        case _:
            if not is_off(thinking):
                memo.drops.add("thinking")
            return Thought(replays=False)


def _adaptive(request: Request, memo: Memo, profile: Profile) -> Thought:
    thinking = request.thinking
    if is_off(thinking):
        return Thought({"thinking": {"type": "disabled"}} if profile.can_disable_thinking else {}, replays=False)
    if thinking.mode is None and request.origin == NAME:
        return Thought(_effort(thinking, memo, profile))
    display = thinking.display or "summarized"
    return Thought(
        {"thinking": {"type": "adaptive", "display": display}, **_effort(thinking, memo, profile)}, is_on=True
    )


def _effort(thinking: Thinking, memo: Memo, profile: Profile) -> dict[str, Any]:
    effort = effort_of(thinking, profile, memo) if profile.efforts else None
    return {"output_config": {"effort": effort}} if effort and effort != "none" else {}


def _budget(request: Request, tools: Mapping[str, Any], most: int, memo: Memo, profile: Profile) -> Thought:
    """Write a thinking budget that is smaller than the output cap.

    Thinking is dropped if a tool is forced, if the last assistant turn has an open call but no thought that
    can be sent back, if the conversation ends with a prefill, or if the cap is too small for the least budget.
    """
    thinking = request.thinking
    if is_off(thinking) or (thinking.mode is None and request.origin == NAME):
        return Thought(replays=False)
    is_forced = tools.get("tool_choice", {}).get("type") in ("any", "tool")
    is_cut_off = has_open_call(request) and not thinks_before_open_call(request)
    budget = budget_of(thinking) or BUDGETS["medium"]
    is_prefilled = profile.prefill and bool(request.turns) and request.turns[-1].role is Role.ASSISTANT
    if is_forced or is_cut_off or is_prefilled or most <= MIN_BUDGET:
        memo.drops.add("thinking")
        return Thought(replays=False)
    if budget >= most:
        budget = most - max(256, most // 5)  # the rest is for the answer
    budget = min(max(MIN_BUDGET, budget), most - 1)
    members = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    return Thought(members, _INTERLEAVED if tools else {}, is_on=True)

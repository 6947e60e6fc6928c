"""What the writers of all dialects do with a request's tools before they write them."""

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.errors import BadRequest, CannotSay
from gateway.wire.neutral import Request, Tool, ToolCall, ToolChoice
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import Named
from gateway.wire.translation.tool_search import at_hand

MAX_TOOLS = 128
# The words of all dialects for how free the model is, as `mode` of a ToolChoice.
MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
CLIENT_KINDS = frozenset({"function", "custom"})
_NO_PROFILE = Profile()  # of a provider that runs no tools


def distinct(tools: Iterable[Tool]) -> list[Tool]:
    """Keep the later of two tools with the same name. A hosted tool and a client's tool are never the same."""

    def place(tool: Tool) -> tuple[Any, ...]:
        kind = "client" if tool.kind in CLIENT_KINDS else tool.kind
        return kind, tool.name, tool.namespace, (tool.raw or {}).get("server_label")

    return list({place(tool): tool for tool in tools}.values())


def offered(request: Request, memo: Memo, profile: Profile = _NO_PROFILE) -> Sequence[Tool]:
    """Return the tools to offer. A tool choice that allows only some of them narrows the list, and is noted as a loss.

    The names of all tools become known to the memo.
    """
    learn(request, memo)
    choice, tools = request.choice, at_hand(request, profile)
    if choice is None or choice.allowed is None:
        return tools
    memo.drops.add("tool_choice.allowed_tools")
    return [tool for tool in tools if tool.name in choice.allowed]


def learn(request: Request, memo: Memo) -> None:
    """Make the names of all tools, and of all calls in the history, known to the memo."""
    calls = (block for turn in request.turns for block in turn.blocks if isinstance(block, ToolCall))
    memo.names.learn(Named(tool.name, tool.namespace, tool.kind) for tool in request.tools if tool.kind in CLIENT_KINDS)
    memo.names.learn(Named(call.name, call.namespace, call.kind) for call in calls)


def is_offered(tool: Tool, request: Request, memo: Memo, profile: Profile) -> bool:
    """Return whether the provider runs a hosted tool; if not, note the tool as a loss.

    Raises CannotSay if the request forces the model to call a tool that the provider does not run.
    """
    if tool.kind in profile.hosted_tools:
        return True
    choice = request.choice
    if choice is not None and choice.mode == "named" and is_chosen(tool, choice):
        raise CannotSay(f"The tool '{tool.name}' cannot be offered to this model", param="tool_choice")
    memo.drops.add(f"tools.{tool.kind}")
    return False


def chosen(request: Request) -> Tool:
    """Return the tool that the choice names. Raises BadRequest if there is none."""
    assert request.choice is not None
    wanted = request.choice.name or ""
    found = next((tool for tool in request.tools if is_chosen(tool, request.choice)), None)
    if found is None:
        raise BadRequest(f"'tool_choice' names no tool of the request: '{wanted[:100]}'", param="tool_choice")
    return found


def chosen_name(request: Request, memo: Memo) -> str:
    """Return the name, as sent upstream, of the client's tool that the choice names. Raises BadRequest if none."""
    found = chosen(request)
    return memo.names.safe(found.name, found.namespace)


def is_chosen(tool: Tool, choice: ToolChoice) -> bool:
    """Return whether a choice means this tool, and not one of the same name that is run elsewhere."""
    is_hosted = tool.kind not in CLIENT_KINDS
    return is_named(tool, choice.name) and choice.is_hosted in (None, is_hosted)


def is_named(tool: Tool, wanted: str | None) -> bool:
    """Return whether a tool choice means this tool: by its name, or by its kind if the tool is hosted."""
    return tool.name == wanted or (tool.kind not in CLIENT_KINDS and tool.kind == wanted)


def check_number(written: Sequence[object]) -> None:
    """Raise CannotSay if there are more tools than OpenAI's dialects take."""
    if len(written) > MAX_TOOLS:
        raise CannotSay(f"{len(written)} tools are more than the {MAX_TOOLS} that this model takes", param="tools")


def check_forced(request: Request, has_any: bool) -> None:
    """Raise CannotSay if the model has to call a tool and none of the request's tools could be offered."""
    is_forced = request.choice is not None and request.choice.mode in ("required", "named")
    if is_forced and request.tools and not has_any:
        raise CannotSay("None of the tools can be offered to this model", param="tool_choice")

"""Messages requests: read from a client, written for an upstream (docs/wire/requests.md)."""

from typing import Any

from attrs import evolve

from gateway.errors import BadRequest, CannotSay
from gateway.wire.anthropic_messages.compaction import lost_edits, read_compaction
from gateway.wire.anthropic_messages.read_messages import NAME, read_messages, read_system
from gateway.wire.anthropic_messages.thinking import read_thinking, write_thinking
from gateway.wire.anthropic_messages.tool_changes import with_changes
from gateway.wire.anthropic_messages.tools import read_choice, read_tools, write_tools
from gateway.wire.anthropic_messages.write_messages import Conversation, write_conversation
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import Node, decode
from gateway.wire.neutral import Format, Request, Role, Sampling, Text
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import LONG_OUTPUT, NO_SAMPLING_SINCE, Memo, Setting, Written
from gateway.wire.translation.options import check_single, opaque_user, write_verbosity
from gateway.wire.translation.schema import (
    can_constrain,
    for_structured_output,
    json_instruction,
    tool_parameters,
    with_defs,
    without_root_ref,
    without_unions,
)
from gateway.wire.translation.stops import check_stops
from gateway.wire.translation.tool_search import settled

MAX_BREAKPOINTS = 4
STANDARD_OUTPUT = 32_000  # `max_tokens`, which Messages requires, if neither client nor profile sets it
# A tool that the model is forced to call: its arguments are the structured answer of models without JSON schemas.
ANSWER_TOOL = "json_response"
# OpenAI's tiers in Anthropic's words; the others are dropped.
_TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto", "fast": "auto", "ultrafast": "auto"}
_NO_VERBOSITY = Profile(verbosity=False)


def read_request(body: JsonBody) -> Request:
    """Read a Messages request. Raises BadRequest with the place, CannotSay for what no other dialect has."""
    node = Node(body.members)
    if node.has("thread"):
        raise CannotSay(
            "Message threads cannot be continued with this model: send the whole conversation",
            param="thread",
            code="thread_unsupported_request",
        )
    most = node.whole("max_tokens")
    if most is None:
        raise BadRequest("'max_tokens' is missing", param="max_tokens", code="missing_required_parameter")
    if most < 0:
        raise node.refuse("max_tokens", "'max_tokens' must not be negative")
    choice, parallel = read_choice(node)
    node.take("cache_control")  # caching without breakpoints: what other providers do by themselves
    tools, turns = with_changes(node, read_tools(node), read_messages(node))
    metadata, lost = node.node("metadata"), lost_edits(node)
    return Request(
        origin=NAME,
        model=node.text("model") or "",
        system=read_system(node),
        turns=turns,
        tools=settled(tools, turns, choice),
        choice=choice,
        parallel=parallel,
        max_output=most,
        sampling=Sampling(node.number("temperature"), node.number("top_p"), node.whole("top_k")),
        stops=_read_stops(node),
        format=_read_format(node),
        thinking=read_thinking(node),
        compaction=read_compaction(node),
        is_stream=bool(node.flag("stream")),
        user=metadata.text("user_id") if metadata is not None else None,
        tier=node.text("service_tier"),
        speed=node.text("speed"),
        extra=dict.fromkeys([*node.unread(), *lost]),
    )


def _read_stops(node: Node) -> list[str]:
    items = ((decode(raw, str, path, "a string")) for raw, path in node.items("stop_sequences"))
    stops = [stop for stop in items if stop]
    check_stops(stops, "stop_sequences")
    return stops


def _read_format(node: Node) -> Format:
    config = node.node("output_config")
    form = (config.node("format") if config is not None else None) or node.node("output_format")
    if form is None:
        return Format()
    if form.text("type") != "json_schema":
        raise form.refuse("type", f"'{form.at('type')}' must be json_schema")
    return Format("json_schema", schema=form.mapping("schema") or {})


def write_request(request: Request, setting: Setting, memo: Memo) -> Written:
    """Write a request for a Messages upstream. What it cannot say is noted in `memo.drops`, or raises CannotSay."""
    check_single(request)
    profile = setting.profile
    most = _max_tokens(request, memo, profile)
    members: dict[str, Any] = {"model": setting.model, "max_tokens": most}
    tools = write_tools(request, memo, profile)
    thought = write_thinking(request, tools, most, memo, profile)
    form = _write_format(request, tools, bool(thought.members.get("thinking")), memo, profile)
    if form.pop("instruct", False):
        request = evolve(request, system=[*request.system, _instruction(request.format)])
    tools = form.pop("tools", tools)
    payload = write_conversation(request, memo, profile, with_thoughts=thought.replays)
    if payload.system:
        members["system"] = payload.system
    members["messages"] = payload.messages
    if prefill := form.pop("prefill", ""):
        memo.prefill = prefill
        members["messages"].append({"role": "assistant", "content": [{"type": "text", "text": prefill}]})
    members |= tools
    members |= thought.members
    if form:
        members["output_config"] = {**members.get("output_config", {}), **form}
    members |= _write_sampling(request, setting, thought.is_on, memo)
    members |= _write_stops(request, memo)
    members |= _write_identity(request, memo)
    members |= _write_cache(request, payload, tools, memo, profile)
    is_long = (request.max_output or 0) > LONG_OUTPUT  # not `most`: a default does not announce a long output
    must_stream = not request.is_stream and (profile.stream_only or is_long)
    if request.is_stream or must_stream:
        members["stream"] = True
    _note_lost(request, memo)
    return Written(members, dict(thought.headers), must_stream)


def _max_tokens(request: Request, memo: Memo, profile: Profile) -> int:
    most = request.max_output
    if most is None:
        default = profile.default_max_output or STANDARD_OUTPUT
        return min(profile.max_output or default, default)
    if profile.max_output is not None and most > profile.max_output:
        memo.drops.add("max_tokens")
        return profile.max_output
    if most < 1:
        memo.drops.add("max_tokens")
    return max(1, most)


def _instruction(form: Format) -> Text:
    return Text(json_instruction(form))


def _write_format(
    request: Request, tools: dict[str, Any], thinks: bool, memo: Memo, profile: Profile
) -> dict[str, Any]:
    """Write structured output: by schema, by a forced tool on old models, else by an instruction.

    See docs/wire/requests.md#structured-output.

    Returns the members of `output_config`. `write_request` takes three others out of them: `instruct` (an
    instruction is added to the system texts), `prefill` (the beginning of the answer) and `tools` (the members that
    replace those of `write_tools`).
    """
    form = request.format
    if form.kind == "text":
        return {}
    own = with_defs(form.schema or {})
    if form.kind == "json_schema" and profile.json_schema:
        if can_constrain(own):
            if form.strict is False or form.description:
                memo.drops.add("response_format.strict")
            return {"format": {"type": "json_schema", "schema": for_structured_output(own)}}
        memo.drops.add("response_format.json_schema")
    own = without_root_ref(own)
    is_object = own.get("type", "object") == "object"
    if form.kind == "json_schema" and is_object and "named" in profile.tool_choice and not thinks and not tools:
        memo.forced_output = ANSWER_TOOL
        schema = tool_parameters(without_unions(own))
        tool = {"name": ANSWER_TOOL, "description": "Give the answer", "input_schema": schema}
        return {"tools": {"tools": [tool], "tool_choice": {"type": "tool", "name": ANSWER_TOOL}}}
    if form.kind == "json_schema":
        memo.drops.add("response_format.json_schema")
    is_asked = not request.turns or request.turns[-1].role is not Role.ASSISTANT
    can_prefill = profile.prefill and is_asked and not thinks and not tools
    return {"instruct": True} | ({"prefill": "{"} if can_prefill else {})


def _write_sampling(request: Request, setting: Setting, thinks: bool, memo: Memo) -> dict[str, Any]:
    """Write temperature, top_p and top_k if the model and the `anthropic-version` still take them.

    See docs/wire/requests.md#sampling.
    """
    sampling = request.sampling
    given = {
        name: value for name in ("temperature", "top_p", "top_k") if (value := getattr(sampling, name)) is not None
    }
    for name in ("presence_penalty", "frequency_penalty", "seed", "logit_bias", "logprobs", "top_logprobs"):
        if getattr(sampling, name) not in (None, False, 0):
            memo.drops.add(name)
    if not setting.profile.sampling or setting.version >= NO_SAMPLING_SINCE:
        lost = list(given)
    elif thinks:
        lost = [name for name, value in given.items() if not _is_taken_thinking(name, value)]
    else:
        lost = ["top_p"] if {"temperature", "top_p"} <= set(given) else []
    for name in lost:
        memo.drops.add(name)
        del given[name]
    if given.get("temperature", 0) > 1:
        memo.drops.add("temperature")
        given["temperature"] = 1.0
    return given


def _is_taken_thinking(name: str, value: float) -> bool:
    return (name == "temperature" and value == 1) or (name == "top_p" and 0.95 <= value <= 1)


def _write_stops(request: Request, memo: Memo) -> dict[str, Any]:
    """Write the stop sequences. Those of white space only, which Anthropic refuses, the gateway enforces itself.

    See docs/wire/requests.md#stop-sequences.
    """
    stops = [stop for stop in request.stops if stop.strip()]
    memo.stops = tuple(stop for stop in request.stops if stop and not stop.strip())
    return {"stop_sequences": stops} if stops else {}


def _write_identity(request: Request, memo: Memo) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if request.user is not None:
        members["metadata"] = {"user_id": opaque_user(request.user)}
    if request.tier is not None and request.tier not in ("auto", "standard_only"):
        if request.tier in _TIERS:
            members["service_tier"] = _TIERS[request.tier]
        else:
            memo.drops.add("service_tier")
    elif request.tier == "standard_only":
        members["service_tier"] = request.tier
    return members


def _write_cache(
    request: Request, payload: Conversation, tools: dict[str, Any], memo: Memo, profile: Profile
) -> dict[str, Any]:
    """Keep the last four cache breakpoints, as Anthropic takes no more (docs/wire/requests.md#prompt-caching).

    If there are none and the profile allows it, return a `cache_control` for the top of the request: Anthropic then
    sets a breakpoint itself.
    """
    marked = [tool for tool in tools.get("tools", ()) if "cache_control" in tool] + payload.marked
    if len(marked) > MAX_BREAKPOINTS:
        memo.drops.add("cache_control")
        for block in marked[:-MAX_BREAKPOINTS]:
            del block["cache_control"]
    if marked or not profile.auto_cache:
        return {}
    return {"cache_control": {"type": "ephemeral"}}


def _note_lost(request: Request, memo: Memo) -> None:
    """Note the members that Messages has no words for, and those that the reader of the request did not know."""
    write_verbosity(request, memo, _NO_VERBOSITY)
    if request.metadata is not None:
        memo.drops.add("metadata")
    for name in request.extra:
        memo.drops.add(name)

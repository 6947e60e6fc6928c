"""Chat requests: read from a client, written for an upstream (docs/wire/requests.md)."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import CannotSay
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.lenient import is_filled
from gateway.wire.codec.node import Node, decode
from gateway.wire.neutral import Format, Request, Sampling, Thinking
from gateway.wire.openai_chat.read_messages import read_messages
from gateway.wire.openai_chat.tools import NAME, read_choice, read_tools, write_tools
from gateway.wire.openai_chat.write_messages import write_messages
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import LONG_OUTPUT, Memo, Setting, Written
from gateway.wire.translation.names import shorten
from gateway.wire.translation.options import budget_of, effort_of, is_off, is_on, write_identity, write_verbosity
from gateway.wire.translation.schema import is_strict, json_instruction
from gateway.wire.translation.stops import check_stops

_THINKING = {"enabled": "auto", "disabled": "off", "adaptive": "adaptive", "auto": "auto"}
_BAD_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")


def read_request(body: JsonBody) -> Request:
    """Read a Chat request. Raises BadRequest with the place, CannotSay for what no other dialect has."""
    node = Node(body.members)
    modalities = node.value("modalities")
    if is_filled(node.value("audio")) or (isinstance(modalities, list) and "audio" in modalities):
        raise CannotSay("This model cannot answer with sound", param="modalities")
    system, turns = read_messages(node)
    options = node.node("stream_options")
    is_legacy = node.has("functions") and not node.has("tools")  # such a client can read only one call in a reply
    most, older = node.whole("max_completion_tokens"), node.whole("max_tokens")
    return Request(
        origin=NAME,
        model=node.text("model") or "",
        system=system,
        turns=turns,
        tools=read_tools(node),
        choice=read_choice(node),
        parallel=False if is_legacy else node.flag("parallel_tool_calls"),
        max_output=most if most is not None else older,
        sampling=_read_sampling(node),
        stops=_read_stops(node),
        format=_read_format(node),
        thinking=_read_thinking(node),
        is_stream=bool(node.flag("stream")),
        wants_usage=options is not None and bool(options.flag("include_usage")),
        n=_read_n(node),
        cache_key=node.text("prompt_cache_key"),
        user=node.text("safety_identifier") or node.text("user"),
        tier=node.text("service_tier"),
        verbosity=node.text("verbosity"),
        metadata=node.mapping("metadata") or None,
        is_legacy=is_legacy,
        extra=dict.fromkeys([*(["store"] if node.flag("store") else ()), *node.unread()]),
    )


def _read_sampling(node: Node) -> Sampling:
    top_logprobs = node.whole("top_logprobs")
    if top_logprobs is not None and not node.flag("logprobs"):
        raise node.refuse("top_logprobs", "'top_logprobs' needs 'logprobs' to be true")
    return Sampling(
        temperature=node.number("temperature"),
        top_p=node.number("top_p"),
        top_k=node.whole("top_k"),
        presence_penalty=node.number("presence_penalty"),
        frequency_penalty=node.number("frequency_penalty"),
        seed=node.whole("seed"),
        logit_bias=node.mapping("logit_bias") or None,
        logprobs=node.flag("logprobs"),
        top_logprobs=top_logprobs,
    )


def _read_n(node: Node) -> int:
    number = node.whole("n")
    if number is not None and number < 1:
        raise node.refuse("n", "'n' must be at least 1")
    return number or 1


def _read_stops(node: Node) -> list[str]:
    if node.kind("stop") == "a string":
        stops = [node.needed_text("stop")]
    else:
        stops = [decode(raw, str, path, "a string") for raw, path in node.items("stop")]
    check_stops(stops, "stop")
    return [stop for stop in stops if stop]


def _read_format(node: Node) -> Format:
    if (form := node.node("response_format")) is None:
        return Format()
    kind = form.needed_text("type")
    if kind != "json_schema":
        if kind not in ("text", "json_object"):
            raise form.refuse("type", f"'{form.at('type')}' must be text, json_object or json_schema")
        return Format(kind)
    inner = form.node("json_schema") or form
    name, schema = inner.text("name") or "output", inner.mapping("schema") or {}
    return Format(kind, name, inner.text("description"), schema, inner.flag("strict"))


def _read_thinking(node: Node) -> Thinking:
    """Read `reasoning_effort`, and the switches that clients of compatible servers send instead."""
    effort = node.text("reasoning_effort")
    mode, budget = None, node.whole("thinking_budget")
    if (reasoning := node.node("reasoning")) is not None:
        effort = effort or reasoning.text("effort")
        budget = budget if budget is not None else reasoning.whole("max_tokens")
        mode = {True: "auto", False: "off", None: None}[reasoning.flag("enabled")]
    if (thinking := node.node("thinking")) is not None:
        kind = thinking.text("type") or "enabled"
        if kind not in _THINKING:
            raise thinking.refuse("type", f"'{thinking.at('type')}' must be one of {', '.join(_THINKING)}")
        mode = _THINKING[kind]
        budget = thinking.whole("budget_tokens") or budget
    if (flag := node.flag("enable_thinking")) is not None:
        mode = "auto" if flag else "off"
    if effort == "none" or budget == 0:
        return Thinking("off")
    if budget is not None and mode != "off":
        mode = "budget"
    return Thinking(mode, effort, budget)


def write_request(request: Request, setting: Setting, memo: Memo) -> Written:
    """Write a request for a Chat upstream. What Chat cannot say is noted in `memo.drops`, or raises CannotSay."""
    profile = setting.profile
    tools = write_tools(request, memo, profile)  # first: the messages use the names that it sets
    members: dict[str, Any] = {"model": setting.model, "messages": write_messages(request, memo, profile)}
    most = request.max_output
    if most is not None and profile.max_output is not None and most > profile.max_output:
        most = profile.max_output
        memo.drops.add("max_tokens")
    if most is not None and most < 1:
        most = 1
        memo.drops.add("max_tokens")
    if most is not None:
        members[profile.token_field] = most
    members |= _write_sampling(request.sampling, memo, profile)
    members |= _write_stops(request.stops, memo, profile)
    must_stream = not request.is_stream and (profile.stream_only or (most or 0) > LONG_OUTPUT)
    if request.is_stream or must_stream:
        members["stream"] = True
        if profile.stream_options:
            padding = {"include_obfuscation": False} if profile.obfuscation else {}
            members["stream_options"] = {"include_usage": True, **padding}
    members |= tools
    members |= _write_format(request, members, memo, profile)
    members |= _write_thinking(request, memo, profile)
    members |= write_identity(request, memo, profile)
    members |= write_verbosity(request, memo, profile)
    for name in request.extra:
        memo.drops.add(name)
    return Written(members, must_stream=must_stream)


def _write_sampling(sampling: Sampling, memo: Memo, profile: Profile) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        if (value := getattr(sampling, name)) is not None:
            members |= _if_taken(profile.sampling, name, value, memo)
    if sampling.top_k is not None:
        members |= _if_taken(profile.sampling and profile.top_k, "top_k", sampling.top_k, memo)
    for name in ("presence_penalty", "frequency_penalty", "seed", "logit_bias", "logprobs", "top_logprobs"):
        if (value := getattr(sampling, name)) is not None:
            members |= _if_taken(profile.penalties, name, value, memo)
    return members


def _if_taken(is_taken: bool, name: str, value: Any, memo: Memo) -> dict[str, Any]:
    if is_taken:
        return {name: value}
    memo.drops.add(name)
    return {}


def _write_stops(stops: list[str], memo: Memo, profile: Profile) -> dict[str, Any]:
    """Send as many stop sequences as the upstream takes. `memo.stops` gets the others: the gateway enforces them."""
    memo.stops = tuple(stops[profile.stops :])
    return {"stop": stops[: profile.stops]} if stops and profile.stops else {}


def _write_format(request: Request, members: Mapping[str, Any], memo: Memo, profile: Profile) -> dict[str, Any]:
    form = request.format
    if form.kind == "text":
        return {}
    if form.kind == "json_schema" and profile.json_schema:
        schema = {
            "name": shorten(_BAD_IN_NAME.sub("_", form.name)) or "output",
            **({"description": form.description} if form.description else {}),
            "schema": form.schema,
            "strict": bool(form.strict if form.strict is not None else True) and is_strict(form.schema),
        }
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if form.kind == "json_schema":
        memo.drops.add("response_format.json_schema")
    payload = json_instruction(form)
    messages: list[dict[str, Any]] = members["messages"]
    role = "developer" if profile.developer_role else "system"
    if messages and messages[0]["role"] == role and isinstance(messages[0]["content"], str):
        messages[0]["content"] += "\n\n" + payload
    else:
        messages.insert(0, {"role": role, "content": payload})
    return {"response_format": {"type": "json_object"}} if profile.json_object else {}


def _write_thinking(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Write the reasoning setting into the member that the server has for it.

    See docs/wire/requests.md#reasoning-controls.
    """
    thinking = request.thinking
    if thinking.summary not in (None, "auto"):  # what the server shows of its reasoning is the summary
        memo.drops.add("reasoning.summary")
    if thinking.display == "omitted":
        memo.drops.add("thinking.display")
    if thinking.mode is None and thinking.effort is None:
        return {}
    off, effort = is_off(thinking), effort_of(thinking, profile, memo)
    match profile.knob:
        case "effort":
            return {"reasoning_effort": effort} if effort else {}
        case "thinking":
            switch: dict[str, Any] = {"thinking": {"type": "disabled" if off else "enabled"}}
            return switch | ({"reasoning_effort": effort} if effort and not off else {})
        case "enable_thinking":
            budget = budget_of(thinking)
            return {"enable_thinking": not off} | ({"thinking_budget": budget} if budget and not off else {})
        case "reasoning":
            if off:
                return {"reasoning": {"enabled": False}}
            if thinking.budget is not None and thinking.effort is None:
                return {"reasoning": {"max_tokens": thinking.budget}}
            return {"reasoning": {"effort": effort} if effort else {"enabled": True}}
        case "template":
            return {"chat_template_kwargs": {"enable_thinking": is_on(thinking)}}
        case _:
            memo.drops.add("thinking")
            return {}

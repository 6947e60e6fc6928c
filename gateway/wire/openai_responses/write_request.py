"""Writes requests for Responses upstreams; each holds the whole conversation."""

import re
from typing import Any

from gateway.wire.neutral import Format, Request
from gateway.wire.openai_responses.read_request import LOGPROBS
from gateway.wire.openai_responses.tools import write_tools
from gateway.wire.openai_responses.write_items import write_input
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import LONG_OUTPUT, Memo, Setting, Written
from gateway.wire.translation.names import shorten
from gateway.wire.translation.options import check_single, effort_of, write_identity, write_verbosity
from gateway.wire.translation.schema import is_strict

# OpenAI refuses a smaller `max_output_tokens`.
MIN_OUTPUT = 16
_BAD_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")


def write_request(request: Request, setting: Setting, memo: Memo) -> Written:
    """Write a request for a Responses upstream; losses are noted in `memo`. Raises CannotSay for what must not be lost.

    The provider stores nothing (`store: false`): every request holds the whole conversation, with the provider's
    encrypted reasoning in it.
    """
    check_single(request)
    profile = setting.profile
    tools = write_tools(request, memo, profile)  # first: this settles the names that the items use
    instructions, items = write_input(request, memo, profile)
    members: dict[str, Any] = {"model": setting.model}
    if instructions is not None:
        members["instructions"] = instructions
    wanted = [LOGPROBS] if request.sampling.logprobs and profile.penalties else []
    members |= {"input": items, "store": False, "include": ["reasoning.encrypted_content", *wanted]}
    most = _cap(request, memo, profile)
    if most is not None:
        members["max_output_tokens"] = most
    members |= tools
    members |= _write_sampling(request, memo, profile)
    members |= _write_text(request, memo, profile)
    members |= _write_reasoning(request, memo, profile)
    members |= write_identity(request, memo, profile)
    if request.metadata:
        members["metadata"] = request.metadata
    memo.stops = tuple(request.stops)  # Responses has none: the gateway looks for them in the reply
    must_stream = not request.is_stream and (most or 0) > LONG_OUTPUT
    if request.is_stream or must_stream:
        members["stream"] = True
        if profile.obfuscation:
            members["stream_options"] = {"include_obfuscation": False}
    for name in request.extra:
        memo.drops.add(name)
    return Written(members, must_stream=must_stream)


def _cap(request: Request, memo: Memo, profile: Profile) -> int | None:
    most = request.max_output
    if most is None:
        return None
    if profile.max_output is not None and most > profile.max_output:
        memo.drops.add("max_tokens")
        most = profile.max_output
    if most < MIN_OUTPUT:
        memo.drops.add("max_tokens")
    return max(MIN_OUTPUT, most)


def _write_sampling(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        value = getattr(request.sampling, name)
        if value is not None and profile.sampling:
            members[name] = value
        elif value is not None:
            memo.drops.add(name)
    lost = ["top_k", "presence_penalty", "frequency_penalty", "seed", "logit_bias"]
    if not profile.penalties:
        lost += ["logprobs", "top_logprobs"]
    elif request.sampling.top_logprobs:
        members["top_logprobs"] = request.sampling.top_logprobs
    for name in lost:
        if getattr(request.sampling, name) not in (None, False, 0):
            memo.drops.add(name)
    return members


def _write_text(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    text: dict[str, Any] = {}
    form = request.format
    if form.kind != "text":
        text["format"] = _write_format(form)
    text |= write_verbosity(request, memo, profile)
    return {"text": text} if text else {}


def _write_format(form: Format) -> dict[str, Any]:
    if form.kind != "json_schema":
        return {"type": form.kind}
    wants_strict = form.strict if form.strict is not None else True
    return {
        "type": "json_schema",
        "name": shorten(_BAD_IN_NAME.sub("_", form.name)) or "output",
        **({"description": form.description} if form.description else {}),
        "schema": form.schema,
        "strict": wants_strict and is_strict(form.schema),
    }


def _write_reasoning(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    thinking = request.thinking
    payload: dict[str, Any] = {}
    if thinking.mode is not None or thinking.effort is not None:
        if effort := effort_of(thinking, profile, memo):
            payload["effort"] = effort
        if thinking.mode != "off" and thinking.display != "omitted" and profile.reasoning_summary:
            payload["summary"] = thinking.summary or "auto"
    return {"reasoning": payload} if payload else {}

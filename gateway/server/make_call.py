"""Makes the model call of a request: finds the route of its model, and collects what dispatch needs."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from attrs import frozen
from multidict import CIMultiDictProxy

from gateway.config.fields import ANONYMOUS, Seconds
from gateway.errors import BadRequest, Forbidden, Refusal
from gateway.policy.routes import Resolved, check_access, may_use
from gateway.policy.sessions import named_session
from gateway.proxy.context import Endpoint, RequestContext
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.headers import forwarded_headers
from gateway.proxy.plan.source_request import NO_HISTORY, History, SourceRequest
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.proxy.trail import follow
from gateway.upstream.client import BEHIND, Deadline
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.codec.text import printable
from gateway.wire.dialect import Dialect

# Claude Code requests the long context of a model by this suffix of its name (docs/wire/http.md#model-names).
LONG_CONTEXT_SUFFIX = "[1m]"
_TOOLS = msgspec.json.Decoder(list[dict[str, Any]])
MAX_LOGGED = 100  # letters of a model's name that no route has, in the log
MAX_SESSION = 100  # letters of a session's name in the sums
MAX_NAME = 512  # letters in a model's name; Bedrock's longest are ARNs of some 200
# Headers in which the SDKs say how long they will wait, in seconds (docs/wire/http.md#headers-from-client-to-upstream).
CLIENT_DEADLINES = ("x-stainless-timeout", "x-stainless-read-timeout")


@frozen
class Wanted:
    """What a body requests: the model `name`, whose route is `resolved`; whether the long context, whether a stream."""

    resolved: Resolved
    name: str
    has_long_context: bool = False
    is_stream: bool = False


def resolve(request: web.Request, context: RequestContext, body: Body) -> Wanted:
    """Find the route of a body's model, and check that the key may use it. Raises Refusal."""
    given = _model_name(request, context, body)
    name, has_long_context = _long_context(given, context)
    is_stream = body.flag("stream")
    try:
        resolved = context.snapshot.table.resolve(name)
        check_access(resolved, context.owner.key if context.owner else None)
    except Refusal:
        context.exchange.note(asked=printable(name, MAX_LOGGED))
        raise
    _check_tools(context, body)
    context.exchange.resolve(resolved.alias, resolved.label, is_stream=is_stream)
    context.exchange.session = _session(request.headers, body)
    return Wanted(resolved, given, has_long_context, is_stream)


def make_call(
    request: web.Request,
    gateway: Gateway,
    context: RequestContext,
    dialect: Dialect,
    body: Body,
    wanted: Wanted,
    *,
    history: History = NO_HISTORY,
    recorder: ResponseRecorder | None = None,
    status: int = 200,
    headers: CIMultiDictProxy[str] | None = None,
) -> ModelCall:
    """Collect what dispatch needs to put a client's body to any target.

    `status` is that of a good answer; `headers` stand for the client's.
    """
    headers = request.headers if headers is None else headers
    server, resolved, mode = context.snapshot.config.server, wanted.resolved, context.endpoint.mode
    is_background = recorder is not None and recorder.is_background
    now = _came_in(gateway, context)
    client_limit = None if is_background else _client_limit(headers)  # a background run outlives its client
    first_byte, deadline = _bounds(context, client_limit, now, is_stream=wanted.is_stream)
    opening = _opening(context.endpoint, deadline, now)
    source = SourceRequest(
        dialect=dialect,
        body=body,
        asked=dialect.ask(body),
        id=context.exchange.id,
        now=int(gateway.clock.time()),
        monotonic=context.exchange.started,
        time=gateway.clock.time,
        owner=context.owner.name if context.owner is not None else ANONYMOUS,
        is_stream=wanted.is_stream or is_background,
        secret=gateway.secret,
        reasoning_memory=gateway.reasoning_memory,
        forwarded=forwarded_headers(headers, dialect, mode),
        mode=mode,
        refuses_losses=resolved.route.on_shed == "refuse",
        may_select=context.owner is None or context.owner.key.has_all_routes,
        wants_long_context=wanted.has_long_context and mode.forwards_betas,
        model=wanted.name,
        history=history,
    )
    commits = wanted.is_stream and not is_background and server.commit_after is not None
    return ModelCall(
        gateway=gateway,
        context=context,
        request=request,
        headers=headers,
        source=source,
        resolved=resolved,
        deadline=deadline if wanted.is_stream else opening,
        opening=opening,
        first_byte=first_byte,
        trail=follow(request, context.snapshot, context.exchange, gateway.loop_mark),
        commit_at=now + server.commit_after if commits and server.commit_after is not None else None,
        status=status,
        recorder=recorder,
    )


def _session(headers: Mapping[str, str], body: Body) -> str:
    """Return the conversation as the client names it, for the sums; empty if it does not."""
    named = named_session(headers, body) if isinstance(body, JsonBody) else None
    return printable(named[1], MAX_SESSION) if named is not None else ""


def _came_in(gateway: Gateway, context: RequestContext) -> float:
    """Return when the request came in, in loop time: reading its body was a part of its time."""
    return asyncio.get_running_loop().time() - (gateway.clock.monotonic() - context.exchange.started)


def _bounds(
    context: RequestContext, client_limit: Seconds | None, now: float, *, is_stream: bool
) -> tuple[Seconds | None, Deadline]:
    """Return the most seconds to the first byte, and when the call must be over (from `now`, loop time)."""
    first_byte, total = context.endpoint.first_byte, context.snapshot.config.server.timeouts.total
    if client_limit is None:
        return first_byte, Deadline(now + total, total)
    if abs(total - (client_limit - BEHIND)) < BEHIND:
        total = client_limit  # the same moment: the client's own timeout comes first
    first_byte = client_limit if first_byte is None else min(client_limit, first_byte)
    if is_stream or client_limit >= total:
        return first_byte, Deadline(now + total, total)
    return first_byte, Deadline(now + client_limit, client_limit, "the client's own timeout", is_clients=True)


def _check_tools(context: RequestContext, body: Body) -> None:
    """Raise Forbidden if a provider's tool names a model that the key may not use: a picture's, an adviser's."""
    key = context.owner.key if context.owner is not None else None
    if key is None or key.has_all_routes or not isinstance(body, JsonBody) or not body.has("tools"):
        return
    try:
        tools = _TOOLS.decode(body.members["tools"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # whoever reads the tools will say what is wrong
    for tool in tools:
        name = tool.get("model")
        if isinstance(name, str) and not may_use(key, name):
            raise Forbidden(f"This key may not use the model '{printable(name)}' of a tool", param="tools")


def _opening(endpoint: Endpoint, deadline: Deadline, now: float) -> Deadline:
    """Return when a reply of this path must have begun, with all attempts."""
    if endpoint.first_byte is None or now + endpoint.first_byte >= deadline.at:
        return deadline
    return Deadline(now + endpoint.first_byte, endpoint.first_byte, "nothing", is_clients=True)


def _model_name(request: web.Request, context: RequestContext, body: Body) -> str:
    """Return the body's model, else the path's deployment, else /chat's default. Raises BadRequest."""
    body.check_member("model")
    name = body.text("model") or request.match_info.get("deployment")
    if not name and context.endpoint.name == "chat":
        name = context.snapshot.config.defaults.chat_model
    if not name:
        raise BadRequest("'model' is missing", param="model", code="missing_required_parameter")
    if len(name) > MAX_NAME:
        raise BadRequest(f"'model' is longer than {MAX_NAME} characters", param="model", code="invalid_value")
    if not name.isprintable():
        raise BadRequest(
            "'model' must not contain characters that cannot be printed", param="model", code="invalid_value"
        )
    return name


def _long_context(name: str, context: RequestContext) -> tuple[str, bool]:
    """Take Claude Code's suffix off a model name, unless a route has that very name. Return whether it was there."""
    if name.endswith(LONG_CONTEXT_SUFFIX) and name not in context.snapshot.config.routes:
        return name.removesuffix(LONG_CONTEXT_SUFFIX), True
    return name, False


def _client_limit(headers: Mapping[str, str]) -> Seconds | None:
    """Return when to give up after the client has; None if it sends no timeout above 0 and below a million seconds."""
    for name in CLIENT_DEADLINES:
        text = headers.get(name)
        if text and text.replace(".", "", 1).isdecimal() and 0 < (seconds := float(text)) < 1e6:
            return Seconds(seconds + BEHIND)
    return None

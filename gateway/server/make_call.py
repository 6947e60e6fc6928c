"""From a request with its body to the one model call that dispatch puts to targets."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.config.schema import ANONYMOUS, Seconds
from gateway.errors import BadRequest
from gateway.policy.routes import Resolved, check_access
from gateway.proxy.context import RequestContext
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.headers import _forwarded
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.state import Gateway
from gateway.upstream.client import Deadline
from gateway.wire.codec.json_body import Body
from gateway.wire.dialect import Dialect

# The SDKs say here how long they will wait (TRANSLATION.md 2.5).
LONG_CONTEXT_SUFFIX = "[1m]"


MAX_NAME = 512  # letters in a model's name; Bedrock's longest are ARNs of some 200


CLIENT_DEADLINES = ("x-stainless-timeout", "x-stainless-read-timeout")


def resolve(request: web.Request, context: RequestContext, body: Body) -> tuple[Resolved, bool]:
    """Find the route of a body's model, and whether its name asks for the long context. Raises Refusal."""
    name, wants_long_context = _long_context(_model_name(request, context, body), context)
    resolved = context.snapshot.table.resolve(name)
    check_access(resolved, context.owner.key if context.owner else None)
    context.exchange.alias, context.exchange.label = resolved.alias, resolved.label
    return resolved, wants_long_context


def _model_name(request: web.Request, context: RequestContext, body: Body) -> str:
    """The body's model; without one the path's deployment, or /chat's default."""
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
    """Take Claude Code's suffix off a model name, unless a route is called so (TRANSLATION.md 2.7)."""
    if name.endswith(LONG_CONTEXT_SUFFIX) and name not in context.snapshot.config.routes:
        return name.removesuffix(LONG_CONTEXT_SUFFIX), True
    return name, False


def make_call(
    request: web.Request, gateway: Gateway, context: RequestContext, dialect: Dialect, body: Body, resolved: Resolved
) -> ModelCall:
    """Collect what dispatch needs to put a client's body to any target."""
    server = context.snapshot.config.server
    headers, is_stream = request.headers, context.exchange.is_stream
    now = asyncio.get_running_loop().time()
    first_byte, total = context.endpoint.first_byte, server.timeouts.total
    deadline = Deadline(now + total, total)
    client_limit = _client_limit(headers)
    if client_limit is not None:
        first_byte = client_limit if first_byte is None else min(client_limit, first_byte)
        if not is_stream and client_limit < total:
            deadline = Deadline(now + client_limit, client_limit, "the client's own timeout")
    source = SourceRequest(
        dialect=dialect,
        body=body,
        asked=dialect.ask(body),
        id=context.exchange.id,
        now=int(gateway.clock.time()),
        monotonic=context.exchange.started,
        time=gateway.clock.time,
        owner=context.owner.name if context.owner is not None else ANONYMOUS,
        is_stream=is_stream,
        secret=gateway.secret,
        reasoning_memory=gateway.reasoning_memory,
        forwarded=_forwarded(request, dialect, context.endpoint.mode),
        mode=context.endpoint.mode,
        refuses_losses=resolved.route.on_shed == "refuse",
        model=_echoed(request, body, resolved),
    )
    return ModelCall(
        gateway=gateway,
        context=context,
        request=request,
        source=source,
        resolved=resolved,
        deadline=deadline,
        first_byte=first_byte,
        commit_at=now + server.commit_after if is_stream and server.commit_after is not None else None,
    )


def _echoed(request: web.Request, body: Body, resolved: Resolved) -> str:
    """The model's name in translated replies: the one that the client has asked for."""
    return body.text("model") or request.match_info.get("deployment") or resolved.alias


def _client_limit(headers: Mapping[str, str]) -> Seconds | None:
    """The client's own timeout in seconds, when it tells a sane one."""
    for name in CLIENT_DEADLINES:
        text = headers.get(name)
        if text and text.replace(".", "", 1).isdecimal() and 0 < (seconds := float(text)) < 1e6:
            return Seconds(seconds)
    return None

"""From a request with its body to the one model call that dispatch puts to targets."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.config.schema import ANONYMOUS, Seconds
from gateway.errors import BadRequest
from gateway.policy.routes import Resolved, check_access
from gateway.proxy.context import Visit
from gateway.proxy.model_call import Inquiry
from gateway.proxy.plan.headers import _forwarded
from gateway.proxy.plan.source_request import Question
from gateway.proxy.state import Gateway
from gateway.upstream.client import Deadline
from gateway.wire.codec.json_body import Body
from gateway.wire.dialect import Dialect

# The SDKs say here how long they will wait (TRANSLATION.md 2.5).
LONG_CONTEXT_SUFFIX = "[1m]"


MOST_NAME = 512  # letters in a model's name; Bedrock's longest are ARNs of some 200


CLIENT_DEADLINES = ("x-stainless-timeout", "x-stainless-read-timeout")


def resolve(request: web.Request, visit: Visit, body: Body) -> tuple[Resolved, bool]:
    """Find the route of a body's model, and whether its name asks for the long context. Raises Refusal."""
    name, wants_long_context = _long_context(_model_name(request, visit, body), visit)
    resolved = visit.snapshot.table.resolve(name)
    check_access(resolved, visit.owner.key if visit.owner else None)
    visit.exchange.alias, visit.exchange.label = resolved.alias, resolved.label
    return resolved, wants_long_context


def _model_name(request: web.Request, visit: Visit, body: Body) -> str:
    """The body's model; without one the path's deployment, or /chat's default."""
    name = body.text("model") or request.match_info.get("deployment")
    if not name and visit.endpoint.name == "chat":
        name = visit.snapshot.config.defaults.chat_model
    if not name:
        raise BadRequest("'model' is missing", param="model", code="missing_required_parameter")
    if len(name) > MOST_NAME:
        raise BadRequest(f"'model' is longer than {MOST_NAME} characters", param="model", code="invalid_value")
    if not name.isprintable():
        raise BadRequest(
            "'model' must not contain characters that cannot be printed", param="model", code="invalid_value"
        )
    return name


def _long_context(name: str, visit: Visit) -> tuple[str, bool]:
    """Take Claude Code's suffix off a model name, unless a route is called so (TRANSLATION.md 2.7)."""
    if name.endswith(LONG_CONTEXT_SUFFIX) and name not in visit.snapshot.config.routes:
        return name.removesuffix(LONG_CONTEXT_SUFFIX), True
    return name, False


def make_inquiry(
    request: web.Request, gateway: Gateway, visit: Visit, dialect: Dialect, body: Body, resolved: Resolved
) -> Inquiry:
    """Collect what dispatch needs to put a client's body to any target."""
    server = visit.snapshot.config.server
    headers, is_stream = request.headers, visit.exchange.is_stream
    now = asyncio.get_running_loop().time()
    first_byte, total = visit.endpoint.first_byte, server.timeouts.total
    deadline = Deadline(now + total, total)
    client_limit = _client_limit(headers)
    if client_limit is not None:
        first_byte = client_limit if first_byte is None else min(client_limit, first_byte)
        if not is_stream and client_limit < total:
            deadline = Deadline(now + client_limit, client_limit, "the client's own timeout")
    question = Question(
        dialect=dialect,
        body=body,
        asked=dialect.ask(body),
        id=visit.exchange.id,
        now=int(gateway.clock.time()),
        monotonic=visit.exchange.started,
        time=gateway.clock.time,
        owner=visit.owner.name if visit.owner is not None else ANONYMOUS,
        is_stream=is_stream,
        secret=gateway.secret,
        recall=gateway.recall,
        forwarded=_forwarded(request, dialect, visit.endpoint.mode),
        mode=visit.endpoint.mode,
        refuses_shed=resolved.route.on_shed == "refuse",
        model=_echoed(request, body, resolved),
    )
    return Inquiry(
        gateway=gateway,
        visit=visit,
        request=request,
        question=question,
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

"""All calls that are put to a model: reads the body, resolves the model, hands over to dispatch."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.attempt import Inquiry, printable
from gateway.config import Seconds
from gateway.dispatch import Dispatch
from gateway.errors import BadRequest
from gateway.handlers.bodies import read_body
from gateway.parts import GATEWAY, VISIT, Gateway, Visit
from gateway.routing import Resolved, check_access
from gateway.upstream import Deadline
from gateway.wire.dialect import Dialect
from gateway.wire.json_body import Body

# The SDKs say here how long they will wait (TRANSLATION.md 2.5).
CLIENT_DEADLINES = ("x-stainless-timeout", "x-stainless-read-timeout")


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one model call."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    body = await read_body(request, visit.endpoint.most_body or server.max_body, server.timeouts.body)
    resolved = visit.snapshot.table.resolve(_model_name(request, visit, body))
    check_access(resolved, visit.owner.key if visit.owner else None)
    visit.exchange.alias, visit.exchange.label = resolved.alias, resolved.label
    visit.exchange.is_stream = body.flag("stream")
    inquiry = make_inquiry(request, gateway, visit, visit.endpoint.dialect, body, resolved)
    return await Dispatch(inquiry).run()


def _model_name(request: web.Request, visit: Visit, body: Body) -> str:
    """The body's model; without one the path's deployment, or /chat's default."""
    name = body.text("model") or request.match_info.get("deployment")
    if not name and visit.endpoint.name == "chat":
        name = visit.snapshot.config.defaults.chat_model
    if not name:
        raise BadRequest("'model' is missing", param="model", code="missing_required_parameter")
    return name


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
    return Inquiry(
        gateway=gateway,
        visit=visit,
        request=request,
        dialect=dialect,
        body=body,
        resolved=resolved,
        is_stream=is_stream,
        asked=dialect.ask(body),
        deadline=deadline,
        forwarded={name: printable(headers[name]) for name in dialect.forwards if name in headers},
        first_byte=first_byte,
        commit_at=now + server.commit_after if is_stream and server.commit_after is not None else None,
    )


def _client_limit(headers: Mapping[str, str]) -> Seconds | None:
    """The client's own timeout in seconds, when it tells a sane one."""
    for name in CLIENT_DEADLINES:
        text = headers.get(name)
        if text and text.replace(".", "", 1).isdecimal() and 0 < (seconds := float(text)) < 1e6:
            return Seconds(seconds)
    return None

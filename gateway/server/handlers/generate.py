"""All calls that are put to a model: reads the body, resolves the model, hands over to dispatch."""

from aiohttp import web

from gateway.proxy.context import VISIT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import read_body, read_json_body
from gateway.server.make_call import make_inquiry, resolve
from gateway.wire import CHAT_WITH_INPUT
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.openai_chat import OPENAI_CHAT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one model call."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    read = read_json_body if visit.endpoint.dialect.client is not None else read_body
    body: Body = await read(request, visit.endpoint.most_body or server.max_body, server.timeouts.body)
    resolved, wants_long_context = resolve(request, visit, body)
    visit.exchange.is_stream = body.flag("stream")
    dialect = visit.endpoint.dialect
    if dialect is OPENAI_CHAT and isinstance(body, JsonBody) and body.has("input") and not body.has("messages"):
        dialect = CHAT_WITH_INPUT
    inquiry = make_inquiry(request, gateway, visit, dialect, body, resolved)
    inquiry.question.wants_long_context = wants_long_context
    return await Dispatch(inquiry).run()

"""All calls that are put to a model: reads the body, resolves the model, hands over to dispatch."""

from aiohttp import web

from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import read_body, read_json_body
from gateway.server.make_call import make_call, resolve
from gateway.wire import CHAT_WITH_INPUT
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.openai_chat import OPENAI_CHAT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one model call."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    server = context.snapshot.config.server
    read = read_json_body if context.endpoint.dialect.client is not None else read_body
    body: Body = await read(request, context.endpoint.most_body or server.max_body, server.timeouts.body)
    resolved, wants_long_context = resolve(request, context, body)
    context.exchange.is_stream = body.flag("stream")
    dialect = context.endpoint.dialect
    if dialect is OPENAI_CHAT and isinstance(body, JsonBody) and body.has("input") and not body.has("messages"):
        dialect = CHAT_WITH_INPUT
    call = make_call(request, gateway, context, dialect, body, resolved)
    call.source.wants_long_context = wants_long_context
    return await Dispatch(call).run()

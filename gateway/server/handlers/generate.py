"""Answers every path where a model writes, except those of Responses, which are stored."""

from aiohttp import web

from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.reserve import must_reserve, reserve
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import client_body, client_json
from gateway.server.make_call import make_call, resolve
from gateway.wire import CHAT_WITH_INPUT
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.openai_chat import OPENAI_CHAT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one model call."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    dialect = context.endpoint.dialect
    body: Body = await (client_json if dialect.client is not None else client_body)(request)
    wanted = resolve(request, context, body)
    if dialect is OPENAI_CHAT and isinstance(body, JsonBody) and body.has("input") and not body.has("messages"):
        dialect = CHAT_WITH_INPUT
    call = make_call(request, gateway, context, dialect, body, wanted)
    if must_reserve(call):
        await reserve(call)
    return await Dispatch(call).run()

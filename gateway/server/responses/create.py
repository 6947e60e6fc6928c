"""`POST /v1/responses` and its neighbours: join a request with the stored conversation, answer it, store it."""

from aiohttp import web

from gateway.errors import UpgradeRequired
from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.reserve import reserve
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import client_json
from gateway.server.make_call import make_call, resolve
from gateway.server.responses.background import RUNS
from gateway.server.responses.conversation import prepare_or_pass
from gateway.server.responses.stored import follow_run
from gateway.wire.codec.node import Node
from gateway.wire.openai_responses.other_endpoints import COMPACT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one call, and store the response. Under /pt the gateway stores nothing: that is left to the provider."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    config, endpoint = context.snapshot.config, context.endpoint
    body = await client_json(request)
    wanted = resolve(request, context, body)
    prepared = await prepare_or_pass(gateway, context, body)
    call = make_call(
        request,
        gateway,
        context,
        endpoint.dialect,
        prepared.body,
        wanted,
        history=prepared.history,
        recorder=prepared.recorder,
        status=config.compat.responses_created_status,
    )
    await reserve(call)
    if prepared.recorder is None or not prepared.recorder.is_background:
        return await Dispatch(call).run()
    members = prepared.body.members
    echo = {name: Node(members).value(name) for name in members if name != "input"}
    run = await request.app[RUNS].begin(call, prepared.recorder, echo)
    if wanted.is_stream:
        return await follow_run(request, run, after=-1, status=call.status)
    context.exchange.step(Step.ANSWER)
    return web.Response(status=call.status, body=run.body, content_type="application/json")


async def compact(request: web.Request) -> web.StreamResponse:
    """Shorten a conversation, stored turns included: by a provider that can, else by a summary of the target's."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    body = await client_json(request)
    wanted = resolve(request, context, body)
    prepared = await prepare_or_pass(gateway, context, body, may_store=False)
    call = make_call(request, gateway, context, COMPACT, prepared.body, wanted, history=prepared.history)
    await reserve(call)
    return await Dispatch(call).run()


async def refuse_websocket(request: web.Request) -> web.Response:
    """GET /v1/responses: Codex asks for a WebSocket here; any clean refusal makes it use POST."""
    raise UpgradeRequired("Responses are served over HTTP here: POST to this path")

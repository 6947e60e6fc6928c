"""`POST /v1/responses`, and what stands around it."""

from aiohttp import web

from gateway.errors import BadRequest, UpgradeRequired
from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import read_json_body
from gateway.server.make_call import make_call, resolve
from gateway.server.responses.background import RUNS
from gateway.server.responses.conversation import Prepared, prepare
from gateway.server.responses.stored import follow_run
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import Node
from gateway.wire.openai_responses.other_endpoints import COMPACT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one call, with what is stored before it, and store the answer. Under /pt the provider does all that."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    server = context.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, wants_long_context = resolve(request, context, body)
    context.exchange.is_stream = body.flag("stream")
    is_ours = context.endpoint.mode != "pt"
    prepared = await prepare(gateway, context, body) if is_ours else Prepared(body)
    call = make_call(request, gateway, context, context.endpoint.dialect, prepared.body, resolved)
    call.source.wants_long_context = wants_long_context
    call.status = context.snapshot.config.compat.responses_created_status
    call.recorder, call.source.past = prepared.recorder, prepared.past
    if prepared.recorder is not None and prepared.recorder.is_background:
        return await _begin(request, call, prepared.recorder, prepared.body)
    return await Dispatch(call).run()


async def compact(request: web.Request) -> web.StreamResponse:
    """Have a conversation made short by a provider that can; what is stored of it is joined before."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    server = context.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, _ = resolve(request, context, body)
    providers = [context.snapshot.config.providers[target.provider] for target in resolved.route.targets]
    if not any(COMPACT.name in provider.speaks for provider in providers):
        raise BadRequest(f"No provider of '{resolved.alias}' can compact conversations", code="unsupported")
    is_ours = context.endpoint.mode != "pt"
    prepared = await prepare(gateway, context, body, may_store=False) if is_ours else Prepared(body)
    call = make_call(request, gateway, context, COMPACT, prepared.body, resolved)
    call.source.past = prepared.past
    return await Dispatch(call).run()


async def _begin(
    request: web.Request, call: ModelCall, recorder: ResponseRecorder, body: JsonBody
) -> web.StreamResponse:
    """Let a response run on in the background: answer with it as it is queued, or stream what it says."""
    context = request[CONTEXT]
    is_stream, call.source.is_stream = context.exchange.is_stream, True
    echo = {name: Node(body.members).value(name) for name in body.members if name != "input"}
    run = await request.app[RUNS].begin(call, recorder, echo)
    if is_stream:
        return await follow_run(request, run, after=-1, status=call.status)
    context.exchange.step(Step.ANSWER)
    return web.Response(status=call.status, body=run.body, content_type="application/json")


async def refuse_websocket(request: web.Request) -> web.Response:
    """GET /v1/responses: Codex asks for a WebSocket here; any clean refusal makes it use POST."""
    raise UpgradeRequired("Responses are served over HTTP here: POST to this path")

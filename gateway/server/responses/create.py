"""`POST /v1/responses`, and what stands around it."""

from aiohttp import web

from gateway.errors import BadRequest, UpgradeRequired
from gateway.proxy.context import VISIT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import Inquiry
from gateway.proxy.response_recorder import Keeping
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import read_json_body
from gateway.server.make_call import make_inquiry, resolve
from gateway.server.responses.background import RUNS
from gateway.server.responses.conversation import Prepared, prepare
from gateway.server.responses.stored import tell_run
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import Node
from gateway.wire.openai_responses.other_endpoints import COMPACT


async def create(request: web.Request) -> web.StreamResponse:
    """Answer one call, with what is stored before it, and store the answer. Under /pt the provider does all that."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, wants_long_context = resolve(request, visit, body)
    visit.exchange.is_stream = body.flag("stream")
    is_ours = visit.endpoint.mode != "pt"
    prepared = await prepare(gateway, visit, body) if is_ours else Prepared(body)
    inquiry = make_inquiry(request, gateway, visit, visit.endpoint.dialect, prepared.body, resolved)
    inquiry.question.wants_long_context = wants_long_context
    inquiry.status = visit.snapshot.config.compat.responses_created_status
    inquiry.keeping, inquiry.question.past = prepared.keeping, prepared.past
    if prepared.keeping is not None and prepared.keeping.is_background:
        return await _begin(request, inquiry, prepared.keeping, prepared.body)
    return await Dispatch(inquiry).run()


async def compact(request: web.Request) -> web.StreamResponse:
    """Have a conversation made short by a provider that can; what is stored of it is joined before."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, _ = resolve(request, visit, body)
    providers = [visit.snapshot.config.providers[target.provider] for target in resolved.route.targets]
    if not any(COMPACT.name in provider.speaks for provider in providers):
        raise BadRequest(f"No provider of '{resolved.alias}' can compact conversations", code="unsupported")
    is_ours = visit.endpoint.mode != "pt"
    prepared = await prepare(gateway, visit, body, may_store=False) if is_ours else Prepared(body)
    inquiry = make_inquiry(request, gateway, visit, COMPACT, prepared.body, resolved)
    inquiry.question.past = prepared.past
    return await Dispatch(inquiry).run()


async def _begin(request: web.Request, inquiry: Inquiry, keeping: Keeping, body: JsonBody) -> web.StreamResponse:
    """Let a response run on in the background: answer with it as it is queued, or stream what it says."""
    visit = request[VISIT]
    is_stream, inquiry.question.is_stream = visit.exchange.is_stream, True
    echo = {name: Node(body.members).value(name) for name in body.members if name != "input"}
    run = await request.app[RUNS].begin(inquiry, keeping, echo)
    if is_stream:
        return await tell_run(request, run, after=-1, status=inquiry.status)
    visit.exchange.step(Step.ESTIMATE)
    return web.Response(status=inquiry.status, body=run.body, content_type="application/json")


async def refuse_websocket(request: web.Request) -> web.Response:
    """GET /v1/responses: Codex asks for a WebSocket here; any clean refusal makes it use POST."""
    raise UpgradeRequired("Responses are served over HTTP here: POST to this path")

"""Counts of tokens: by the first target where it can, in its own dialect; else estimated here. Never a 5xx."""

import asyncio
from concurrent.futures import BrokenExecutor

from aiohttp import web
from attrs import evolve

from gateway.errors import Fault, GatewayError, UpstreamFault
from gateway.policy.routes import Resolved
from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.plan.choose import spoken
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.bodies import read_json_body
from gateway.server.make_call import make_call, resolve
from gateway.server.responses.conversation import Prepared, prepare
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.codec.text import printable
from gateway.wire.dialect import Dialect
from gateway.wire.neutral import Reply, Request, Stop, StopReason, Usage
from gateway.wire.openai_responses.other_endpoints import INPUT_TOKENS
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.tokens import countable

# Longer texts are counted in a thread, so that the loop never stops for them.
LONG_TEXT = 200_000


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """Answer an Anthropic client. Raises BadRequest for a body that is no Messages request."""
    context = request[CONTEXT]
    server = context.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, _ = resolve(request, context, body)
    return await _count(request, COUNT_TOKENS, Prepared(body), resolved)


async def count_input(request: web.Request) -> web.StreamResponse:
    """Answer an OpenAI client; what is stored before its input counts as well. Raises BadRequest."""
    context = request[CONTEXT]
    server = context.snapshot.config.server
    body = await read_json_body(request, server.max_body, server.timeouts.body)
    resolved, _ = resolve(request, context, body)
    is_ours = context.endpoint.mode != "pt"
    prepared = await prepare(request.app[GATEWAY], context, body, may_store=False) if is_ours else Prepared(body)
    return await _count(request, INPUT_TOKENS, prepared, resolved)


async def _count(request: web.Request, dialect: Dialect, prepared: Prepared, resolved: Resolved) -> web.StreamResponse:
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    first = resolved.route.targets[0]
    provider = context.snapshot.config.providers[first.provider]
    if spoken(dialect, provider, context.endpoint.mode) is not None:
        only = evolve(resolved, route=evolve(resolved.route, targets=(first,), context_fallback=()))
        if (answer := await _forward(request, dialect, prepared, only)) is not None:
            return answer
    assert dialect.client is not None
    asked = dialect.client.read_request(prepared.body)
    estimate = Usage(await _estimate(gateway, asked), is_estimated=True)
    context.exchange.step(Step.ANSWER)
    memo = Memo(asked, context.exchange.id, 0, Sealer(b"", ""))
    payload = dialect.client.write_reply(Reply("", "", (), Stop(StopReason.END), estimate), memo)
    headers = {"x-gateway-usage": "estimated", "x-gateway-model": printable(first.model or "")}
    return web.Response(body=payload, content_type="application/json", headers=headers)


async def _forward(
    request: web.Request, dialect: Dialect, prepared: Prepared, resolved: Resolved
) -> web.StreamResponse | None:
    """The provider's own count; None when it fails for a reason that is not the request's."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    call = make_call(request, gateway, context, dialect, prepared.body, resolved)
    call.source.past = prepared.past
    try:
        return await Dispatch(call).run()
    except UpstreamFault as error:
        if error.fault in (Fault.CALLER, Fault.TOO_LONG):
            raise
    except GatewayError as error:
        if error.status < 500:
            raise
    context.exchange.error = None
    return None


async def _estimate(gateway: Gateway, request: Request) -> int:
    """The input tokens of a request: by vocabulary where one is installed, else by kinds of characters."""
    found = countable(request)
    if gateway.tokenizer is not None:
        try:
            counted = await gateway.tokenizer.count(found.texts)
        except (OSError, BrokenExecutor):
            gateway.logs.log.warning("the tokenizer's process failed: counting without it")
            gateway.tokenizer = None
        else:
            return found.tokens(counted)
    if sum(map(len, found.texts)) > LONG_TEXT:
        return await asyncio.to_thread(found.tokens)
    return found.tokens()

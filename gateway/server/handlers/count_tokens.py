"""Counts input tokens: the first target does if it can, else they are estimated here.

If that target's provider fails, the tokens are estimated as well.
"""

from concurrent.futures import BrokenExecutor

from aiohttp import web
from attrs import evolve

from gateway.errors import GatewayError, RateLimited, UpstreamFault
from gateway.faults import Fault
from gateway.proxy.context import CONTEXT
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.off_loop import off_loop
from gateway.proxy.plan.choose import upstream_dialect
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.bodies import client_json
from gateway.server.make_call import Wanted, make_call, resolve
from gateway.server.responses.conversation import Prepared, prepare_or_pass
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.codec.text import printable
from gateway.wire.dialect import Dialect
from gateway.wire.neutral import Request
from gateway.wire.openai_responses.other_endpoints import INPUT_TOKENS
from gateway.wire.translation.tokens import countable


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """Answer an Anthropic client. Raises BadRequest if the body is not a valid Messages request."""
    context = request[CONTEXT]
    body = await client_json(request)
    return await _count(request, COUNT_TOKENS, Prepared(body), resolve(request, context, body))


async def count_input(request: web.Request) -> web.StreamResponse:
    """Answer an OpenAI client; the stored conversation before its input counts as well. Raises BadRequest."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    body = await client_json(request)
    wanted = resolve(request, context, body)
    prepared = await prepare_or_pass(gateway, context, body, may_store=False)
    return await _count(request, INPUT_TOKENS, prepared, wanted)


async def _count(request: web.Request, dialect: Dialect, prepared: Prepared, wanted: Wanted) -> web.StreamResponse:
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    route = wanted.resolved.route
    first = route.targets[0]
    provider = context.snapshot.config.providers[first.provider]
    alone = evolve(wanted.resolved, route=evolve(route, targets=(first,), context_fallback=()))
    alone_wanted = evolve(wanted, resolved=alone)
    call = make_call(request, gateway, context, dialect, prepared.body, alone_wanted, history=prepared.history)
    if upstream_dialect(dialect, provider) is not None and (answer := await _forward(call)) is not None:
        return answer
    assert dialect.write_count is not None
    asked = await off_loop(prepared.body.size, call.source.request)
    factor = context.snapshot.capabilities.profile(provider, first.model or asked.model).token_factor
    tokens = await _estimate(gateway, asked, factor, prepared.body.size)
    context.exchange.step(Step.ANSWER)
    headers = {"x-gateway-usage": "estimated", "x-gateway-model": printable(first.model or "")}
    return web.Response(body=dialect.write_count(tokens), content_type="application/json", headers=headers)


async def _forward(call: ModelCall) -> web.StreamResponse | None:
    """Return the provider's own count; None if the provider fails. Raises GatewayError if the request is at fault."""
    try:
        return await Dispatch(call).answer()
    except GatewayError as error:
        is_callers = isinstance(error, UpstreamFault) and error.fault in (Fault.CALLER, Fault.TOO_LONG)
        if (
            error.status >= 500
            or isinstance(error, RateLimited)
            or (isinstance(error, UpstreamFault) and not is_callers)
        ):
            return None
        call.context.exchange.step(Step.GIVE_UP)
        raise


async def _estimate(gateway: Gateway, request: Request, factor: float, size: int) -> int:
    """Estimate the input tokens of a request: with the tokenizer if it is installed, else by kinds of characters.

    `factor` is that of the model's vocabulary, `size` that of the body in bytes.
    """
    found = await off_loop(size, countable, request)
    if gateway.tokenizer is not None:
        try:
            counted = await gateway.tokenizer.count(found.texts)
        except (OSError, BrokenExecutor):
            gateway.telemetry.logs.log.warning("the tokenizer's process failed: counting without it")
            gateway.tokenizer = None
        else:
            return found.tokens(factor, counted)
    return await off_loop(sum(map(len, found.texts)), found.tokens, factor)

"""`/v1/messages/count_tokens`: counted by the first target where it can, else estimated here; never a 5xx."""

import asyncio
from concurrent.futures import BrokenExecutor

import msgspec
from aiohttp import web
from attrs import evolve

from gateway.attempt import printable
from gateway.dispatch import Dispatch
from gateway.errors import Fault, GatewayError, UpstreamFault
from gateway.exchange import Step
from gateway.handlers.bodies import read_body
from gateway.handlers.generate import make_inquiry, resolve
from gateway.parts import GATEWAY, VISIT, Gateway, Visit
from gateway.routing import Resolved
from gateway.wire.anthropic_messages import COUNT_TOKENS, read_request
from gateway.wire.json_body import JsonBody
from gateway.wire.neutral import Request
from gateway.wire.tokens import countable

# Longer texts are counted in a thread, so that the loop never stops for them.
LONG_TEXT = 200_000


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """Answer {"input_tokens": n}. Raises BadRequest for a body that is no Messages request."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    body = await read_body(request, server.max_body, server.timeouts.body)
    resolved, _ = resolve(request, visit, body)
    first = resolved.route.targets[0]
    if COUNT_TOKENS.name in visit.snapshot.config.providers[first.provider].speaks:
        only = evolve(resolved, route=evolve(resolved.route, targets=(first,), context_fallback=()))
        if (answer := await _forward(request, gateway, visit, body, only)) is not None:
            return answer
    tokens = await _estimate(gateway, body)
    visit.exchange.step(Step.ESTIMATE)
    headers = {"x-gateway-usage": "estimated", "x-gateway-model": printable(first.model or "")}
    answer = web.Response(body=msgspec.json.encode({"input_tokens": tokens}), content_type="application/json")
    answer.headers.update(headers)
    return answer


async def _forward(
    request: web.Request, gateway: Gateway, visit: Visit, body: object, resolved: Resolved
) -> web.StreamResponse | None:
    """The provider's own count; None when it fails for a reason that is not the request's."""
    assert isinstance(body, JsonBody)
    inquiry = make_inquiry(request, gateway, visit, COUNT_TOKENS, body, resolved)
    try:
        return await Dispatch(inquiry).run()
    except UpstreamFault as error:
        if error.fault in (Fault.CALLER, Fault.TOO_LONG):
            raise
    except GatewayError as error:
        if error.status < 500:
            raise
    visit.exchange.error = None
    return None


async def _estimate(gateway: Gateway, body: object) -> int:
    assert isinstance(body, JsonBody)
    members = body.members if body.has("max_tokens") else body.members | {"max_tokens": msgspec.Raw(b"1")}
    return await estimate_input(gateway, read_request(JsonBody(dict(members))))


async def estimate_input(gateway: Gateway, request: Request) -> int:
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

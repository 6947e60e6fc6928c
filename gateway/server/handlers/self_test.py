"""`/test-connection`: sends a provider one tiny request, to test the way from end to end."""

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web
from attrs import define, field
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.accounts.limits import Limited
from gateway.clock import write_time
from gateway.errors import GatewayError
from gateway.policy.routes import check_access
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Step
from gateway.proxy.reserve import reserve
from gateway.proxy.state import GATEWAY, Gateway
from gateway.proxy.whole_response import WholeResponse
from gateway.server.make_call import Wanted, make_call
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.openai_chat import OPENAI_CHAT

# Seconds that a result is reused: monitoring asks often, and every test costs a provider's tokens.
KEPT_S = 10.0
SUGGESTIONS = (
    "Check the provider's credential: gateway routes shows which are present",
    "Check that the provider can be reached from this machine",
    "Set defaults.probe to an alias that is known to work",
)


GLOB = frozenset("*?[")
EMBEDS = re.compile("embed|rerank|whisper|tts|image|moderation|dall-e")  # names of models that do not chat


@define
class LastTest:
    """The last result, when it came (monotonic seconds), and the lock that keeps two tests from running at once."""

    at: float = float("-inf")
    status: int = 200
    answer: dict[str, Any] = field(factory=dict)
    lock: asyncio.Lock = field(factory=asyncio.Lock)


# The result is shown to others: nothing of the client that happens to ask may decide it.
NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
LAST = web.AppKey("last_test", LastTest)


async def probe_provider(request: web.Request) -> web.Response:
    """GET /test-connection: 200 `success`, or 503 `failed` with suggestions."""
    gateway, context, last = request.app[GATEWAY], request[CONTEXT], request.app[LAST]
    if (
        name := _probe_name(gateway, context)
    ) is not None:  # the last result, too, is for those only who may use the model
        check_access(context.snapshot.table.resolve(name), context.owner.key if context.owner else None)
    async with last.lock:
        if gateway.clock.monotonic() - last.at > KEPT_S:
            last.status, last.answer = await _ask(request)
            last.at = gateway.clock.monotonic()
        body = msgspec.json.encode(last.answer)
    return web.Response(status=last.status, body=body, content_type="application/json")


async def _ask(request: web.Request) -> tuple[int, dict[str, Any]]:
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    answer: dict[str, Any] = {"timestamp": write_time(gateway.clock.time())}
    name = _probe_name(gateway, context)
    if name is None:
        failed = {"status": "failed", "message": _missing(context)}
        return 503, answer | failed | {"suggestions": list(SUGGESTIONS[2:])}
    try:
        payload = await _dispatch(request, gateway, context, name)
    except GatewayError as error:
        context.exchange.step(Step.ANSWER)  # the body reports the fault; this exchange itself succeeds
        failed = {"status": "failed", "message": error.message, "error_type": error.code or error.type}
        return 503, answer | failed | {"provider": context.exchange.provider or None, "suggestions": list(SUGGESTIONS)}
    provider = context.exchange.provider
    return 200, answer | {
        "status": "success",
        "message": f"Successfully connected to {provider} API",
        "provider": provider,
        "model_used": context.exchange.model,
        "response_id": payload.get("id"),
    }


def _probe_name(gateway: Gateway, context: RequestContext) -> str | None:
    """Return what to test: the configured probe, else the default provider's cheapest model, else /chat's default."""
    config = context.snapshot.config
    if config.defaults.probe or config.default_provider is None:
        return config.defaults.probe or config.defaults.chat_model
    model = _cheapest(gateway, context, config.default_provider)
    return f"{config.default_provider}:{model}" if model is not None else config.defaults.chat_model


def _cheapest(gateway: Gateway, context: RequestContext, name: str) -> str | None:
    """Return the cheapest model that is known of a provider: by its settings, by a route, or by /top-models.

    Of models without a price the first one counts as the cheapest, behind all that have one.
    """
    snapshot = context.snapshot
    provider = snapshot.config.providers[name]
    curated = gateway.setup.top_models.get("models", [])
    known = [
        *(model for model in provider.models if not GLOB & set(model)),
        *(
            target.model
            for route in snapshot.config.routes.values()
            for target in route.targets
            if target.provider == name and target.model
        ),
    ] or [model["name"] for model in reversed(curated) if model["provider"] == provider.family]
    generating = [one for one in known if not EMBEDS.search(one)]

    def cost(model: str) -> float:
        price = snapshot.capabilities.profile(provider, model).price
        if price is None or price.input is None or price.output is None:
            return float("inf")
        return price.input + price.output

    return min(generating, key=cost, default=None)


def _missing(context: RequestContext) -> str:
    provider = context.snapshot.config.default_provider
    if provider is None:
        return "Neither defaults.probe nor default_provider is configured"
    return f"No model of the default provider '{provider}' is known: defaults.probe is not configured"


async def _dispatch(request: web.Request, gateway: Gateway, context: RequestContext, name: str) -> dict[str, Any]:
    members = {member: msgspec.Raw(to_json(value)) for member, value in OPENAI_CHAT.probe.items()}
    resolved = context.snapshot.table.resolve(name)
    context.exchange.resolve(resolved.alias, resolved.label, is_stream=False)
    call = make_call(
        request, gateway, context, OPENAI_CHAT, JsonBody(members), Wanted(resolved, resolved.alias), headers=NO_HEADERS
    )
    key = context.owner.key if context.owner is not None else None
    limits = context.snapshot.limit_book.of(context.owner_name, key, context.network, OPENAI_CHAT.limit_class)
    context.limited, context.is_deferred = Limited(tokens=limits.tokens), True
    await reserve(call)
    reply = await Dispatch(call).answer()
    if not isinstance(reply, WholeResponse):
        return {}
    payload: dict[str, Any] = msgspec.json.decode(reply.body, type=dict[str, Any])
    return payload

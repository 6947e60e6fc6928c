"""Every path of the gateway, and the Endpoint record that tells the middlewares how to treat it.

A dialect's own path comes from `wire.DIALECTS`: a dialect that is added there is served here, under every prefix.
"""

from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import frozen

from gateway.config.fields import MIB, Seconds
from gateway.proxy.context import ENDPOINTS, Endpoint
from gateway.proxy.plan.mode import FULL, MINIMAL, PASS_THROUGH, Mode
from gateway.server.bodies import hold_continue
from gateway.server.handlers import models, probes, rests, self_test, usage
from gateway.server.handlers.count_tokens import count_input, count_tokens
from gateway.server.handlers.generate import create
from gateway.server.responses import conversations, stored
from gateway.server.responses import create as responses
from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.dialect import Dialect
from gateway.wire.openai_chat import OPENAI_CHAT, WORKER_CHAT
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.other_endpoints import COMPACT, INPUT_TOKENS

# The handler of a dialect's path, by the dialect's name. `create` serves every dialect that is not named here.
HANDLERS: dict[str, Handler] = {
    COUNT_TOKENS.name: count_tokens,
    INPUT_TOKENS.name: count_input,
    COMPACT.name: responses.compact,
    OPENAI_RESPONSES.name: responses.create,
}
# Every /v1 path stands behind each of these (docs/endpoints.md#modes).
PREFIXES: dict[str, Mode] = {
    "": FULL,
    "/openai": FULL,
    "/full": FULL,
    "/full/openai": FULL,
    "/min": MINIMAL,
    "/min/openai": MINIMAL,
    "/pt": PASS_THROUGH,
    "/pt/openai": PASS_THROUGH,
}
# Bounds of /chat (docs/endpoints.md#the-worker-path).
WORKER_BODY, WORKER_FIRST_BYTE = 1 * MIB, Seconds(30)
AZURE_PATH = "/openai/deployments/{deployment}"
PROBE = Endpoint("probe", OPENAI_CHAT, is_public=True, is_limited=False, is_quiet=True, counts_for_capacity=False)
MODELS = Endpoint(
    "catalogue",
    OPENAI_CHAT,
    counts_for_capacity=False,
    anthropic=Endpoint("catalogue", ANTHROPIC_MESSAGES, counts_for_capacity=False),
)
STORED = Endpoint("responses_stored", OPENAI_RESPONSES, counts_for_capacity=False)  # a cancel makes room
CONVERSATIONS = Endpoint("conversations", OPENAI_RESPONSES)
OPERATORS = Endpoint(
    "operators", OPENAI_CHAT, is_operators=True, is_limited=False, is_quiet=True, counts_for_capacity=False
)
WORKER = Endpoint("chat", WORKER_CHAT, "chat", reserves=True, max_body=WORKER_BODY, first_byte=WORKER_FIRST_BYTE)


@frozen
class Route:
    """One path. `shown` is its name in the list of endpoints that `GET /` returns; an empty name leaves it out."""

    method: str
    path: str
    handler: Handler
    endpoint: Endpoint
    shown: str = ""


def all_routes() -> Iterator[Route]:
    """Yield every path that is served."""
    for prefix, mode in PREFIXES.items():
        yield from _versioned(prefix, mode)
    for dialect in DIALECTS.values():
        if not dialect.is_anthropic:
            handler = HANDLERS.get(dialect.name, create)
            endpoint = _endpoint(dialect)
            yield Route("POST", f"{AZURE_PATH}{dialect.path}", handler, endpoint)
    yield Route("GET", "/top-models", models.top_models, MODELS, "top_models")
    yield Route("POST", "/chat", create, WORKER, "chat")
    yield Route("GET", "/", probes.root, PROBE)
    yield Route("GET", "/health", probes.health, PROBE, "health")
    yield Route("GET", "/livez", probes.livez, PROBE)
    yield Route("GET", "/readyz", probes.readyz, PROBE)
    yield Route("GET", "/test-connection", self_test.probe_provider, MODELS, "test_connection")
    yield Route("GET", "/metrics", probes.metrics, OPERATORS, "metrics")
    yield Route("GET", "/metrics/running-totals", usage.running_totals, OPERATORS, "running_totals")
    yield Route("GET", "/usage", usage.all_usage, OPERATORS)
    yield Route("GET", "/rests", rests.show_rests, OPERATORS)
    yield Route("DELETE", "/rests", rests.clear_rests, OPERATORS)


def add_routes(app: web.Application) -> None:
    """Add every path to the app, with what the middlewares and the list of endpoints need."""
    endpoints: dict[web.AbstractRoute, Endpoint] = {}
    shown: dict[str, str] = {}
    for route in all_routes():
        if route.method == "GET":
            got = app.router.add_get(route.path, route.handler, expect_handler=hold_continue)
            for one in got.resource or ():  # GET and its HEAD
                endpoints[one] = route.endpoint
        else:
            one = app.router.add_route(route.method, route.path, route.handler, expect_handler=hold_continue)
            endpoints[one] = route.endpoint
        if route.shown:
            shown.setdefault(route.shown, route.path)
    app[ENDPOINTS] = endpoints
    app[probes.SHOWN] = shown


def _endpoint(dialect: Dialect, mode: Mode = FULL) -> Endpoint:
    return Endpoint(dialect.label, dialect, dialect.limit_class, reserves=dialect.write_count is None, mode=mode)


def _versioned(prefix: str, mode: Mode) -> Iterator[Route]:
    """Yield the paths under `{prefix}/v1`."""
    base = f"{prefix}/v1"
    for dialect in DIALECTS.values():
        endpoint = _endpoint(dialect, mode)
        handler = HANDLERS.get(dialect.name, create)
        shown = "count_tokens" if dialect is COUNT_TOKENS else dialect.label
        yield Route("POST", f"{base}{dialect.path}", handler, endpoint, shown)
    one = f"{base}/responses/{{id}}"
    yield Route("GET", f"{base}/responses", responses.refuse_websocket, STORED)
    yield Route("GET", one, stored.show, STORED)
    yield Route("DELETE", one, stored.delete, STORED)
    yield Route("GET", f"{one}/input_items", stored.list_input, STORED)
    yield Route("POST", f"{one}/cancel", stored.cancel, STORED)
    if mode.has_memory:
        yield from _conversations(f"{base}/conversations")
    yield Route("GET", f"{base}/models", models.list_models, MODELS, "models")
    yield Route("GET", f"{base}/models/{{id:.+}}", models.show_model, MODELS)
    yield Route("GET", f"{base}/aliases", models.list_aliases, MODELS, "aliases")
    yield Route("GET", f"{base}/usage", usage.own_usage, MODELS, "usage")


def _conversations(base: str) -> Iterator[Route]:
    one, item = f"{base}/{{id}}", f"{base}/{{id}}/items/{{item}}"
    yield Route("POST", base, conversations.create, CONVERSATIONS, "conversations")
    yield Route("GET", one, conversations.show, CONVERSATIONS)
    yield Route("POST", one, conversations.update, CONVERSATIONS)
    yield Route("DELETE", one, conversations.delete, CONVERSATIONS)
    yield Route("GET", f"{one}/items", conversations.list_items, CONVERSATIONS)
    yield Route("POST", f"{one}/items", conversations.add_items, CONVERSATIONS)
    yield Route("GET", item, conversations.show_item, CONVERSATIONS)
    yield Route("DELETE", item, conversations.delete_item, CONVERSATIONS)

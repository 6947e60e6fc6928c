"""Every path of the gateway, and what the middlewares have to know of it."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.config.schema import MIB, Seconds
from gateway.proxy.context import Endpoint
from gateway.server.bodies import hold_continue
from gateway.server.handlers import models, probes
from gateway.server.handlers import self_test as connection_test
from gateway.server.handlers.count_tokens import count_input, count_tokens
from gateway.server.handlers.generate import create
from gateway.server.responses import create as responses
from gateway.server.responses import stored
from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.openai_chat import OPENAI_CHAT, WORKER_CHAT
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.other_endpoints import COMPACT, INPUT_TOKENS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


LIMIT_CLASSES = {
    "openai_chat": "chat",
    "openai_embeddings": "embeddings",
    "anthropic_messages": "messages",
    "openai_responses": "responses",
}


HANDLERS: dict[str, Handler] = {
    COUNT_TOKENS.name: count_tokens,
    INPUT_TOKENS.name: count_input,
    COMPACT.name: responses.compact,
    OPENAI_RESPONSES.name: responses.create,
}


# Every /v1 path stands behind each of these (PRODUCT.md section 6).
PREFIXES = {
    "": "", "/openai": "", "/full": "", "/full/openai": "", "/min": "min", "/min/openai": "min",
    "/pt": "pt", "/pt/openai": "pt",
}  # fmt: skip


# The worker's bounds (PRODUCT.md section 3).
WORKER_BODY, WORKER_FIRST_BYTE = 1 * MIB, Seconds(30)


AZURE_PATH = "/openai/deployments/{deployment}"


PROBE = Endpoint("probe", OPENAI_CHAT, is_public=True, is_limited=False, is_quiet=True, counts_for_capacity=False)


CATALOGUE = Endpoint(
    "catalogue",
    OPENAI_CHAT,
    counts_for_capacity=False,
    anthropic=Endpoint("catalogue", ANTHROPIC_MESSAGES, counts_for_capacity=False),
)


STORED = Endpoint("responses_stored", OPENAI_RESPONSES, "default", counts_for_capacity=False)  # a cancel makes room


OPERATORS = Endpoint(
    "operators", OPENAI_CHAT, is_operators=True, is_limited=False, is_quiet=True, counts_for_capacity=False
)


def _add_routes(app: web.Application) -> dict[web.AbstractRoute, Endpoint]:
    """Add every path; return what the middlewares have to know of each."""
    endpoints: dict[web.AbstractRoute, Endpoint] = {}

    def add(method: str, path: str, handler: Handler, endpoint: Endpoint) -> None:
        if method == "GET":
            resource = app.router.add_get(path, handler, expect_handler=hold_continue)
            for route in resource.resource or ():  # GET and its HEAD
                endpoints[route] = endpoint
        else:
            endpoints[app.router.add_route(method, path, handler, expect_handler=hold_continue)] = endpoint

    for prefix, mode in PREFIXES.items():
        for dialect in DIALECTS.values():
            name = dialect.path.strip("/").replace("/", "_")
            endpoint = Endpoint(name, dialect, LIMIT_CLASSES.get(dialect.name, "default"), mode=mode)
            handler = HANDLERS.get(dialect.name, create)
            add("POST", f"{prefix}/v1{dialect.path}", handler, endpoint)
        one = f"{prefix}/v1/responses/{{id}}"
        add("GET", f"{prefix}/v1/responses", responses.refuse_websocket, STORED)
        add("GET", one, stored.show, STORED)
        add("DELETE", one, stored.delete, STORED)
        add("GET", f"{one}/input_items", stored.list_input, STORED)
        add("POST", f"{one}/cancel", stored.cancel, STORED)
        add("GET", f"{prefix}/v1/models", models.list_models, CATALOGUE)
        add("GET", f"{prefix}/v1/models/{{id:.+}}", models.show_model, CATALOGUE)
        add("GET", f"{prefix}/v1/aliases", models.list_aliases, CATALOGUE)
    for dialect in DIALECTS.values():
        if not dialect.is_anthropic:
            name = dialect.path.strip("/").replace("/", "_")
            endpoint = Endpoint(name, dialect, LIMIT_CLASSES.get(dialect.name, "default"))
            add("POST", f"{AZURE_PATH}{dialect.path}", HANDLERS.get(dialect.name, create), endpoint)
    worker = Endpoint("chat", WORKER_CHAT, "chat", most_body=WORKER_BODY, first_byte=WORKER_FIRST_BYTE)
    add("POST", "/chat", create, worker)
    add("GET", "/top-models", models.top_models, CATALOGUE)
    add("GET", "/test-connection", connection_test.test_connection, CATALOGUE)
    add("GET", "/", probes.root, PROBE)
    add("GET", "/health", probes.health, PROBE)
    add("GET", "/livez", probes.livez, PROBE)
    add("GET", "/readyz", probes.readyz, PROBE)
    add("GET", "/metrics", probes.metrics, OPERATORS)
    return endpoints

"""What stands around `POST /v1/responses`. No response is kept: every id is unknown."""

import msgspec
from aiohttp import web

from gateway.errors import UnknownResponse, UpgradeRequired
from gateway.exchange import Step
from gateway.handlers.bodies import read_body
from gateway.handlers.count_tokens import estimate_input
from gateway.handlers.generate import resolve
from gateway.parts import GATEWAY, VISIT
from gateway.wire.json_body import JsonBody
from gateway.wire.openai_responses import read_request


async def refuse_websocket(request: web.Request) -> web.Response:
    """GET /v1/responses: Codex asks for a WebSocket here; any clean refusal makes it use POST."""
    raise UpgradeRequired("Responses are served over HTTP here: POST to this path")


async def find_none(request: web.Request) -> web.Response:
    """GET, DELETE, cancel, input_items of one response: none is stored."""
    raise UnknownResponse(f"Response with id '{request.match_info['id'][:100]}' not found.")


async def count_input(request: web.Request) -> web.Response:
    """POST /v1/responses/input_tokens: an estimate."""
    gateway, visit = request.app[GATEWAY], request[VISIT]
    server = visit.snapshot.config.server
    body = await read_body(request, server.max_body, server.timeouts.body)
    resolve(request, visit, body)
    assert isinstance(body, JsonBody)
    tokens = await estimate_input(gateway, read_request(body))
    visit.exchange.step(Step.ESTIMATE)
    said = msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})
    return web.Response(body=said, content_type="application/json", headers={"x-gateway-usage": "estimated"})

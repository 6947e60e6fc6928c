"""What rests, since when, for how long and why: for operators, who may end a rest by hand."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.clock import write_time
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.policy.health import Rest
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.addresses import UNIX, peer_address
from gateway.server.listener import is_operators_listener
from gateway.server.siblings import OWN, siblings_of
from gateway.telemetry.logs import Log
from gateway.wire.codec.text import printable


async def show_rests(request: web.Request) -> web.Response:
    """GET /rests: everything that rests now, as JSON."""
    return _json({"object": "list", "data": [*list_rests(request.app[GATEWAY]), *await _of_others(request, "GET")]})


async def clear_rests(request: web.Request) -> web.Response:
    """DELETE /rests?name=: end the rests of a target or a credential; only through the control socket.

    Raises Forbidden elsewhere: nothing that comes over a network changes how the gateway works.
    """
    if peer_address(request) != UNIX or not is_operators_listener(request):
        raise Forbidden("A rest is ended by `gateway rest clear`, on the gateway's machine", code="operator_only")
    gateway, name = request.app[GATEWAY], request.query.get("name", "")
    if not name:
        raise BadRequest("'name' is missing: a target or a credential", param="name")
    own = gateway.selection.health.clear(name, gateway.clock.monotonic())
    found = [_describe(gateway, rest) for rest in own] + await _of_others(request, "DELETE", name=name)
    if not found and OWN not in request.query:
        raise NotFound(f"Nothing rests under the name '{printable(name)}'")
    return _json({"object": "list", "data": found})


async def _of_others(request: web.Request, method: str, **query: str) -> list[dict[str, Any]]:
    """Ask the other workers the same."""
    if (siblings := siblings_of(request)) is None:
        return []
    answers = await siblings.ask("/rests", method, **query)
    return [rest for answer in answers for rest in msgspec.json.decode(answer)["data"]]


def list_rests(gateway: Gateway) -> list[dict[str, Any]]:
    """Return everything that rests now: a target, a credential of it, or a credential everywhere."""
    return [_describe(gateway, rest) for rest in gateway.selection.health.rests(gateway.clock.monotonic())]


def rest_logger(log: Log) -> Callable[[Rest, bool], None]:
    """Return what logs each beginning and each end of a rest, once."""

    def say(rest: Rest, begins: bool) -> None:
        what = {"target": printable(rest.target)} if rest.target else {}
        if rest.credential:
            what["credential"] = rest.credential
        if begins:
            log.warning("rest begins", **what, for_s=round(rest.left, 1), why=rest.fault.value)
        else:
            log.warning("rest ends", **what, after_s=round(rest.since, 1), why=rest.fault.value)

    return say


def _describe(gateway: Gateway, rest: Rest) -> dict[str, Any]:
    return {
        "target": rest.target or None,
        "credential": rest.credential or None,
        "since": write_time(gateway.clock.time() - rest.since),
        "seconds_left": round(rest.left, 1),
        "why": rest.fault.value,
    }


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")

"""Bounds the exchanges in flight, and keeps the list of them that draining waits for.

Endpoints that do not count for capacity (probes, model lists, stored responses) are never refused here.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import ShuttingDown, Unavailable
from gateway.proxy.context import CONTEXT
from gateway.proxy.exchange import Step
from gateway.proxy.state import GATEWAY


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse an exchange beyond `server.max_concurrent`. Raises Unavailable, or ShuttingDown when a drain cuts it."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    if not context.endpoint.counts_for_capacity:
        return await handler(request)
    if len(gateway.lifecycle.exchanges) >= context.snapshot.config.server.max_concurrent:
        raise Unavailable("The gateway is full: try again in a moment", retry_after=1)
    task = asyncio.current_task()
    assert task is not None
    gateway.lifecycle.exchanges[context.exchange.id] = task
    try:
        return await handler(request)
    except asyncio.CancelledError:
        if context.exchange.is_open or not gateway.lifecycle.is_cutting:
            raise
        task.uncancel()
        context.exchange.step(Step.CUT)
        raise ShuttingDown from None
    finally:
        del gateway.lifecycle.exchanges[context.exchange.id]
        if context.held_bytes:
            gateway.lifecycle.bodies.give_back(context.owner_name, context.held_bytes)

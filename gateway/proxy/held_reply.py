"""Sends a reply that says nothing after all: no other target said more."""

from aiohttp import web

from gateway.errors import Held
from gateway.policy.affinity import Affinity
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.whole_response import WholeResponse


async def deliver(call: ModelCall, held: Held) -> web.StreamResponse:
    """Send a reply that was held back, and store it if it is to be stored."""
    exchange, client, recorder = call.context.exchange, call.client_stream, call.recorder
    body = held.body
    if recorder is not None:
        store = recorder.store_stream if held.is_stream else recorder.store_whole
        body = await store(body, Affinity.decode(held.affinity))
    if not held.is_stream and not exchange.is_open:
        exchange.step(Step.TRY)
        exchange.step(Step.END)
        return WholeResponse(body, held.headers, call.status)
    await client.open(held.headers)
    await client.write(body)
    exchange.step(Step.END)
    return await client.close()

"""Shows, replays, cancels and deletes stored responses, lists their input. Those of other keys are unknown (404)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from aiohttp import web
from attrs import evolve

from gateway.errors import BadRequest, GatewayError, ShuttingDown, StoreUnavailable
from gateway.proxy.client_stream import STREAM_HEADERS, ClientStream
from gateway.proxy.context import CONTEXT
from gateway.proxy.exchange import Step
from gateway.proxy.off_loop import off_loop
from gateway.proxy.relay import end_with_error
from gateway.proxy.state import GATEWAY
from gateway.server.responses.background import RENEW_S, RUNS, Run
from gateway.server.responses.conversation import owner_of, reached, unknown
from gateway.server.responses.queries import flag_in, number_in, read_page
from gateway.store.protocol import ChainTooLong, StoredResponse
from gateway.store.turns import TURN
from gateway.wire.dialect import Asked
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.recording_lane import marked
from gateway.wire.openai_responses.replay import replay
from gateway.wire.openai_responses.stored_items import listed, unrepeated

POLL_S = 1.0  # how often the row of another gateway's run is read
# The error of a run whose gateway has died.
INTERRUPTED = msgspec.json.encode({"code": "server_error", "message": "The gateway that ran this response has stopped"})


async def show(request: web.Request) -> web.StreamResponse:
    """GET: the response object, or with `stream=true` the events that build it."""
    found = await _find(request)
    is_stream, after = flag_in(request, "stream"), number_in(request, "starting_after", -1)
    if not is_stream:
        request[CONTEXT].exchange.step(Step.ANSWER)
        return _json(whole_of(found))
    if (run := request.app[RUNS].get(found.owner, found.id)) is not None:
        return await follow_run(request, run, after)
    return await _stream(request, _replayed(request, found, after))


async def follow_run(request: web.Request, run: Run, after: int, status: int = 200) -> web.StreamResponse:
    """Stream the events of a run with a number above `after`. If the client leaves, the run goes on."""
    return await _stream(
        request, run.event_log.follow(after, request[CONTEXT].snapshot.config.server.keepalive), status
    )


async def _stream(request: web.Request, event_log: AsyncIterator[bytes], status: int = 200) -> web.StreamResponse:
    context, gateway = request[CONTEXT], request.app[GATEWAY]
    server = context.snapshot.config.server
    client_stream = ClientStream(
        request=request,
        exchange=context.exchange,
        headers=context.reply_headers,
        ping=OPENAI_RESPONSES.ping,
        keepalive=server.keepalive,
        write_timeout=server.timeouts.write,
        commit_at=None,
        status=status,
    )
    await client_stream.open(STREAM_HEADERS)
    try:
        async for frame in event_log:
            await client_stream.write(frame or client_stream.ping)
    except GatewayError as error:
        context.exchange.fail(error)
    except asyncio.CancelledError:
        if not gateway.lifecycle.is_cutting:
            raise
        context.exchange.fail(ShuttingDown())
    if context.exchange.error is None:
        context.exchange.step(Step.END)
        return await client_stream.close()
    context.exchange.step(Step.GIVE_UP)
    return await end_with_error(client_stream, OPENAI_RESPONSES.watch(Asked()), context.exchange.error)


async def _replayed(request: web.Request, found: StoredResponse, after: int) -> AsyncIterator[bytes]:
    """Yield the frames of a response, and b"" while it still runs at another gateway.

    Raises UnknownResponse if it is deleted meanwhile.
    """
    while found.is_running:
        yield b""
        await asyncio.sleep(POLL_S)
        with suppress(StoreUnavailable):
            found = await _find(request)
    for frame in replay(whole_of(found), after, found.last):
        yield frame


async def delete(request: web.Request) -> web.Response:
    """DELETE: remove the response for its owner. The store keeps it for later responses that continue it."""
    gateway, name = request.app[GATEWAY], _name(request)
    with reached():
        is_gone = await gateway.responses.delete(owner_of(request[CONTEXT]), name, gateway.clock.time())
    if not is_gone:
        raise unknown(name)
    request[CONTEXT].exchange.name_response(name)
    await request.app[RUNS].stop(owner_of(request[CONTEXT]), name)
    request[CONTEXT].exchange.step(Step.ANSWER)
    return _json(msgspec.json.encode({"id": name, "object": "response", "deleted": True}))


async def list_input(request: web.Request) -> web.Response:
    """GET …/input_items: the input and the conversation before it, newest first (SDK type InputItemListParams)."""
    found = await _find(request)
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    wanted = read_page(request)
    most = context.snapshot.config.server.max_body
    with reached():
        try:
            links = await gateway.responses.chain(found.owner, found.id, gateway.clock.time(), 0.0, most)
        except ChainTooLong:
            links = []

    def list_page() -> bytes:
        items = unrepeated(
            pair
            for link in links or [found.link]
            for pair in listed(link.id, link.input, b"[]" if link.id == found.id else link.output)
        )
        return wanted.of(items)

    answer = await off_loop(sum(len(link.input) + len(link.output) for link in links or [found.link]), list_page)
    context.exchange.step(Step.ANSWER)
    return _json(answer)


async def cancel(request: web.Request) -> web.Response:
    """POST …/cancel: end a background response; one that has ended stays as it is. Raises BadRequest for others."""
    found = await _find(request)
    if not msgspec.json.decode(found.body).get("background"):
        raise BadRequest("Only responses created with background=true can be cancelled.")
    if found.is_running:
        await request.app[RUNS].stop(found.owner, found.id)  # a run of this gateway stores what it has sent
        found = await _find(request)
    if found.is_running:
        found = await _end(request, found, "cancelled", b"null")
    request[CONTEXT].exchange.step(Step.ANSWER)
    return _json(whole_of(found))


async def _end(request: web.Request, found: StoredResponse, status: str, error: bytes) -> StoredResponse:
    """Store the end of a run, unless it has ended meanwhile. Return the response as it then is in the store."""
    body = marked(found.body, {"status": msgspec.json.encode(status), "error": error})
    gateway = request.app[GATEWAY]
    with reached():
        if await gateway.responses.put(evolve(found, status=status, body=body), only_running=True):
            return evolve(found, status=status, body=body)
        return await gateway.responses.get(found.owner, found.id, gateway.clock.time()) or found


async def _find(request: web.Request) -> StoredResponse:
    gateway, name = request.app[GATEWAY], _name(request)
    with reached():
        found = await gateway.responses.get(owner_of(request[CONTEXT]), name, gateway.clock.time())
    if found is None:
        raise unknown(name)
    request[CONTEXT].exchange.name_response(name)
    run = request.app[RUNS].get(found.owner, found.id)
    is_here = run is not None and run.ended is None
    # While the store was down, no gateway could renew the lease of a run. So a lease counts as passed only once the
    # store has been up again for two renewals.
    may_judge = gateway.responses.is_up_for(2 * RENEW_S)
    if found.is_running and not is_here and may_judge and found.lease < gateway.clock.time():
        return await _end(request, found, "failed", INTERRUPTED)
    return found


def _name(request: web.Request) -> str:
    """Return the id in the path. Raises UnknownResponse if it is that of a turn, which is no response."""
    name = request.match_info["id"]
    if name.startswith(TURN):
        raise unknown(name)
    return name


def whole_of(stored: StoredResponse) -> bytes:
    """Return the whole response object, as it was sent to the client."""
    return marked(stored.body, {"output": stored.output})


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")

"""The scripted provider: a real HTTP server on loopback that answers well, badly or not at all."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Iterable
from typing import Any, cast

from aiohttp import web
from attrs import define, field

from gateway.mock import chat, messages, others, responses
from gateway.mock.script import Behaviour, Script

# A base URL may have a name before /v1: http://…/one/v1 is the provider `one` of a script or a test. Azure's paths have
# /openai/deployments/MODEL in place of /v1.
_PATH = re.compile(r"(?:/(?P<name>[^/]+))?(?:/v1|/openai/deployments/(?P<model>[^/]+))(?P<path>/.*)")
STALL = 3600.0  # seconds: longer than any timeout of the client
JSON = {"Content-Type": "application/json"}
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


@define
class Seen:
    """A request that came in. `was_cut`: its connection broke before the answer was complete, by either side."""

    name: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: str
    was_cut: bool = False
    is_done: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@define
class MockServer:
    """Serves every dialect that it knows; the base URL may begin with any provider's name. `start` sets `url`."""

    script: Script = field(factory=Script)
    seen: list[Seen] = field(factory=list)
    url: str = ""
    keeps: bool = True  # whether requests are kept in `seen`: not in a demo that runs for weeks
    _runner: web.AppRunner | None = field(default=None, init=False)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; return the base URL with /v1."""
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        return f"{self.url}/v1"

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        found = _PATH.fullmatch(request.path)
        name, path = (found["name"] or "", found["path"]) if found else ("", request.path)
        seen = Seen(name, path, dict(request.headers), await request.read(), request.rel_url.raw_query_string)
        if self.keeps:
            self.seen.append(seen)
        body = _members(seen.body)
        if found and found["model"]:
            body.setdefault("model", found["model"])
        behaviour = self.script.decide(name, path, str(body.get("model") or ""), request.headers)
        try:
            answer = await _play(request, path, body, behaviour)
            seen.is_done = True
            return answer
        except (asyncio.CancelledError, ConnectionError):
            seen.was_cut = True
            raise


async def _play(request: web.Request, path: str, body: dict[str, Any], behaviour: Behaviour) -> web.StreamResponse:
    await asyncio.sleep(behaviour.latency)
    if (broken := await _break_head(request, behaviour)) is not None:
        return broken
    if behaviour.status >= 300:
        payload = messages if path.startswith("/messages") else chat
        error = payload.error_body(behaviour.status, behaviour.error) if behaviour.body is None else behaviour.body
        return _whole(behaviour, error)
    if behaviour.body is not None:
        return _whole(behaviour, behaviour.body)
    sample = behaviour.reply or str(body.get("model") or "")
    if behaviour.frames is not None:
        return await _stream(request, behaviour.frames, behaviour)
    frames = _events(path, body, sample, behaviour.text) if body.get("stream") is True else None
    if frames is not None:
        return await _stream(request, frames, behaviour)
    if path == "/audio/speech":
        return web.Response(body=others.SOUND, content_type="audio/wav", headers=behaviour.headers)
    reply = _reply(path, body, sample, behaviour.text)
    if reply is None:
        missing = {"error": {"message": f"Unknown path {path}", "type": "invalid_request_error", "code": "404"}}
        return web.json_response(missing, status=404)
    return await _whole_slowly(request, json.dumps(reply, separators=(",", ":")).encode(), behaviour)


def _events(path: str, body: dict[str, Any], sample: str, text: str) -> Iterable[bytes] | None:
    match path:
        case "/chat/completions":
            return chat.events(body, sample, text)
        case "/messages":
            return messages.events(body, sample, text)
        case "/responses":
            return responses.events(body, sample, text)
        case "/completions":
            return chat.legacy_events(body, sample, text)
        case _:
            return None


def _reply(path: str, body: dict[str, Any], sample: str, text: str) -> Any:
    match path:
        case "/chat/completions":
            return chat.whole(body, sample, text)
        case "/messages":
            return messages.whole(body, sample, text)
        case "/responses":
            return responses.whole(body, sample, text)
        case "/responses/compact":
            return responses.compacted(body)
        case "/responses/input_tokens":
            return {"object": "response.input_tokens", **messages.count(body)}
        case "/messages/count_tokens":
            return messages.count(body)
        case "/completions":
            return chat.legacy_whole(body, sample, text)
        case "/embeddings":
            return others.embeddings(body)
        case "/moderations":
            return others.moderations(body)
        case "/rerank":
            return others.rerank(body)
        case "/images/generations" | "/images/edits":
            return others.images(body)
        case "/audio/transcriptions" | "/audio/translations":
            return others.transcription(body)
        case "/models":
            return others.models()
        case _:
            return None


async def _break_head(request: web.Request, behaviour: Behaviour) -> web.StreamResponse | None:
    """Play a fault that comes before the head is complete, or in place of the body.

    Return the answer of a fault that answers; None if the behaviour has no such fault. Raises ConnectionResetError once
    it has broken the connection.
    """
    transport = request.transport
    assert transport is not None
    match behaviour.fault:
        case "reset_before_head":
            _reset(transport)
        case "close_before_head":
            transport.close()
        case "reset_in_head":
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
            await asyncio.sleep(0.01)
            _reset(transport)
        case "not_http":
            transport.write(b"\x00\x01 this is no HTTP at all\r\n\r\n")
            await asyncio.sleep(0.01)
            transport.close()
        case "stall_before_head":
            await asyncio.sleep(STALL)
        case "html":
            page = "<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"
            return web.Response(status=behaviour.status, text=page, content_type="text/html")
        case "garbage":
            kind = (
                "text/event-stream"
                if b'"stream":true' in (await request.read()).replace(b" ", b"")
                else "application/json"
            )
            return web.Response(body=b"\x1f\xff{{{ not json at all\n\n" * 5, content_type=kind)
        case _:
            return None
    raise ConnectionResetError


def _whole(behaviour: Behaviour, body: Any) -> web.Response:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return web.Response(status=behaviour.status, body=data, headers=JSON | behaviour.headers)


async def _whole_slowly(request: web.Request, data: bytes, behaviour: Behaviour) -> web.StreamResponse:
    if not (behaviour.fault or behaviour.first_byte or behaviour.chunk):
        return web.Response(status=behaviour.status, body=data, headers=JSON | behaviour.headers)
    answer = web.StreamResponse(status=behaviour.status, headers=JSON | behaviour.headers)
    answer.content_length = len(data)
    await answer.prepare(request)
    await asyncio.sleep(behaviour.first_byte)
    cut = behaviour.after or len(data) // 2
    step = behaviour.chunk or len(data)
    if behaviour.fault:
        await answer.write(data[:cut])
        await _break_body(request, behaviour)
        raise ConnectionResetError
    for start in range(0, len(data), step):
        await answer.write(data[start : start + step])
        await asyncio.sleep(behaviour.pace)
    await answer.write_eof()
    return answer


async def _stream(request: web.Request, frames: Iterable[bytes], behaviour: Behaviour) -> web.StreamResponse:
    answer = web.StreamResponse(status=behaviour.status, headers=SSE | behaviour.headers)
    await answer.prepare(request)
    if behaviour.first_byte:
        await answer.write(b": waiting\n\n")
        await asyncio.sleep(behaviour.first_byte)
    for number, frame in enumerate(frames):
        if behaviour.fault and number == behaviour.after:
            return await _break_stream(request, answer, frame, behaviour)
        if number and behaviour.pace:
            await asyncio.sleep(behaviour.pace)
        for start in range(0, len(frame), behaviour.chunk or len(frame)):
            await answer.write(frame[start : start + (behaviour.chunk or len(frame))])
            if behaviour.chunk:
                await asyncio.sleep(0)
    await answer.write_eof()
    return answer


async def _break_stream(
    request: web.Request, answer: web.StreamResponse, frame: bytes, behaviour: Behaviour
) -> web.StreamResponse:
    if behaviour.fault == "truncate":
        await answer.write_eof()
        return answer
    if behaviour.fault == "error_event":
        sayers = {"messages": messages.error_event, "responses": responses.error_event}
        say = sayers.get(request.path.rpartition("/")[2], chat.error_event)
        await answer.write(say(behaviour.error))
        await answer.write_eof()
        return answer
    await answer.write(frame[: len(frame) // 2])
    await _break_body(request, behaviour)
    raise ConnectionResetError


async def _break_body(request: web.Request, behaviour: Behaviour) -> None:
    if behaviour.fault == "stall_in_body":
        await asyncio.sleep(STALL)
    await asyncio.sleep(0.01)  # let the bytes before the fault arrive
    if request.transport is not None:
        if behaviour.fault == "truncate":
            request.transport.close()
        else:
            _reset(request.transport)


def _reset(transport: asyncio.BaseTransport) -> None:
    """Close with RST: what a crashed peer or a firewall does."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast(asyncio.Transport, transport).abort()  # uvloop's transport is not a subclass


def _members(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        form = re.search(rb'name="model"\r\n\r\n([^\r]*)', data)
        return {"model": form[1].decode()} if form else {}
    return found if isinstance(found, dict) else {}

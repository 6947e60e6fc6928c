"""A finished answer is one write of a right head and the body."""

from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web

from gateway.proxy.whole_response import WholeResponse, add_headers
from tests.raw_requests import Ask, serve_once

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def ask() -> AsyncIterator[Callable[[Handler], Awaitable[Ask]]]:
    """Serve one handler; yields what makes a function that sends bytes to it and returns all that comes back."""
    stops: list[Callable[[], Awaitable[None]]] = []

    async def start(handler: Handler) -> Ask:
        send, stop = await serve_once(handler)
        stops.append(stop)
        return send

    yield start
    for stop in stops:
        await stop()


def answers(response: WholeResponse) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return response

    return handler


def request(version: str = "1.1", *headers: str) -> bytes:
    return "\r\n".join([f"GET / HTTP/{version}", "Host: x", *headers, "", ""]).encode()


async def test_head_and_body_come_in_full(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """The head has the status, a date, the length and our fields; the body follows byte for byte."""
    send = await ask(answers(WholeResponse(b'{"a":"\xc3\xa9"}', {"Content-Type": "application/json", "X-A": "b"})))
    head, _, body = (await send(request("1.1", "Connection: close"))).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 200 OK" and body == b'{"a":"\xc3\xa9"}'
    assert fields["Content-Length"] == str(len(body)) and fields["X-A"] == "b"
    assert parsedate_to_datetime(fields["Date"]).tzinfo is not None


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (request("1.1", "Connection: close"), "Connection: close"),
        (request("1.0"), "Connection: close"),
        (request("1.0", "Connection: keep-alive"), "Connection: keep-alive"),
        (request("1.1"), None),
    ],
)
async def test_the_connection_stays_open_if_the_client_wants_it(
    ask: Callable[[Handler], Awaitable[Ask]], sent: bytes, line: str | None
) -> None:
    """The head says what becomes of the connection where the client's HTTP version leaves that open."""
    send = await ask(answers(WholeResponse(b"{}", {})))
    head = (await send(sent)).partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert [part for part in head if part.startswith("Connection")] == ([line] if line else [])


async def test_another_status_has_its_words(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """A status other than 200 is sent with its reason."""
    send = await ask(answers(WholeResponse(b"{}", {}, status=201)))
    assert (await send(request())).startswith(b"HTTP/1.1 201 Created\r\n")


async def test_a_field_cannot_carry_a_second_one(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """A field whose value cannot be printed is left out."""
    send = await ask(answers(WholeResponse(b"{}", {"X-Bad": "a\r\nSet-Cookie: b", "X-Good": "c"})))
    head = await send(request())
    assert b"Set-Cookie" not in head and b"X-Good: c\r\n" in head


async def test_a_large_body_arrives_whole(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """A body beyond the high-water mark arrives whole."""
    data = bytes(range(256)) * 4096
    send = await ask(answers(WholeResponse(data, {})))
    assert (await send(request("1.1", "Connection: close"))).partition(b"\r\n\r\n")[2] == data


async def test_it_is_sent_once(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """A handler that prepares the answer itself sends nothing twice."""
    prepared: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = WholeResponse(b"{}", {})
        prepared.append(response.prepared)
        await response.prepare(request)
        prepared.append(response.prepared)
        return response

    send = await ask(handler)
    got = await send(request("1.1", "Connection: close"))
    assert got.count(b"HTTP/1.1 200") == 1 and got.endswith(b"\r\n\r\n{}") and prepared == [False, True]


async def test_a_client_that_left_is_noticed(ask: Callable[[Handler], Awaitable[Ask]]) -> None:
    """If the connection is closed already, ConnectionResetError is raised."""
    seen: list[type[BaseException]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        response = WholeResponse(b"{}", {})
        try:
            await response.prepare(request)
        except ConnectionResetError as error:
            seen.append(type(error))
        return response

    send = await ask(handler)
    assert await send(request()) == b"" and seen == [ConnectionResetError]


def test_headers_are_added_to_either_kind() -> None:
    """Headers can be added to a whole answer and to one of aiohttp's."""
    whole, usual = WholeResponse(b"{}", {"a": "b"}), web.Response()
    for answer in (whole, usual):
        add_headers(answer, {"X-A": "c"})
    assert whole.fields == {"a": "b", "X-A": "c"} and usual.headers["X-A"] == "c"

"""Request bodies: bounded, unpacked, and asked for only when they are wanted."""

import gzip
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from gateway.errors import BadRequest, ClientTooSlow, GatewayError, TooLarge, UnsupportedMedia
from gateway.proxy.client_stream import ClientGone
from gateway.server.bodies import CONTINUE, hold_continue, read_body, read_raw
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.multipart_body import MultipartBody
from tests.raw_requests import serve_once

LIMIT = 100
FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
Read = Callable[[web.Request, int, float], Awaitable[object]]


async def got(read: Read, data: bytes, *headers: str, declared: int | None = None, seconds: float = 5.0) -> object:
    """Return what `read` makes of a request with this body, or the error that it raises."""
    seen: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        try:
            seen.append(await read(request, LIMIT, seconds))
        except (GatewayError, ClientGone) as error:
            seen.append(error)
        return web.Response(headers={"Connection": "close"})

    ask, stop = await serve_once(handler, hold_continue)
    has_length = any(header.startswith("Transfer-Encoding") for header in headers)
    length = [] if has_length else [f"Content-Length: {len(data) if declared is None else declared}"]
    head = "\r\n".join(["POST / HTTP/1.1", "Host: x", *headers, *length, "", ""]).encode()
    is_invited = any(header.lower() == "expect: 100-continue" for header in headers)
    answer = await (ask(head, data) if is_invited else ask(head + data))
    await stop()
    (found,) = seen
    assert answer.startswith(CONTINUE) is is_invited
    return found


def chunked(data: bytes, size: int) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "media", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", "text/plain"]
)
async def test_json_is_read_under_any_of_its_names(media: str) -> None:
    """JSON is read under each media type that clients give it."""
    body = await got(read_body, b'{"model":"m"}', f"Content-Type: {media}")
    assert isinstance(body, JsonBody) and body.text("model") == "m"


async def test_a_missing_media_type_is_json() -> None:
    """A body without a Content-Type is read as JSON."""
    assert isinstance(await got(read_body, b"{}"), JsonBody)


async def test_forms_are_read() -> None:
    """A form is read."""
    assert isinstance(await got(read_body, FORM, "Content-Type: multipart/form-data; boundary=b"), MultipartBody)


@pytest.mark.parametrize(
    ("headers", "data", "kind"),
    [
        (["Content-Type: application/x-www-form-urlencoded"], b"a=b", UnsupportedMedia),
        (["Content-Type: image/png"], b"{}", UnsupportedMedia),
        (["Content-Encoding: rot13"], b"{}", UnsupportedMedia),
        ([], b"[]", BadRequest),
        (["Expect: 102-processing", "Transfer-Encoding: chunked"], b"2\r\n{", BadRequest),
    ],
)
async def test_what_cannot_be_read_is_refused(headers: list[str], data: bytes, kind: type) -> None:
    """A media type, packing, expectation or content that cannot be read is refused in its own way."""
    assert isinstance(await got(read_body, data, *headers), kind)


async def test_a_packed_body_is_unpacked_within_the_limit() -> None:
    """A packed body is unpacked, and its size counts unpacked."""
    body = await got(read_body, gzip.compress(b'{"model":"m"}'), "Content-Encoding: gzip")
    assert isinstance(body, JsonBody) and body.text("model") == "m"
    large = b'{"a":"' + b"x" * 10 * LIMIT + b'"}'
    assert isinstance(await got(read_body, gzip.compress(large), "Content-Encoding: gzip"), TooLarge)


@pytest.mark.parametrize(("size", "is_taken"), [(LIMIT, True), (LIMIT + 1, False)])
async def test_the_limit_holds_however_the_body_comes(size: int, is_taken: bool) -> None:
    """A body of exactly the limit is read, one byte more is refused, also where no length was declared."""
    data = b"x" * size
    for found in (
        await got(read_raw, data),
        await got(read_raw, chunked(data, 7), "Transfer-Encoding: chunked"),
    ):
        assert found == data if is_taken else isinstance(found, TooLarge)


async def test_a_body_is_refused_before_its_end() -> None:
    """A body without a declared length is refused as soon as it is beyond the limit, though its end never comes."""
    endless = chunked(b"x" * (LIMIT + 1), 7).removesuffix(b"0\r\n\r\n")
    assert isinstance(await got(read_raw, endless, "Transfer-Encoding: chunked"), TooLarge)


async def test_a_declared_length_is_refused_before_the_body_comes() -> None:
    """A length beyond the limit is refused at once, without waiting for a byte."""
    assert isinstance(await got(read_raw, b"", declared=LIMIT + 1), TooLarge)


async def test_the_body_is_invited_only_when_it_is_wanted() -> None:
    """A client that waits for `100 Continue` gets it when the body is read, and then one whole answer."""
    assert await got(read_raw, b"ab", "Expect: 100-Continue") == b"ab"


async def test_a_slow_or_broken_body_is_the_clients_fault() -> None:
    """A body that stops is told by its seconds; one whose connection closes means that the client is gone."""
    slow = await got(read_raw, b"ab", declared=3, seconds=0.02)
    assert isinstance(slow, ClientTooSlow) and slow.message == "The body did not arrive within 0.02 s"
    assert isinstance(await got(read_raw, b"ab", declared=3), ClientGone)

"""The dialects of token counts: a request of their base, cut down to what is counted, and one number back."""

import json
from typing import Any

import pytest

from gateway.errors import Declined, Unreadable
from gateway.faults import Fault
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.dialect import Dialect, Glance
from gateway.wire.neutral import Reply, Request, Stop, StopReason, Usage
from gateway.wire.token_counts import counting
from gateway.wire.translation.memo import Setting
from tests.wire.crossings import CHAT, body, chat_request, memo_of

COUNT = counting(CHAT, "counts", "/chat/count", {"model", "messages"}, {"object": "count"})


def read_reply(said: bytes, dialect: Dialect = COUNT) -> Reply:
    assert dialect.upstream is not None
    return dialect.upstream.read_reply(said, memo_of("openai_chat"))


def write_reply(usage: Usage | None) -> Any:
    assert COUNT.client is not None
    reply = Reply("", "", (), Stop(StopReason.END), usage)
    return json.loads(COUNT.client.write_reply(reply, memo_of("openai_chat")))


def test_a_count_is_a_dialect_of_its_own() -> None:
    """A count has its own name and path, generates nothing, is charged to its own limits, and is never probed."""
    assert (COUNT.name, COUNT.path, COUNT.label) == ("counts", "/chat/count", "chat_count")
    assert (CHAT.generates, COUNT.generates) == (True, False)
    assert COUNT.limit_class == "default" != CHAT.limit_class
    assert CHAT.probe and not COUNT.probe
    assert COUNT.write_error is CHAT.write_error and COUNT.native_header == CHAT.native_header
    assert CHAT.upstream is not None and COUNT.upstream is not None
    assert COUNT.upstream.losses == CHAT.upstream.losses


@pytest.mark.parametrize("more", [{}, {"temperature": 0.5, "stream": True}, {"max_tokens": 100_000}])
def test_only_what_is_counted_is_sent(more: dict[str, Any]) -> None:
    """A count takes fewer members than a request, and never comes as a stream, however long the reply would be."""
    assert COUNT.upstream is not None
    memo = memo_of("openai_chat", chat_request(**more))
    written = COUNT.upstream.write_request(memo.request, Setting("up", memo.profile), memo)
    assert written.members == {"model": "up", "messages": [{"role": "user", "content": "Hi"}]}
    assert not written.must_stream


def test_a_long_reply_would_have_been_streamed() -> None:
    """The base itself asks for a stream where its count does not."""
    assert CHAT.upstream is not None
    memo = memo_of("openai_chat", chat_request(max_tokens=100_000))
    assert CHAT.upstream.write_request(memo.request, Setting("up", memo.profile), memo).must_stream


def test_a_count_is_read_and_written() -> None:
    """A count is the input tokens of an empty reply, and is written with the members of its API beside it."""
    reply = read_reply(b'{"input_tokens":17,"odd":[]}')
    assert reply == Reply("", "", (), Stop(StopReason.END), Usage(input=17))
    assert write_reply(reply.usage) == {"object": "count", "input_tokens": 17}
    assert COUNT.write_count is not None
    assert json.loads(COUNT.write_count(3)) == {"object": "count", "input_tokens": 3}


@pytest.mark.parametrize("usage", [None, Usage(), Usage(output=5)])
def test_an_unknown_count_is_written_as_zero(usage: Usage | None) -> None:
    """Clients need a number, so a reply without one counts nothing."""
    assert write_reply(usage)["input_tokens"] == 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"<html>", "not a JSON object"),
        (b"[17]", "not a JSON object"),
        (b'{"a":"\xff"}', "not a JSON object"),
        (b"{}", "no count"),
        (b'{"input_tokens":null}', "no count"),
        (b'{"input_tokens":"17"}', "no count"),
        (b'{"input_tokens":1.5}', "no count"),
        (b'{"input_tokens":true}', "no count"),
    ],
)
def test_a_reply_without_a_count_is_unreadable(said: bytes, words: str) -> None:
    """A reply that holds no whole number of tokens is the provider's fault, on the raw lane as well."""
    with pytest.raises(Unreadable, match=words):
        read_reply(said)
    with pytest.raises(Unreadable, match=words):
        COUNT.glance(said)


def test_an_error_inside_a_200_is_read() -> None:
    """An error in place of a count is classified like any error of the provider, under the name of the base."""
    said = b'{"error":{"message":"Slow down","type":"rate_limit_error"},"input_tokens":1}'
    with pytest.raises(Declined, match="Slow down") as caught:
        read_reply(said)
    assert caught.value.fault is Fault.LIMITED and caught.value.dialect == "openai_chat"
    with pytest.raises(Declined):
        COUNT.glance(said)


def test_a_good_count_needs_no_second_look() -> None:
    """On the raw lane a count is no usage, and `error: null` is no error."""
    assert COUNT.glance(b'{"error":null,"input_tokens":0}') == Glance()


def test_a_count_may_read_its_requests_itself() -> None:
    """A reader of its own replaces the base's, for a count whose requests have fewer members."""

    def read(said: JsonBody) -> Request:
        return Request("counts", said.text("model") or "none")

    own = counting(CHAT, "counts", "/x", set(), {}, read)
    assert own.client is not None and COUNT.client is not None and CHAT.client is not None
    assert own.client.read_request(body({"model": "a"})) == Request("counts", "a")
    assert COUNT.client.read_request is CHAT.client.read_request

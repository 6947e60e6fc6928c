"""Every header rule, in both directions."""

import pytest
from multidict import CIMultiDict

from gateway.proxy.plan.headers import (
    BETA,
    EVENT_STREAM,
    LONG_CONTEXT,
    MAX_DROPPED,
    MAX_FORWARDED,
    VERSION,
    forwarded_headers,
    join_headers,
    reply_headers,
    request_headers,
    request_id_of,
    upstream_headers,
)
from gateway.proxy.plan.mode import FULL, MINIMAL, PASS_THROUGH, Mode
from gateway.wire import DIALECTS
from tests.proxy.plan.sources import provider

CHAT, MESSAGES = DIALECTS["openai_chat"], DIALECTS["anthropic_messages"]
SAID = CIMultiDict({"Anthropic-Version": "2023-06-01", "Anthropic-Beta": "a", "Cookie": "c", "X-Api-Key": "k"})
SAID.add("Anthropic-Beta", "b")


@pytest.mark.parametrize(
    ("mode", "passed"),
    [
        (FULL, {VERSION: "2023-06-01", BETA: "a,b"}),
        (PASS_THROUGH, {VERSION: "2023-06-01", BETA: "a,b"}),
        (MINIMAL, {VERSION: "2023-06-01"}),
    ],
)
def test_only_named_headers_go_up(mode: Mode, passed: dict[str, str]) -> None:
    """Only the dialect's own headers go upstream, lines of one name as one list; `/min` keeps only the version."""
    assert forwarded_headers(SAID, MESSAGES, mode) == passed
    assert forwarded_headers(SAID, CHAT, mode) == {}


def test_a_forwarded_value_cannot_carry_a_second_header() -> None:
    """What is forwarded is printable ASCII of a bounded length."""
    headers = CIMultiDict({"OpenAI-Beta": "a\r\nCookie: b\u00e9" + "x" * 2 * MAX_FORWARDED})
    (value,) = forwarded_headers(headers, CHAT, FULL).values()
    assert value.startswith("aCookie: bxx") and len(value) <= MAX_FORWARDED


@pytest.mark.parametrize(
    ("configured", "forwarded", "long", "sent"),
    [
        ({}, {}, False, {VERSION: "2023-06-01"}),
        ({"Anthropic-Version": "old"}, {}, False, {VERSION: "old"}),
        ({"Anthropic-Version": "old"}, {VERSION: "new"}, False, {VERSION: "new"}),
        ({"X-Team": "t"}, {"x-team": "u"}, False, {VERSION: "2023-06-01", "x-team": "t"}),
        ({"Anthropic-Beta": "b,c"}, {BETA: "a,b"}, False, {VERSION: "2023-06-01", BETA: "a,b,c"}),
        ({}, {BETA: "a"}, True, {VERSION: "2023-06-01", BETA: f"a,{LONG_CONTEXT}"}),
        ({}, {BETA: LONG_CONTEXT}, True, {VERSION: "2023-06-01", BETA: LONG_CONTEXT}),
        ({}, {}, True, {VERSION: "2023-06-01", BETA: LONG_CONTEXT}),
    ],
)
def test_the_operator_wins_but_for_the_version(
    configured: dict[str, str], forwarded: dict[str, str], long: bool, sent: dict[str, str]
) -> None:
    """The provider's settings win over the client's headers, except for the API version; betas add up."""
    found = upstream_headers(MESSAGES, provider(headers=configured), forwarded, wants_long_context=long)
    assert found == sent


def test_long_context_is_a_beta_of_anthropic_only() -> None:
    """The beta for a long context is not sent to a dialect without an API version."""
    assert upstream_headers(CHAT, provider(), {}, wants_long_context=True) == {}


def test_joining_changes_neither_side() -> None:
    """Joined betas keep their order, any other header is replaced, and the arguments stay as they were."""
    ours, more = {BETA: "a, b", "x": "1"}, {BETA: "b,c", "x": "2"}
    assert join_headers(ours, more) == {BETA: "a,b,c", "x": "2"}
    assert (ours, more) == ({BETA: "a, b", "x": "1"}, {BETA: "b,c", "x": "2"})


@pytest.mark.parametrize(
    ("ours", "more", "sent"),
    [("a", "b,b", "a,b"), ("a,a", "a", "a"), ("", "a, a ,b", "a,b"), ("a,,b ", " b ,c", "a,b,c"), ("a", "", "a")],
)
def test_each_beta_is_sent_once(ours: str, more: str, sent: str) -> None:
    """A beta that stands twice on either side is sent once, without blanks around it."""
    assert join_headers({BETA: ours}, {BETA: more}) == {BETA: sent}


@pytest.mark.parametrize(("asks_stream", "accept"), [(True, EVENT_STREAM), (False, "*/*")])
def test_a_request_says_who_asks_and_for_what(asks_stream: bool, accept: str) -> None:
    """A request accepts a stream only if it asks for one, no packing, and carries the credential last."""
    sent = request_headers("application/json", {"a": "b"}, ("a", "secret"), asks_stream=asks_stream)
    assert (sent["Accept"], sent["Accept-Encoding"], sent["a"]) == (accept, "identity", "secret")
    assert sent["User-Agent"].startswith("aiohttp-llm-gateway/")
    assert "" not in request_headers("x", {}, ("", ""), asks_stream=False)


@pytest.mark.parametrize("name", ["user-agent", "USER-AGENT", "accept", "Accept-encoding", "content-type"])
def test_each_header_is_sent_once_in_whatever_case(name: str) -> None:
    """A header of the settings stands in place of the gateway's own, and the credential in place of both."""
    sent = request_headers("application/json", {name: "theirs"}, ("", ""), asks_stream=False)
    assert [value for key, value in sent.items() if key.lower() == name.lower()] == ["theirs"]
    assert len(sent) == 4
    sent = request_headers("x", {"authorization": "Bearer old"}, ("Authorization", "Bearer new"), asks_stream=False)
    assert [value for key, value in sent.items() if key.lower() == "authorization"] == ["Bearer new"]


def test_few_of_the_providers_headers_come_back() -> None:
    """A client gets ours, one request id, and only on the raw lane the provider's own words."""
    upstream = {"x-request-id": "r\n1", "request-id": "r2", "openai-version": "v", "set-cookie": "c"}
    raw = reply_headers(upstream, "p", "m\u00e9", 2, "", is_raw=True, request_id=request_id_of(upstream))
    assert raw == {
        "x-gateway-provider": "p",
        "x-gateway-model": "m",
        "x-gateway-attempts": "2",
        "openai-version": "v",
        "x-gateway-upstream-request-id": "r1",
    }
    translated = reply_headers({"openai-version": "v"}, "p", "m", 1, "top_k," * MAX_DROPPED, is_raw=False)
    assert "openai-version" not in translated and len(translated["x-gateway-dropped"]) == MAX_DROPPED

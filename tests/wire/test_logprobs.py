"""Logprobs cross between Chat and Responses, whole and streamed: each token once, beside the text it belongs to."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Broke, Unreadable
from gateway.wire import DIALECTS
from gateway.wire.openai_responses.streamed_item import build_item
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, spread
from gateway.wire.translation.logprobs import MAX_LOGPROBS, Logprobs
from tests.wire.crossings import cross, crossing
from tests.wire.grammar import frames_of
from tests.wire.logprobs import (
    CLIENTS,
    DONE,
    HELLO,
    OTHER,
    asked,
    body_of,
    chat,
    chat_body,
    chat_stream,
    completed,
    delta,
    final_tokens,
    item_done,
    part,
    responses_stream,
    stream_of,
    streamed,
    text_done,
    token,
    whole,
)

BOTH = pytest.mark.parametrize("client", CLIENTS)
A, B, C = token("a"), token("b"), token("c")
SMILE = [token(b"\xf0\x9f"), token(b"\x98\x80")]
PIECES = [("Hel", HELLO[:1]), ("lo", HELLO[1:])]


@BOTH
def test_whole_replies(client: str) -> None:
    """A whole reply has the tokens of its text, with bytes and the likeliest others."""
    assert whole(client, body_of(OTHER[client], "Hello", HELLO)) == ("Hello", HELLO)


@BOTH
def test_each_delta_has_its_own(client: str) -> None:
    """In a stream the tokens stand in the frame of their text, as the provider sent them."""
    assert streamed(client, stream_of(OTHER[client], *PIECES)) == PIECES


@BOTH
def test_a_stream_put_together_and_a_reply_spread(client: str) -> None:
    """A stream for a client that wants none, and a whole reply for one that wants a stream, have all tokens."""
    assert whole(client, stream_of(OTHER[client], *PIECES), is_stream=True) == ("Hello", HELLO)
    reads, writes, memo = DIALECTS[OTHER[client]].upstream, DIALECTS[client].client, asked(client)
    assert reads is not None and writes is not None
    out = spread(writes, read_whole(reads, body_of(OTHER[client], "Hello", HELLO), False, memo), memo)
    said = [json.loads(data) for _, data in frames_of(out) if data != "[DONE]"]
    if client == "openai_chat":
        lists = [choice["logprobs"]["content"] for one in said for choice in one["choices"] if choice["logprobs"]]
    else:
        lists = [one["logprobs"] for one in said if one["type"].endswith("text.delta")]
    assert lists == [HELLO]


@BOTH
@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("ab😀", max_size=3), st.integers(0, 3)), max_size=8))
def test_every_token_arrives_once(client: str, told: list[tuple[str, int]]) -> None:
    """However a server spreads tokens over its deltas, the client gets all of them, in order."""
    pieces = [
        (text, [token(f"{place}", -number) for number in range(count)]) for place, (text, count) in enumerate(told)
    ]
    pieces = [("x", [A]), *pieces]
    found = streamed(client, stream_of(OTHER[client], *pieces))
    assert "".join(text for text, _ in found) == "".join(text for text, _ in pieces)
    tokens = [one for _, tokens in pieces for one in tokens]
    if client == "openai_chat":
        assert [one for _, tokens in found for one in tokens] == tokens
    else:
        assert final_tokens(chat_stream(*pieces)) == tokens


@BOTH
def test_a_client_that_has_not_asked_gets_none(client: str) -> None:
    """LM Studio sends logprobs unasked; they are null in Chat and empty in Responses."""
    stream = stream_of(OTHER[client], *PIECES)
    assert streamed(client, stream, asked(client, wants=False)) == [("Hel", []), ("lo", [])]
    body = body_of(OTHER[client], "Hello", HELLO)
    none: Any = None if client == "openai_chat" else []
    assert whole(client, body, asked(client, wants=False)) == ("Hello", none)


@BOTH
@pytest.mark.parametrize("given_tokens", [None, [], "x", 5, {}, [None, 5, "a", {}, {"token": 5}, {"logprob": -1.0}]])
def test_what_is_no_token_is_left_out(client: str, given_tokens: Any) -> None:
    """Null, an empty list and nonsense are nothing, and the text arrives."""
    none: Any = None if client == "openai_chat" else []
    assert whole(client, body_of(OTHER[client], "Hello", given_tokens)) == ("Hello", none)
    stream = chat_stream(("Hello", [])) if client == "openai_responses" else responses_stream(("Hello", []))
    bent = stream.replace(b'"logprobs": []', b'"logprobs": ' + json.dumps(given_tokens).encode())
    assert streamed(client, bent.replace(b'"logprobs": null', b'"logprobs": {"content": 5}')) == [("Hello", [])]


@BOTH
@pytest.mark.parametrize(
    ("sent", "filled"),
    [
        ({"token": "a", "logprob": -0.5}, A),
        ({"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": None}, A),
        ({"token": "a", "logprob": -0.5, "bytes": [], "top_logprobs": [None, {}, 5]}, A),
        ({"token": "a", "logprob": -0.5, "bytes": [300, "x"], "token_id": 7}, A),
        ({"token": "a", "logprob": None}, token("a", -9999.0)),
        ({"token": "a"}, token("a", -9999.0)),
        ({"token": "a", "logprob": "x"}, token("a", -9999.0)),
        ({"token": "a", "logprob": True}, token("a", -9999.0)),
        ({"token": "a", "logprob": 0}, token("a", 0)),
        ({"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "é", "logprob": -3.5}]}, token("a", -0.5, "é")),
        ({"token": "\ufffd", "logprob": -0.5, "bytes": [240, 159]}, token(b"\xf0\x9f") | {"token": "\ufffd"}),
    ],
)  # fmt: skip
def test_members_that_are_missing_are_filled_in(client: str, sent: Any, filled: Any) -> None:
    """A token has every member that the SDKs' types have: bytes from its text, no others, -9999 for no number."""
    assert streamed(client, stream_of(OTHER[client], ("a", [sent]))) == [("a", [filled])]
    assert whole(client, body_of(OTHER[client], "a", [sent]))[1] == [filled]


@BOTH
@pytest.mark.parametrize("number", ["-Infinity", "NaN", "-1e999", "1" + "0" * 400])
def test_numbers_that_are_no_json(client: str, number: str) -> None:
    """vLLM writes -Infinity for a token that cannot be: the client reads -9999, as OpenAI writes it."""
    stream = stream_of(OTHER[client], ("a", [A])).replace(b'"logprob": -0.5', b'"logprob": ' + number.encode())
    assert streamed(client, stream) == [("a", [token("a", -9999.0)])]


@BOTH
def test_halves_of_a_character(client: str) -> None:
    """Tokens without text come before the text that they are a piece of, or behind the last one."""
    first = [("", SMILE[:1]), ("😀", SMILE[1:]), ("b", [B])]
    found = streamed(client, stream_of(OTHER[client], *first))
    assert [one for _, tokens in found for one in tokens] == [*SMILE, B]
    later = [("a", [A]), ("", SMILE[:1]), ("😀", SMILE[1:])]
    found = streamed(client, stream_of(OTHER[client], *later))
    assert [one for _, tokens in found for one in tokens] == [A, *SMILE]


def test_tokens_that_end_the_turn() -> None:
    """A last token without text is in the parts of a Responses client, and in an empty delta of a Chat client."""
    end = token("<|end|>")
    stream = chat("a", A) + chat("", end) + chat(None, finish="stop") + DONE
    assert final_tokens(stream) == [A, end]
    assert final_tokens(chat("a", A) + chat("", end, finish="stop") + DONE) == [A, end]
    stream = delta("a", A) + delta("", end) + item_done(part("a", [A, end])) + completed(part("a", [A, end]))
    assert streamed("openai_chat", stream) == [("a", [A]), ("", [end])]


RESPONSES: list[tuple[str, bytes]] = [
    ("in the deltas only", delta("ab", A, B) + text_done("ab", []) + item_done(part("ab", [])) + completed()),
    ("in done only", delta("ab") + text_done("ab", [A, B]) + item_done(part("ab", [])) + completed(part("ab", []))),
    ("in the item only", delta("ab") + text_done("ab", []) + item_done(part("ab", [A, B])) + completed()),
    ("in the response only", delta("ab") + completed(part("ab", [A, B]))),
    ("without deltas", text_done("ab", [A, B]) + item_done(part("ab", [A, B])) + completed(part("ab", [A, B]))),
    ("the rest in the item", delta("a", A) + item_done(part("ab", [A, B])) + completed(part("ab", [A, B]))),
    ("some in done", delta("ab", A) + text_done("ab", [A, B]) + item_done(part("ab", [A, B])) + completed()),
    ("everywhere", responses_stream(("a", [A]), ("b", [B]))),
]


@pytest.mark.parametrize("stream", [stream for _, stream in RESPONSES], ids=[name for name, _ in RESPONSES])
def test_a_list_that_is_repeated_is_told_once(stream: bytes) -> None:
    """Wherever a Responses provider has put the list, and however often, a Chat client gets it once."""
    found = streamed("openai_chat", stream)
    assert ("".join(text for text, _ in found), [one for _, tokens in found for one in tokens]) == ("ab", [A, B])
    assert whole("openai_chat", stream, is_stream=True) == ("ab", [A, B])


def test_a_part_that_goes_on_in_the_response() -> None:
    """What the response adds to an item that was done comes with its tokens, and only with these."""
    stream = delta("a", A) + item_done(part("a", [A])) + completed(part("ab", [A, B]))
    assert streamed("openai_chat", stream) == [("a", [A]), ("b", [B])]


def test_several_parts_and_items() -> None:
    """The tokens of several texts are one list in Chat; a refusal's part has none."""
    no = {"type": "refusal", "refusal": "c", "logprobs": [C]}
    body = completed(part("a", [A]), part("b", [B]), no)
    found = streamed("openai_chat", body)
    assert [one for _, tokens in found for one in tokens] == [A, B]


CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_tokens_of_other_things_are_nobodys() -> None:
    """Servers that list the tokens of thoughts, calls and refusals too: a text has only its own."""
    stream = chat(None, C, reasoning_content="c") + chat("", C, reasoning="c") + chat("a", A)
    stream += chat(None, C, tool_calls=[CALL]) + chat(None, finish="tool_calls") + DONE
    memo = asked("openai_responses")
    out = cross("openai_responses", stream, memo, "openai_chat")
    final = json.loads(frames_of(out)[-1][1])["response"]
    lists = [part.get("logprobs") for one in final["output"] for part in one.get("content", ()) if "logprobs" in part]
    assert lists == [[A]]
    thought, end = token("c</think>\n"), token("<|end|>")
    body = chat_body("ab", [thought, A, B, end], reasoning_content="c")
    assert whole("openai_responses", body)[1] == [A, B, end]
    assert whole("openai_responses", chat_body(None, [C], tool_calls=[CALL]))[1] == []


@pytest.mark.parametrize("cut", range(1, 6))
def test_thoughts_in_tags(cut: int) -> None:
    """Where thoughts stand in tags in the text, the tokens of thoughts and tags are left out."""
    tokens = [token(text) for text in ("<think>", "ab", "</think>", "\n\n", "a", "b")]
    profile = Profile(think_tags=True)
    halves = [tokens[:cut], tokens[cut:]]
    stream = chat_stream(*(("".join(one["token"] for one in half), half) for half in halves))
    assert final_tokens(stream, asked("openai_responses", profile)) == [A, B]
    plain = [("a", [A]), ("b", [B])]
    kinds: list[dict[str, Any]] = [{}, {"reasoning": {"effort": "high"}}]
    for unseen in kinds:
        assert final_tokens(chat_stream(*plain), asked("openai_responses", profile, **unseen)) == [A, B]


def test_a_message_behind_its_deltas() -> None:
    """A frame that repeats the message repeats its tokens too: they are told once."""
    again = json.loads(chat_body("ab", [A, B])) | {"object": "chat.completion"}
    stream = chat("a", A) + chat("b", B) + b"data: " + json.dumps(again).encode() + b"\n\n" + DONE
    assert final_tokens(stream) == [A, B]


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([("abXc", [A, B, token("X"), C])], [A, B]),
        ([("a", [A]), ("bX", [B, token("X")])], [A, B]),
        ([("ab", [A, B]), ("X", [token("X")]), ("c", [C])], [A, B]),
        ([("a", [A]), ("bXc", [token("bX"), C])], [A]),
        ([("abY", [A, B, token("Y")]), ("Zc", [token("Z"), C])], [A, B]),
        ([("abY", [A, B, token("Y")]), ("c", [C])], [A, B, token("Y"), C]),
        ([("abY", [A, token("bY")]), ("c", [C])], [A, token("bY"), C]),
        ([("abY", [A, B, token("Y")])], [A, B, token("Y")]),
        ([("😀X", [*SMILE, token("X")])], SMILE),
        ([("ab", [token("Ġa"), token("Ġb")]), ("c", [C])], [token("Ġa"), token("Ġb"), C]),
    ],
)
@pytest.mark.parametrize("is_stream", [True, False])
def test_text_behind_a_stop_sequence_takes_its_tokens_along(pieces: Any, kept: Any, is_stream: bool) -> None:
    """What the gateway cuts off or holds back has no tokens before its text; a token across the cut goes too."""
    memo = asked("openai_chat", stop=["X", "YZ"])
    memo.stops = ("X", "YZ")
    text = "".join(text for text, _ in pieces)
    if is_stream:
        found = streamed("openai_chat", responses_stream(*pieces), memo)
        said, tokens = "".join(text for text, _ in found), [one for _, tokens in found for one in tokens]
    else:
        said, tokens = whole("openai_chat", responses_stream(*pieces), memo, is_stream=True)
    assert (said, tokens) == (text.split("X")[0].split("YZ")[0], kept)


def test_a_stream_that_breaks_keeps_its_tokens() -> None:
    """The object of `response.failed` has the tokens of the text so far."""
    lane = crossing("openai_responses", "openai_chat", asked("openai_responses"))
    out = lane.feed(chat("a", A)) + lane.fail(Broke("The provider was silent"), "req_1")
    final = json.loads(frames_of(out)[-1][1])["response"]
    assert final["output"][0]["content"] == [part("a", [A])]


def test_an_item_that_was_cut_off_keeps_its_tokens() -> None:
    """What is stored of a stream without end has the tokens of its text; those of `done` are in place of the deltas'."""
    for stream, tokens in (
        (delta("a", A), [A]),
        (delta("a") + delta("b", B), [B]),
        (delta("a", A) + text_done("a", [B]), [B]),
    ):
        item = build_item(None, stream, "incomplete")
        assert item is not None and [one["logprobs"] for one in item["content"]] == [tokens]


def test_messages_clients_get_no_logprobs() -> None:
    """A provider that sends them unasked changes nothing for a Messages client."""
    plain = cross("anthropic_messages", chat_stream(("a", [])))
    assert cross("anthropic_messages", chat_stream(("a", [A]))) == plain
    assert b"logprob" not in cross("anthropic_messages", responses_stream(("a", [A])), upstream="openai_responses")


def test_too_many_are_refused() -> None:
    """A provider cannot fill the memory with tokens that say nothing."""
    reader = Logprobs(is_asked=True)
    many = [{"token": "x" * 1_000_000, "logprob": 0.0, "bytes": [1]}] * 8
    with pytest.raises(Unreadable, match="logprobs"):
        for _ in range(MAX_LOGPROBS // 8_000_000 + 1):
            reader.read(many)

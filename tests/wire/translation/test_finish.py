"""The words by which servers say why a model stopped."""

import json
from typing import Any

import pytest

from gateway.errors import Broke, Unreadable, UpstreamFault
from gateway.wire import DIALECTS
from gateway.wire.codec.sse import DONE
from gateway.wire.dialect import Asked
from gateway.wire.lane import Lane
from gateway.wire.neutral import Reply, StopReason
from gateway.wire.openai_chat import raw
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.finish import WORDS, Failed, meaning_of, spelled
from tests.wire.crossings import chunk, crossing, event, memo_of, message
from tests.wire.odd_streams import NAMES, carried, told
from tests.wire.streams import fragment, tools

CUT = [
    "length", "max_tokens", "model_length", "model_context_window_exceeded", "max_output_tokens", "repetition",
    "context_length_exceeded", "MAX_TOKENS", "max-tokens", "maxTokens", "FINISH_REASON_MAX_TOKENS", "REASON_MAX_LEN",
    "token_limit", "truncated", "incomplete", "max_new_tokens", "time_limit", "output_budget_reached",
]  # fmt: skip
FILTERED = [
    "content_filter", "sensitive", "SAFETY", "RECITATION", "content_filter: PROHIBITED_CONTENT", "guardrail_intervened",
    "refusal", "blocklist", "content_filtered", "moderation", "IMAGE_SAFETY", "new_safety_rule", "ContentFilter",
]  # fmt: skip
FAILED = [
    "error", "network_error", "insufficient_system_resource", "abort", "model_error", "ERROR", "malformed_function_call",
    "function_call_filter: MALFORMED_FUNCTION_CALL", "internal_error", "engine_overloaded", "timeout",
]  # fmt: skip
ENDED = ["stop", "end_turn", "eos", "eos_token", "COMPLETE", "STOP", "tool_calls", "whatever", "✓"]
# The words of each client's dialect: (cut, filtered, ended).
SAID = {
    "openai_chat": ("length", "content_filter", "stop"),
    "anthropic_messages": ("max_tokens", "refusal", "end_turn"),
    "openai_responses": ("incomplete", "incomplete", "completed"),
}
MEANT = [*((word, 0) for word in CUT), *((word, 1) for word in FILTERED), *((word, 2) for word in ENDED)]


def test_the_table_is_in_its_own_spelling() -> None:
    """Each word of the table is found as it is written there, and means one thing."""
    assert all(spelled(word) == word and meaning_of(word) is meaning for word, meaning in WORDS.items())
    assert meaning_of("") is None and meaning_of("x" * 10_000_000) is None


def whole(upstream: str, word: str) -> Reply:
    """Read a whole reply that ends with a word."""
    bodies: dict[str, Any] = {
        "openai_chat": {"choices": [{"message": {"content": "a"}, "finish_reason": word}]},
        "anthropic_messages": {"content": [{"type": "text", "text": "a"}], "stop_reason": word},
        "openai_responses": {
            "status": "incomplete",
            "incomplete_details": {"reason": word},
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
        },
    }
    side = DIALECTS[upstream].upstream
    assert side is not None
    return read_whole(side, json.dumps(bodies[upstream]).encode(), False, memo_of("openai_chat"))


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize(("word", "place"), MEANT)
def test_ends_of_chat_streams(client: str, word: str, place: int) -> None:
    """A cut or filtered reply of a Chat provider is one for every client."""
    assert told(client, "openai_chat", chunk(content="a") + chunk(word) + DONE).stop == SAID[client][place]


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize(("word", "place"), MEANT)
def test_ends_of_messages_streams(client: str, word: str, place: int) -> None:
    """A Messages provider may use the same words."""
    assert (
        told(client, "anthropic_messages", message({"type": "text", "text": "a"}, stop=word)).stop
        == SAID[client][place]
    )


@pytest.mark.parametrize("upstream", NAMES)
@pytest.mark.parametrize(
    ("word", "reason"),
    [*((word, StopReason.LENGTH) for word in CUT), *((word, StopReason.FILTERED) for word in FILTERED)],
)
def test_ends_of_whole_replies(upstream: str, word: str, reason: StopReason) -> None:
    """Whole replies of all dialects know the same words."""
    assert whole(upstream, word).stop.reason is reason


@pytest.mark.parametrize("word", [*FAILED])
def test_failures_are_errors(word: str) -> None:
    """A reply that has failed is an error in every lane, not an end."""
    for upstream in NAMES:
        with pytest.raises(UpstreamFault):
            whole(upstream, word)
    for client in NAMES:
        with pytest.raises(UpstreamFault):
            told(client, "openai_chat", chunk(content="a") + chunk(word) + DONE)
    with pytest.raises(Broke):
        carried("openai_chat", chunk(content="a") + chunk(word) + DONE)
    with pytest.raises(Broke):
        raw.glance(json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": word}]}).encode())
    assert meaning_of(word) is Failed.FAILED


@pytest.mark.parametrize("reason", ["something_new", None, 5])
def test_an_incomplete_response_is_cut_whatever_the_reason(reason: Any) -> None:
    """`status: incomplete` says that the response is not whole, also for a reason that nobody knows."""
    end: dict[str, Any] = {
        "status": "incomplete",
        "incomplete_details": {"reason": reason},
        "output": [],
        "usage": None,
    }
    stream = event("response.created", response={}) + event("response.incomplete", response=end)
    assert told("openai_chat", "openai_responses", stream).stop == "length"
    end["status"] = "completed"
    end["incomplete_details"] = {"reason": "max_output_tokens"}
    stream = event("response.created", response={}) + event("response.completed", response=end)
    assert told("openai_chat", "openai_responses", stream).stop == "length"


def test_steered_responses_have_ended() -> None:
    """An end that was asked for is an end."""
    assert whole("openai_responses", "steered").stop.reason is StopReason.END


@pytest.mark.parametrize("word", ["whatever", "done", "stop"])
def test_calls_say_otherwise(word: str) -> None:
    """A word that is unknown or a plain end means tools if the model has called one."""
    stream = tools(fragment("{}", index=0, id="c", name="f")) + chunk(word) + DONE
    assert told("anthropic_messages", "openai_chat", stream).stop == "tool_use"


def test_unknown_words_are_noted() -> None:
    """A word that no table knows is kept, so that it can be counted; a known one is not."""
    for upstream, stream in (
        ("openai_chat", chunk(content="a") + chunk("whatever") + DONE),
        ("anthropic_messages", message({"type": "text", "text": "a"}, stop="whatever")),
    ):
        lane = crossing("openai_chat", upstream)
        for frame in stream.split(b"\n\n")[:-1]:
            lane.feed(frame + b"\n\n")
        assert lane.memo.odd_finish == "whatever"
    lane = crossing("anthropic_messages", "openai_chat")
    lane.feed(chunk("stop", content="a"))
    assert lane.memo.odd_finish == ""


LAST = [
    (["stop", "stop", "length"], "length"),
    (["stop", "stop", "content_filter"], "content_filter"),
    (["stop", "length", ""], "length"),
    (["stop", "length", "null"], "length"),
    (["length", "whatever"], "length"),
    (["whatever", "length"], "length"),
    (["length", "stop"], "stop"),
    (["stop", "stop", "stop"], "stop"),
]


@pytest.mark.parametrize(("words", "last"), LAST)
@pytest.mark.parametrize("is_tidy", [True, False])
def test_the_last_finish_counts(words: list[str], last: str, is_tidy: bool) -> None:
    """A server may say `stop` with every chunk: what it says last is the end, crossed and tidied."""
    stream = b"".join(chunk(word, content=letter) for word, letter in zip(words, "abc", strict=False)) + DONE
    text = "abc"[: len(words)]
    found = told("openai_chat", "openai_chat", stream)
    assert (found.text, found.stop) == (text, last)
    for client, said in SAID.items():
        place = ("length", "content_filter", "stop").index(last)
        assert told(client, "openai_chat", stream).stop == said[place]
    if not is_tidy:
        assert carried("openai_chat", stream) == stream
        return
    if "whatever" not in words:
        frames = [json.loads(part[6:]) for part in carried("openai_chat", stream, is_tidy=True).split(b"\n\n")[:-2]]
        finishes = [one["choices"][0]["finish_reason"] for one in frames]
        assert [finish for finish in finishes if finish] == [last]


@pytest.mark.parametrize("is_tidy", [True, False])
def test_a_stream_that_goes_on_has_not_finished(is_tidy: bool) -> None:
    """With `stop` on every chunk the gateway does not wait only a moment for the next one."""
    dialect = DIALECTS["openai_chat"]
    straight = dialect.normalise(Asked()) if is_tidy else dialect.watch(Asked())
    lanes: list[Lane] = [crossing("anthropic_messages", "openai_chat"), straight]
    for lane in lanes:
        states = []
        for letter in "ab":
            lane.feed(chunk("stop", content=letter))
            states.append(lane.is_finished)
        assert states == [True, False]
        lane.feed(chunk("length"))
        lane.feed(DONE)
        lane.end()


def test_a_stream_that_never_finishes_is_broken_still() -> None:
    """Text after a finish does not excuse a missing one."""
    with pytest.raises((Broke, Unreadable)):
        told("anthropic_messages", "openai_chat", chunk(content="a") + chunk("", content="b") + DONE)

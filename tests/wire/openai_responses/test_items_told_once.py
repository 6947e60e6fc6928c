"""A Responses upstream whose items are oddly numbered or named: its client gets each call and each text once."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.neutral import Reasoning, Text, ToolCall
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import cross, memo_of
from tests.wire.grammar import Told, read_chat, read_messages

Item = dict[str, Any]
Number = Callable[[int], int | None]
NUMBERS: dict[str, Number] = {
    "dense": lambda place: place,
    "all 0": lambda place: 0,
    "from 1": lambda place: place + 1,
    "with a gap": lambda place: place * 2,
    "none": lambda place: None,
    "backwards": lambda place: 9 - place,
}
SAY: Item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
SAY |= {"content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]}
PARIS: Item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"city":"Paris"}'}
ROME: Item = {"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "f", "arguments": '{"city":"Rome"}'}
THOUGHT: Item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
ALL = (SAY, PARIS, ROME)


def frame(kind: str, **members: Any) -> bytes:
    said = {"type": f"response.{kind}", **{name: value for name, value in members.items() if value is not None}}
    return f"event: response.{kind}\ndata: {json.dumps(said)}\n\n".encode()


def begun() -> bytes:
    return frame("created", response={"id": "resp_1", "model": "up", "status": "in_progress", "output": []})


def completed(*output: Item, status: str = "completed") -> bytes:
    usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
    return frame(status, response={"id": "resp_1", "status": status, "output": list(output), "usage": usage})


def told(item: Item, number: int | None, *, named: bool = True, steps: str = "added deltas done") -> list[bytes]:
    """Write the events of one item."""
    place = {"output_index": number, "item_id": item["id"] if named else None}
    blank: Item = {"content": [], "arguments": ""}
    empty = item | {name: value for name, value in blank.items() if name in item}
    out = [frame("output_item.added", output_index=number, item=empty)] if "added" in steps else []
    if "deltas" in steps and item["type"] == "message":
        text = item["content"][0]["text"]
        out += [frame("output_text.delta", **place, content_index=0, delta=one) for one in (text[:4], text[4:])]
    elif "deltas" in steps and item["type"] == "function_call":
        text = item["arguments"]
        out += [frame("function_call_arguments.delta", **place, delta=one) for one in (text[:4], text[4:])]
    if "done" in steps and item["type"] == "function_call":
        out.append(frame("function_call_arguments.done", **place, arguments=item["arguments"]))
    return [*out, *([frame("output_item.done", output_index=number, item=item)] if "done" in steps else [])]


def both(stream: bytes) -> tuple[Told, Told]:
    """Return what a Messages client and a Chat client get of a stream."""
    claude = read_messages(cross("anthropic_messages", stream, upstream="openai_responses"))
    openai = read_chat(cross("openai_chat", stream, upstream="openai_responses"))
    return claude, openai


def check(stream: bytes, calls: Sequence[tuple[str, str]], text: str = "Let me look.") -> None:
    """Assert that both clients get these calls (id, arguments) and this text, streamed and gathered."""
    for one in both(stream):
        assert [(call_id, json.loads(arguments)) for call_id, _, arguments in one.calls] == [
            (call_id, json.loads(arguments)) for call_id, arguments in calls
        ]
        assert one.text == text
    reads = DIALECTS["openai_responses"].upstream
    assert reads is not None
    reply = read_whole(reads, stream, True, memo_of("openai_chat"))
    assert [(one.id, one.arguments) for one in reply.blocks if isinstance(one, ToolCall)] == list(calls)
    assert "".join(one.text for one in reply.blocks if isinstance(one, Text)) == text


WANTED = [("call_1", PARIS["arguments"]), ("call_2", ROME["arguments"])]


@pytest.mark.parametrize("steps", ["added deltas done", "added done", "deltas of texts, done", "added deltas"])
@pytest.mark.parametrize("named", [True, False], ids=["with item_id", "without item_id"])
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_however_items_are_numbered(number: Number, named: bool, steps: str) -> None:
    """The finished response repeats what was streamed: no call and no text comes twice."""
    steps = "done" if steps.startswith("deltas of") else steps
    events = [one for place, item in enumerate(ALL) for one in told(item, number(place), named=named, steps=steps)]
    check(b"".join([begun(), *events, completed(*ALL)]), WANTED)


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_thought_in_front_that_was_never_streamed(number: Number) -> None:
    """A thought that only the finished response has is told; it moves nothing else."""
    events = [one for place, item in enumerate(ALL) for one in told(item, number(place))]
    stream = b"".join([begun(), *events, completed(THOUGHT, *ALL)])
    check(stream, WANTED)
    assert [one.reasoning for one in both(stream)] == ["hm", "hm"]


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_what_only_the_finished_response_has(number: Number) -> None:
    """A call that was never streamed comes from the finished response, wherever it stands there."""
    events = [one for place, item in enumerate((SAY, ROME)) for one in told(item, number(place))]
    for output in ((SAY, PARIS, ROME), (PARIS, SAY, ROME), (ROME, SAY, PARIS)):
        check(b"".join([begun(), *events, completed(*output)]), WANTED[::-1])


@pytest.mark.parametrize("number", [NUMBERS["all 0"], NUMBERS["dense"], NUMBERS["none"]], ids=["0", "dense", "none"])
@pytest.mark.parametrize("lost", [("id",), ("id", "call_id")], ids=" and ".join)
def test_the_finished_response_has_other_ids(number: Number, lost: tuple[str, ...]) -> None:
    """Items whose ids are missing or new in the finished response are known by what they say."""
    events = [one for place, item in enumerate(ALL) for one in told(item, number(place))]
    for make in (lambda name: None, lambda name: f"new_{name}"):
        output = [item | {name: make(item[name]) for name in lost if name in item} for item in ALL]
        check(b"".join([begun(), *events, completed(*output)]), WANTED)


@pytest.mark.parametrize("number", [NUMBERS["all 0"], NUMBERS["dense"]], ids=["0", "dense"])
def test_ids_that_are_shared(number: Number) -> None:
    """Items that all have one `id`, or calls that all have one `call_id` too, stay as many as they are."""
    for shared in ({"id": "item_0"}, {"id": "item_0", "call_id": "call_1"}):
        items = [item | {name: value for name, value in shared.items() if name in item} for item in ALL]
        items[2] |= {"name": "g"}
        events = [one for place, item in enumerate(items) for one in told(item, number(place))]
        for one in both(b"".join([begun(), *events, completed(*items)])):
            assert [json.loads(given)["city"] for _, _, given in one.calls] == ["Paris", "Rome"]
            assert one.text == "Let me look." and len({call_id for call_id, _, _ in one.calls}) == 2


def test_calls_whose_events_are_mixed() -> None:
    """Arguments of parallel calls with one number go to the call of their item_id."""
    first, second = told(PARIS, 0, steps="added deltas"), told(ROME, 0, steps="added deltas")
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    dones = told(PARIS, 0, steps="done") + told(ROME, 0, steps="done")
    check(b"".join([begun(), *mixed, *dones, completed(PARIS, ROME)]), WANTED, "")


@pytest.mark.parametrize("repeated", [0, 1, 2, 3, 4])
def test_an_event_that_comes_twice(repeated: int) -> None:
    """A repeated event of a call that is complete adds nothing, neither a call nor an item of another kind."""
    events = told(PARIS, 0)
    twice = events if repeated == 4 else [events[repeated]] if repeated in (0, 3) else events[-1:]
    check(b"".join([begun(), *events, *twice, completed(PARIS)]), WANTED[:1], "")


@pytest.mark.parametrize("whole", ['{ "city": "Paris" }', "", "null", '{"city":"Paris"}\n'])
def test_arguments_that_are_written_anew(whole: str) -> None:
    """Arguments that their `done` writes with other white space are not joined with those of the deltas."""
    events = told(PARIS, 0, steps="added deltas")
    done = [frame("function_call_arguments.done", output_index=0, item_id="fc_1", arguments=whole)]
    stream = b"".join([begun(), *events, *done, completed(PARIS | {"arguments": whole})])
    assert [json.loads(given) for one in both(stream) for _, _, given in one.calls] == [{"city": "Paris"}] * 2


def test_the_rest_of_what_was_streamed() -> None:
    """What the finished response adds to a text, a call or a thought that was streamed in part is told."""
    half = told(SAY, 0, steps="added deltas")[:2] + told(PARIS, 1, steps="added deltas")[:2]
    check(b"".join([begun(), *half, completed(THOUGHT, SAY, PARIS)]), WANTED[:1])
    short = SAY | {"content": [{"type": "output_text", "text": "Let me "}]}
    check(b"".join([begun(), *told(short, 0), *told(PARIS, 0), completed(SAY, PARIS)]), WANTED[:1])


def test_a_thought_that_was_streamed_is_not_told_again() -> None:
    """A thought streamed under one number and listed at another place comes once, with its sealed state."""
    place = {"output_index": 3, "item_id": "rs_1", "summary_index": 0}
    whole = THOUGHT | {"encrypted_content": "SEALED"}
    events = [frame("output_item.added", output_index=3, item=THOUGHT | {"summary": []})]
    events += [frame("reasoning_summary_text.delta", **place, delta=one) for one in ("h", "m")]
    for done in ([], [frame("output_item.done", output_index=3, item=whole)]):
        stream = b"".join([begun(), *events, *done, *told(PARIS, 3), completed(whole, PARIS)])
        check(stream, WANTED[:1], "")
        reads = DIALECTS["openai_responses"].upstream
        assert reads is not None
        reply = read_whole(reads, stream, True, memo_of("openai_chat"))
        thoughts = [one for one in reply.blocks if isinstance(one, Reasoning)]
        assert [(one.text, one.sealed) for one in thoughts] == [("hm", "SEALED")]


def test_a_stream_without_its_beginning() -> None:
    """Without `response.created` the client's stream begins once all the same."""
    check(b"".join([*told(SAY, 0), *told(PARIS, 1), completed(SAY, PARIS)]), WANTED[:1])

"""Writes a case as a Messages server would that bends it: see `AXES`."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.wire.bent.cases import FRAMES, PLAIN, Axes, Case, Ink, Piece

AXES: Axes = {
    **FRAMES,
    "ids": (PLAIN, "same", "empty", "null", "missing"),
    "index": (PLAIN, "zero", "one", "gap", "missing", "text"),
    "order": (PLAIN, "mixed"),
    "kinds": (PLAIN, "text_on_call", "json_on_text"),
    "start": (PLAIN, "filled", "whole", "repeated", "null_input", "none"),
    "stops": (PLAIN, "none", "twice", "last"),
    "finish": (PLAIN, "word", "twice", "early", "no_stop", "null_last"),
    "begin": (PLAIN, "twice", "none", "filled"),
    "events": (PLAIN, "none", "wrong"),
    "pings": (PLAIN, "many", "unknown"),
}
WORDS = {"end": "end_turn", "tools": "tool_use", "length": "max_tokens", "filtered": "refusal"}
OTHER_WORDS = {
    "end": "stop", "tools": "tool_calls", "length": "model_context_window_exceeded", "filtered": "content_filter",
}  # fmt: skip
USAGE = {"input_tokens": 5, "output_tokens": 7}
FIELDS = {"text": ("text", "text_delta"), "thought": ("thinking", "thinking_delta")}


def is_clear(case: Case) -> bool:
    """Whether anybody could tell to which block a delta belongs, and whether `kinds` has the blocks that it needs."""
    if case["order"] == "mixed" and (case["index"] in ("zero", "missing") or case["kinds"] != PLAIN):
        return False
    if case["index"] in ("zero", "missing") and case["stops"] == "last":
        return False
    kinds = [piece.kind for piece in case.pieces]
    if case["order"] == "mixed" and max(kinds.count("text"), kinds.count("thought")) > 1:
        return False  # two texts at once have no order
    follows = {"text_on_call": ["call", "text"], "json_on_text": ["text", "call"]}.get(case["kinds"])
    if follows is not None:
        has_pair = any(list(pair) == follows for pair in itertools.pairwise(kinds))
        return has_pair and case["start"] == PLAIN and case["stops"] == PLAIN and case["index"] in (PLAIN, "one", "gap")
    if case["start"] == "none":  # nobody knows a call's name without its start
        return not case.calls and case["index"] == PLAIN
    return not (case["begin"] == "filled" and (case["order"], case["index"], case["start"]) != (PLAIN,) * 3)


def stream(case: Case) -> bytes:
    ink = Ink(case)
    start = {"type": "message_start", "message": _message(case, [], None)}
    told = list(_told(case, ink))
    if case["begin"] == "filled":
        start["message"] = _message(case, [_block(case, number) for number in range(len(case.pieces))], None)
        told = []
    begin = {"twice": [start, start], "none": []}.get(case["begin"], [start])
    if case["finish"] == "early":
        begin = [*begin, *[_delta(None)]]
    pings: list[dict[str, Any]] = []
    if case["pings"] != PLAIN:
        pings = [{"type": "ping" if case["pings"] == "many" else "message_thought_of", "delta": {"text": "no"}}]
    events = list(itertools.chain.from_iterable([*pings, one] for one in [*begin, *told, *_ends(case)]))
    return ink.stream([ink.frame(one, _event(case, one["type"])) for one in events])


def body(case: Case) -> bytes:
    blocks = [_block(case, number) for number in range(len(case.pieces))]
    return Ink(case).body(_message(case, blocks, _word(case)))


def _event(case: Case, kind: str) -> str:
    return {"none": "", "wrong": "message"}.get(case["events"], kind)


def _word(case: Case) -> str:
    return (OTHER_WORDS if case["finish"] == "word" else WORDS)[case.told_end]


def _delta(stop: str | None) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": USAGE}


def _ends(case: Case) -> list[dict[str, Any]]:
    deltas = [_delta(_word(case))]
    if case["finish"] == "twice":
        deltas *= 2
    elif case["finish"] == "null_last":
        deltas.append(_delta(None))
    return deltas if case["finish"] == "no_stop" else [*deltas, {"type": "message_stop"}]


def _message(case: Case, content: list[Any], stop: str | None) -> dict[str, Any]:
    said = {"id": "msg_up", "type": "message", "role": "assistant", "model": "up", "content": content}
    return {**said, "stop_reason": stop, "stop_sequence": None, "usage": USAGE}


def _block(case: Case, number: int) -> dict[str, Any]:
    piece = case.pieces[number]
    if piece.kind != "call":
        name, _ = FIELDS[piece.kind]
        more = {"signature": "c2lnbmVk"} if piece.kind == "thought" else {}
        return {"type": name, name: piece.text, **more}
    call_ids = {"same": "toolu_1", "empty": "", "null": None}
    known = {} if case["ids"] == "missing" else {"id": call_ids.get(case["ids"], f"toolu_{number}x")}
    return {"type": "tool_use", **known, "name": piece.name, "input": json.loads(piece.text)}


def _index(case: Case, number: int) -> dict[str, Any]:
    match case["index"]:
        case "zero":
            return {"index": 0}
        case "missing":
            return {}
        case "one":
            return {"index": number + 1}
        case "gap":
            return {"index": 3 * number}
        case "text":
            return {"index": str(number)}
    return {"index": number}


def _told(case: Case, ink: Ink) -> Iterator[dict[str, Any]]:
    """Yield the events of all blocks, one block after the other or all of them mixed."""
    blocks = [list(_events(case, ink, number)) for number in range(len(case.pieces))]
    if case["kinds"] != PLAIN:
        blocks = list(_strange(case, blocks))
    if case["order"] == "mixed":
        rows = itertools.zip_longest(*blocks)
        yield from (one for row in rows for one in row if one is not None)
        return
    events = list(itertools.chain(*blocks))
    if case["stops"] == "last":
        events.sort(key=lambda one: one["type"] == "content_block_stop")
    yield from events


def _strange(case: Case, blocks: list[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Put the deltas of one block on its neighbour of the other kind, once."""
    pair = ("call", "text") if case["kinds"] == "text_on_call" else ("text", "call")
    kinds = [piece.kind for piece in case.pieces]
    at = next(place for place, found in enumerate(itertools.pairwise(kinds)) if found == pair)
    first, second = blocks[at], blocks[at + 1]
    index = first[0].get("index")
    moved = [{**one, "index": index} for one in second if one["type"] == "content_block_delta"]
    if case["kinds"] == "text_on_call":  # the text has no block of its own
        joined = [*first[:-1], *moved, first[-1]]
    else:  # both are open; the arguments come with the index of the text
        joined = [*first[:-1], second[0], *moved, second[-1], first[-1]]
    yield from [*blocks[:at], joined, *blocks[at + 2 :]]


def _events(case: Case, ink: Ink, number: int) -> Iterator[dict[str, Any]]:
    piece, place = case.pieces[number], _index(case, number)
    parts = ink.cut(piece.text)
    start = _start(case, number)
    if case["start"] == "filled" and piece.kind != "call":
        start[FIELDS[piece.kind][0]], parts = parts[0], parts[1:]
    elif case["start"] in ("whole", "filled"):
        start, parts = _block(case, number), []
    elif case["start"] == "repeated" and piece.kind == "call":
        start = _block(case, number)
    if case["start"] != "none":
        yield {"type": "content_block_start", **place, "content_block": start}
    for part in parts:
        yield {"type": "content_block_delta", **place, "delta": _part(piece, part)}
    if piece.kind == "thought" and "signature" in start and not start["signature"]:
        yield {"type": "content_block_delta", **place, "delta": {"type": "signature_delta", "signature": "c2lnbmVk"}}
    for _ in range({"none": 0, "twice": 2}.get(case["stops"], 1)):
        yield {"type": "content_block_stop", **place}


def _start(case: Case, number: int) -> dict[str, Any]:
    piece, block = case.pieces[number], _block(case, number)
    if piece.kind == "call":
        return {**block, "input": None if case["start"] == "null_input" else {}}
    empty = {FIELDS[piece.kind][0]: ""}
    return {**block, **empty, **({"signature": ""} if piece.kind == "thought" else {})}


def _part(piece: Piece, part: str) -> dict[str, Any]:
    if piece.kind == "call":
        return {"type": "input_json_delta", "partial_json": part}
    name, kind = FIELDS[piece.kind]
    return {"type": kind, name: part}

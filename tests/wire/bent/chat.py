"""Writes a case as a Chat server would that bends it: see `AXES`."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.wire.bent.cases import FRAMES, PLAIN, Axes, Case, Ink

AXES: Axes = {
    **FRAMES,
    "ids": (PLAIN, "same", "empty", "null", "missing", "each"),
    "index": (PLAIN, "zero", "missing", "one", "gap"),
    "names": (PLAIN, "late", "each", "pieces"),
    "arguments": (PLAIN, "once", "object", "doubled", "null_first"),
    "order": (PLAIN, "mixed", "joined"),
    "content": (PLAIN, "list", "empties", "message"),
    "thoughts": (PLAIN, "reasoning", "details", "both"),
    "finish": (PLAIN, "every", "word", "twice", "with_last", "absent", "function_call", "null_word"),
    "repeats": (PLAIN, "message", "usage", "role", "done"),
}
WORDS = {"end": "stop", "tools": "tool_calls", "length": "length", "filtered": "content_filter"}
# Other servers' words for the same ends.
OTHER_WORDS = {"end": "eos", "tools": "tool_use", "length": "model_length", "filtered": "sensitive"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def is_clear(case: Case) -> bool:
    """Whether anybody could tell the calls apart: by index, by id, or by new names, one after the other."""
    if case["finish"] in ("absent", "every") and case["cut"] != PLAIN:
        return False
    if case["names"] == "pieces" and case["order"] == "mixed":
        return False
    has_index = case["index"] not in ("zero", "missing")
    if has_index or len(case.calls) < 2:
        return True
    if case["ids"] == "each":
        return True
    if case["order"] == "joined":
        return case["ids"] == PLAIN or case["names"] == PLAIN
    if case["order"] == "mixed":
        return False
    names = [call.name for call in case.calls]
    has_names = case["names"] == PLAIN and len(set(names)) == len(names)
    return has_names or case["ids"] == PLAIN


def stream(case: Case) -> bytes:
    ink = Ink(case)
    deltas = list(_deltas(case, ink))
    if case["repeats"] == "role":
        deltas = [{"role": "assistant", **delta} for delta in deltas]
    else:
        deltas = [{"role": "assistant", "content": ""}, *deltas]
    word = _word(case)
    with_last = case["finish"] == "with_last"
    every = "stop" if case["finish"] == "every" else "" if case["finish"] == "null_word" else None
    frames = [_chunk(ink, delta, every) for delta in deltas[: -1 if with_last else None]]
    last = _chunk(ink, deltas[-1] if with_last else {}, None if case["finish"] == "absent" else word)
    frames += [last, last] if case["finish"] == "twice" and not with_last else [last]
    if case["repeats"] == "message":
        frames.append(ink.frame(_completion(case, ink, word)))
    usage = ink.frame({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    frames += [usage, usage] if case["repeats"] == "usage" else [usage]
    return ink.stream([*frames, *[ink.frame("[DONE]")] * (2 if case["repeats"] == "done" else 1)])


def body(case: Case) -> bytes:
    ink = Ink(case)
    return ink.body(_completion(case, ink, None if case["finish"] == "absent" else _word(case)))


def _word(case: Case) -> str:
    words = OTHER_WORDS if case["finish"] == "word" else WORDS
    if case["finish"] == "function_call" and case.told_end == "tools":
        return "function_call"
    return words[case.told_end]


def _chunk(ink: Ink, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return ink.frame({"id": "c1", "object": "chat.completion.chunk", "model": "up", "choices": [choice]})


def _completion(case: Case, ink: Ink, finish: str | None) -> dict[str, Any]:
    texts = [piece.text for piece in case.pieces if piece.kind == "text"]
    thoughts = "".join(piece.text for piece in case.pieces if piece.kind == "thought")
    content: Any = [{"type": "text", "text": text} for text in texts] if case["content"] == "list" else "".join(texts)
    message = _thought(case, thoughts) if thoughts else {}
    message |= {"role": "assistant", "content": content or None}
    if case.calls:
        message["tool_calls"] = [_whole_call(case, number) for number in range(len(case.calls))]
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "model": "up", "choices": [choice], "usage": USAGE}


def _deltas(case: Case, ink: Ink) -> Iterator[dict[str, Any]]:
    """Yield the deltas of all pieces; neighbouring calls may be mixed or joined."""
    number = 0
    for is_call, pieces in itertools.groupby(case.pieces, lambda piece: piece.kind == "call"):
        if not is_call:
            for piece in pieces:
                for part in ink.cut(piece.text):
                    yield _thought(case, part) if piece.kind == "thought" else _text(case, part)
            continue
        numbers = range(number, number := number + len(list(pieces)))
        fragments = [list(_fragments(case, ink, one)) for one in numbers]
        if case["order"] == "joined":
            yield {"tool_calls": [_whole_call(case, one) for one in numbers]}
        elif case["order"] == "mixed":
            for row in itertools.zip_longest(*fragments):
                yield from ({"tool_calls": [one]} for one in row if one is not None)
        else:
            more = {"content": ""} if case["content"] == "empties" else {}
            yield from ({**more, "tool_calls": [one]} for one in itertools.chain(*fragments))


def _text(case: Case, text: str) -> dict[str, Any]:
    match case["content"]:
        case "list":
            return {"content": [{"type": "text", "text": text}]}
        case "empties":
            return {"content": text, "tool_calls": [], "reasoning_content": "", "refusal": None, "function_call": None}
    return {"content": text}


def _thought(case: Case, text: str) -> dict[str, Any]:
    details = [{"type": "reasoning.text", "text": text, "index": 0}]
    match case["thoughts"]:
        case "reasoning":
            return {"reasoning": text}
        case "details":
            return {"reasoning_details": details}
        case "both":
            return {"reasoning": text, "reasoning_details": details}
    return {"reasoning_content": text, "content": None}


def _marks(case: Case, number: int, is_first: bool) -> dict[str, Any]:
    """Return the id and the index of a fragment."""
    marks: dict[str, Any] = {}
    if is_first or case["ids"] == "each":
        match case["ids"]:
            case "same" | "empty":
                marks["id"] = "call_1" if case["ids"] == "same" else ""
            case "null":
                marks["id"] = None
            case "plain" | "each":
                marks["id"] = f"call_{number}x"
    match case["index"]:
        case "zero":
            marks["index"] = 0
        case "one":
            marks["index"] = number + 1
        case "gap":
            marks["index"] = 3 * number
        case "plain":
            marks["index"] = number
    return marks


def _whole_call(case: Case, number: int) -> dict[str, Any]:
    call = case.calls[number]
    arguments = json.loads(call.text) if case["arguments"] == "object" else call.text
    return {**_marks(case, number, True), "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _fragments(case: Case, ink: Ink, number: int) -> Iterator[dict[str, Any]]:
    call = case.calls[number]
    if case["arguments"] in ("once", "object"):
        yield _whole_call(case, number)
        return
    parts: list[Any] = ["", *ink.cut(call.text)]
    names = [call.name, *[None] * len(parts)]
    match case["names"]:
        case "late":
            parts, names = ink.cut(call.text), [""]
            parts = parts if len(parts) > 1 else [call.text[:5], call.text[5:]]
            names += [call.name, *[None] * len(parts)]
        case "each":
            names = [call.name] * len(parts)
        case "pieces":
            parts, names = ["", *parts], [call.name[:2], call.name[2:], *[None] * len(parts)]
    if case["arguments"] == "null_first":
        parts[0] = None if parts[0] == "" else parts[0]
    if case["arguments"] == "doubled":
        parts, names = [*parts, call.text], [*names, None]
    for place, part in enumerate(parts):
        function = {"arguments": part} if names[place] is None else {"name": names[place], "arguments": part}
        yield {**_marks(case, number, place == 0), "type": "function", "function": function}

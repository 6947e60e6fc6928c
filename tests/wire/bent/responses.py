"""Writes a case as a Responses server would that bends it: see `AXES`."""

import itertools
from collections.abc import Iterator
from typing import Any

from tests.wire.bent.cases import FRAMES, PLAIN, Axes, Case, Ink

AXES: Axes = {
    **FRAMES,
    "ids": (PLAIN, "missing", "changed", "empty"),
    "call_ids": (PLAIN, "same", "empty", "missing"),
    "index": (PLAIN, "zero", "one", "gap", "missing"),
    "parts": (PLAIN, "missing", "one", "no_added"),
    "order": (PLAIN, "mixed"),
    "deltas": (PLAIN, "none", "short"),
    "dones": (PLAIN, "no_items", "no_texts", "none", "only_items", "twice"),
    "final": (PLAIN, "absent", "empty", "null", "in_front", "only", "reversed"),
    "finish": (PLAIN, "word", "no_details", "wrong_event", "done"),
    "begin": (PLAIN, "none", "twice", "queued"),
    "events": (PLAIN, "none"),
}
WORDS = {"length": "max_output_tokens", "filtered": "content_filter"}
OTHER_WORDS = {"length": "length", "filtered": "content_filter"}
DETAILS = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
USAGE = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, **DETAILS}
EXTRA = {"type": "reasoning", "id": "rs_extra", "summary": []}
Told = dict[str, Any]
# What an item of each kind has before its deltas.
EMPTY: dict[str, Told] = {"text": {"content": []}, "thought": {"summary": []}, "call": {"arguments": ""}}


def is_clear(case: Case) -> bool:
    """Whether anybody could tell to which item an event belongs, and whether everything is said at least once."""
    by_index = case["index"] not in ("zero", "missing")
    by_id = case["ids"] == PLAIN
    kinds = [piece.kind for piece in case.pieces]
    two = max(kinds.count("text"), kinds.count("thought")) > 1  # two texts at once have no order
    if case["order"] == "mixed" and (two or not (by_index or by_id)):
        return False
    if not by_index and case["dones"] in ("no_items", "none", "only_items") and not by_id:
        return False
    if case["call_ids"] == "same" and not by_id and len({call.name for call in case.calls}) < len(case.calls):
        return False
    if case.calls and case.end != "end" and case["dones"] in ("no_items", "none") and case["final"] != PLAIN:
        return False  # of a reply that is not whole only finished calls are kept
    if case["finish"] in ("no_details", "wrong_event") and case.end != "length":
        return False
    has_final = case["final"] in (PLAIN, "in_front", "only", "reversed")
    has_whole = case["dones"] in (PLAIN, "no_texts", "only_items", "twice")
    if case["final"] in ("in_front", "reversed") and not by_id and case["call_ids"] != PLAIN:
        return False
    if case["final"] in ("in_front", "reversed") and not by_id:  # nothing tells which text the final one is
        return case["dones"] == PLAIN and case["deltas"] == PLAIN and case["ids"] != "changed"
    return case["deltas"] == PLAIN or has_whole or has_final


def stream(case: Case) -> bytes:
    ink = Ink(case)
    status, final = _final(case)
    begun = {"type": "response.created", "response": _response("in_progress", [])}
    queued = {"type": "response.queued", "response": _response("queued", [])}
    begin = {"none": [], "twice": [begun, begun], "queued": [begun, queued]}.get(case["begin"], [begun])
    told = [] if case["final"] == "only" else list(_told(case, ink))
    if case["final"] == "absent":
        final = {name: value for name, value in final.items() if name != "output"}
    end = "completed" if case["finish"] == "wrong_event" else status
    events = [*begin, *told, {"type": f"response.{end}", "response": final}]
    frames = [
        ink.frame({**one, "sequence_number": number}, "" if case["events"] == "none" else one["type"])
        for number, one in enumerate(events)
    ]
    return ink.stream([*frames, *([ink.frame("[DONE]")] if case["finish"] == "done" else [])])


def body(case: Case) -> bytes:
    _, final = _final(case)
    final["output"] = [_item(case, number) for number in range(len(case.pieces))]
    return Ink(case).body(final)


def _final(case: Case) -> tuple[str, Told]:
    """Return (status, the final object) as the stream sends it."""
    output = [_item(case, number) for number in range(len(case.pieces))]
    match case["final"]:
        case "empty":
            output = []
        case "in_front":
            output = [EXTRA, *output]
        case "reversed":
            output.reverse()
    status = "completed" if case.end == "end" else "incomplete"
    final = _response(status, output)
    if case["final"] == "null":
        final["output"] = None
    if case.end != "end":
        words = OTHER_WORDS if case["finish"] == "word" else WORDS
        final["incomplete_details"] = None if case["finish"] == "no_details" else {"reason": words[case.end]}
    return status, final | {"usage": USAGE}


def _response(status: str, output: list[Told]) -> Told:
    return {"id": "resp_up", "object": "response", "model": "up", "status": status, "error": None, "output": output}


def _item(case: Case, number: int) -> Told:
    piece, marks = case.pieces[number], _marks(case, number)
    match piece.kind:
        case "text":
            part = {"type": "output_text", "text": piece.text, "annotations": []}
            return {"type": "message", **marks, "role": "assistant", "status": "completed", "content": [part]}
        case "thought":
            return {"type": "reasoning", **marks, "summary": [{"type": "summary_text", "text": piece.text}]}
    call_ids = {"same": {"call_id": "call_1"}, "empty": {"call_id": ""}, "missing": {}}
    known = call_ids.get(case["call_ids"], {"call_id": f"call_{number}x"})
    return {"type": "function_call", **marks, **known, "name": piece.name, "arguments": piece.text}


def _marks(case: Case, number: int, *, is_late: bool = True) -> Told:
    """Return the item's id; a late one is that of the finished item and of the final object."""
    match case["ids"]:
        case "missing":
            return {}
        case "empty":
            return {"id": ""}
        case "changed" if is_late:
            return {"id": f"other_{number}"}
    return {"id": f"item_{number}"}


def _place(case: Case, number: int) -> Told:
    index = {"zero": 0, "one": number + 1, "gap": 3 * number}.get(case["index"], number)
    return {} if case["index"] == "missing" else {"output_index": index}


def _told(case: Case, ink: Ink) -> Iterator[Told]:
    items = [list(_events(case, ink, number)) for number in range(len(case.pieces))]
    if case["order"] == "mixed":
        yield from (one for row in itertools.zip_longest(*items) for one in row if one is not None)
    else:
        yield from itertools.chain(*items)


def _events(case: Case, ink: Ink, number: int) -> Iterator[Told]:
    """Yield the events of one item: added, its deltas, its done events."""
    piece, place, item = case.pieces[number], _place(case, number), _item(case, number)
    early = _marks(case, number, is_late=False)
    empty = EMPTY[piece.kind]
    done = {"type": "response.output_item.done", **place, "item": item}
    if case["dones"] == "only_items":
        yield done
        return
    yield {"type": "response.output_item.added", **place, "item": {**item, **early, **empty, "status": "in_progress"}}
    where = place | ({"item_id": early["id"]} if "id" in early else {})
    stem, part, member = {
        "text": ("output_text", "content_part", "text"),
        "thought": ("reasoning_summary_text", "reasoning_summary_part", "text"),
        "call": ("function_call_arguments", "", "arguments"),
    }[piece.kind]
    if piece.kind != "call" and case["parts"] != "missing":
        name = "content_index" if piece.kind == "text" else "summary_index"
        where[name] = 1 if case["parts"] == "one" else 0
    if part and case["parts"] != "no_added":
        yield {"type": f"response.{part}.added", **where, "part": {"type": "output_text", "text": ""}}
    parts = ink.cut(piece.text)
    parts = {"none": [], "short": parts[:-1]}.get(case["deltas"], parts)
    for text in parts:
        yield {"type": f"response.{stem}.delta", **where, "delta": text}
    if case["dones"] not in ("no_texts", "none"):
        yield {"type": f"response.{stem}.done", **where, member: piece.text}
    if case["dones"] not in ("no_items", "none"):
        yield from [done] * (2 if case["dones"] == "twice" else 1)

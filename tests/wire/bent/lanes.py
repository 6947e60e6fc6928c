"""Puts a bent reply through every lane, and says what went wrong."""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from gateway.errors import UpstreamFault
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import to_json
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.dialect import Asked
from gateway.wire.lane import Lane
from gateway.wire.openai_responses.recording_lane import RecordingLane
from gateway.wire.translated_lane import read_whole, spread
from gateway.wire.translation.memo import Memo
from tests.wire.bent import chat, messages, responses
from tests.wire.bent.cases import PLAIN, Case, Ink, make, pieces_of, smaller
from tests.wire.bent.plain import Said, ids, payloads, read_body, read_stream
from tests.wire.crossings import chat_request, cross, crossing, memo_of, messages_request
from tests.wire.grammar import read_chat, read_messages, read_responses

WRITERS: dict[str, ModuleType] = {"openai_chat": chat, "anthropic_messages": messages, "openai_responses": responses}
REQUESTS: dict[str, dict[str, Any]] = {
    "openai_chat": chat_request(stream=True),
    "anthropic_messages": messages_request(stream=True),
    "openai_responses": {"model": "m", "input": "Hi", "stream": True},
}
STRICT: dict[str, Callable[[bytes], object]] = {
    "openai_chat": read_chat,
    "anthropic_messages": read_messages,
    "openai_responses": read_responses,
}


REPLIES = {"t": 1, "tc": 2, "hcc": 3, "ct": 4}  # by the seeds of `cases_with`


def cases_with(dialect: str, axis: str, word: str) -> Iterator[Case]:
    """Yield small cases with one bend; a bend of the end gets every end."""
    writer = WRITERS[dialect]
    for kinds, seed in REPLIES.items():
        for end in ("end", "length", "filtered") if axis == "finish" else ("end",):
            case = Case(dialect, seed, pieces_of(kinds, random.Random(seed)), end, {axis: word})
            if writer.is_clear(case):
                yield case


def case_of(dialect: str, seed: int) -> Case:
    writer = WRITERS[dialect]
    return make(dialect, seed, writer.AXES, writer.is_clear)


def faults(case: Case) -> Iterator[str]:
    """Yield what is wrong: one line for each lane in which something is lost, doubled, or not told honestly."""
    writer = WRITERS[case.dialect]
    stream, body = writer.stream(case), writer.body(case)
    chunks = Ink(case).chunks(stream)
    yield from _found(case, "raw stream", partial(_raw, case, chunks))
    yield from _found(case, "stored", partial(_stored, case, chunks))
    yield from _found(case, "raw whole", partial(_glance, case, body))
    for client in REQUESTS:
        if client != case.dialect:
            yield from _found(case, f"{client} stream", partial(_streamed, case, client, chunks))
            yield from _found(case, f"{client} whole", partial(_whole, case, client, body, is_stream=False))
            yield from _found(case, f"{client} gathered", partial(_whole, case, client, stream, is_stream=True))
            yield from _found(case, f"{client} spread", partial(_spread, case, client, body))


def _found(case: Case, lane: str, run: Callable[[], str | None]) -> Iterator[str]:
    try:
        problem = run()
    except UpstreamFault as fault:
        problem = None if case["cut"] in ("frames", "bytes") else f"refused: {fault}"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        yield f"{lane}: {problem}"


def _memo(client: str) -> Memo:
    return memo_of(client, REQUESTS[client])


def _compare(case: Case, said: Said) -> str | None:
    if said.error:
        return said.error
    if len(set(ids(said))) != len(said.calls):
        return f"an id twice: {ids(said)}"
    if said.content != case.content:
        return f"said {said.content}, meant {case.content}"
    return None if said.end == case.told_end else f"ended by {said.end}, meant {case.told_end}"


def _raw(case: Case, chunks: list[bytes]) -> str | None:
    lane, cutter = DIALECTS[case.dialect].watch(Asked()), FrameCutter()
    out = b"".join(lane.feed(frame) for chunk in chunks for frame in cutter.feed(chunk))
    if tail := cutter.end():
        out += lane.feed(tail)
    out += lane.end()
    sent, got = _kept(b"".join(chunks), may_be_cut=case["cut"] != PLAIN), _kept(out)
    if sent == got:
        return None
    has_own_blocks = case.dialect == "anthropic_messages" and case["kinds"] != PLAIN
    is_put_right = has_own_blocks or (case.dialect == "openai_chat" and _is_put_right(case))
    if has_own_blocks and len(case.bends) > 1:
        return None  # this reader does not see through other bends as well; other lanes show whether all came
    if case["cut"] != PLAIN or not is_put_right:
        return None if abs(len(sent) - len(got)) <= 1 else f"{len(sent)} frames became {len(got)}"
    said = read_stream(case.dialect, out)  # some frames are put right, so that SDKs can read them
    return None if said.content == case.content else f"said {said.content}, meant {case.content}"


# Bends of Chat that raw lanes put right, and others with which the plain reader can see that they do.
PUT_RIGHT = {"index", "repeats", "finish", "lines", "chunks"}


def _is_put_right(case: Case) -> bool:
    return set(case.bends) - {"arguments"} <= PUT_RIGHT and case["arguments"] in (PLAIN, "doubled")


def _kept(stream: bytes, *, may_be_cut: bool = False) -> list[str]:
    """Return what a raw lane must keep: the frames, without a repeated beginning and without the last word."""
    found = [one for one in payloads(stream, may_be_cut=may_be_cut) if one.get("type") != "message_stop"]
    starts = [place for place, one in enumerate(found) if one.get("type") == "message_start"]
    return [json.dumps(one) for one in found[: starts[0] if starts else 0] + found[starts[-1] if starts else 0 :]]


def _stored(case: Case, chunks: list[bytes]) -> str | None:
    """Compare the response that is kept for GET and for the chain."""
    if case.dialect == "openai_responses":
        inner: Lane = DIALECTS[case.dialect].watch(Asked())
    else:
        inner = crossing("openai_responses", case.dialect, _memo("openai_responses"))
    lane, cutter = RecordingLane(inner, {"id": b'"resp_ours"'}), FrameCutter()
    for frame in (frame for chunk in chunks for frame in cutter.feed(chunk)):
        lane.feed(frame)
    if tail := cutter.end():
        lane.feed(tail)
    lane.end()
    said = read_body("openai_responses", to_json(lane.final.response if lane.final else {}))
    if case.dialect != "openai_responses":
        return _compare(case, said)
    # The provider's own words are kept: its ids, its order, its finish word.
    same = said.content == case.content or case["final"] == "reversed"
    return None if same else f"said {said.content}, meant {case.content}"


def _glance(case: Case, body: bytes) -> None:
    DIALECTS[case.dialect].glance(body)


def _streamed(case: Case, client: str, chunks: list[bytes]) -> str | None:
    out = cross(client, chunks, _memo(client), case.dialect)
    STRICT[client](out)
    return _compare(case, read_stream(client, out))


def _whole(case: Case, client: str, body: bytes, *, is_stream: bool) -> str | None:
    memo, reads, writes = _memo(client), DIALECTS[case.dialect].upstream, DIALECTS[client].client
    assert reads is not None
    assert writes is not None
    reply = read_whole(reads, body, is_stream, memo)
    return _compare(case, read_body(client, writes.write_reply(reply, memo)))


def _spread(case: Case, client: str, body: bytes) -> str | None:
    memo, reads, writes = _memo(client), DIALECTS[case.dialect].upstream, DIALECTS[client].client
    assert reads is not None
    assert writes is not None
    out = spread(writes, read_whole(reads, body, False, memo), memo)
    STRICT[client](out)
    return _compare(case, read_stream(client, out))


def told(case: Case) -> str:
    """Describe the smallest reply that fails as this one does, for the message of a test."""
    found = smallest(case)
    pieces = ", ".join(f"{piece.kind} {piece.text!r}" for piece in found.pieces)
    bends = ", ".join(f"{axis}={word}" for axis, word in found.bends.items())
    return "\n  ".join([f"{found} ends by {found.end}, says {pieces}, bent by {bends or 'nothing'}", *faults(found)])


def smallest(case: Case) -> Case:
    """Return a smallest case that still fails."""
    fewer = next((one for one in smaller(case) if WRITERS[case.dialect].is_clear(one) and any(faults(one))), None)
    return case if fewer is None else smallest(fewer)

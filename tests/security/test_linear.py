"""Work is linear: every list and object of each dialect is tried at N, 2N and 4N, translated to each other dialect."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gateway.errors import GatewayError
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.memo import Memo, Setting

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]
N = 500
NAMES = ["openai_chat", "anthropic_messages", "openai_responses"]
SCHEMA = {
    "type": "object", "required": ["a"], "additionalProperties": False,
    "properties": {"a": {"type": "string", "enum": ["x"]}, "b": {"anyOf": [{"type": "string"}, {"properties": {"c": {}}}]}},
    "anyOf": [{"properties": {"d": {"type": "string"}}}],
}  # fmt: skip
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "model": "m", "max_tokens": 9,
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}],
        "metadata": {"a": "b"},
    },
    "anthropic_messages": {
        "model": "m", "max_tokens": 9, "system": [{"type": "text", "text": "Be brief"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}]}]},
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "metadata": {"user_id": "u"},
    },
    "openai_responses": {
        "model": "m",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
            {"type": "odd"},
        ],
        "tools": [{"type": "function", "name": "f", "strict": True, "parameters": SCHEMA}],
        "include": ["reasoning.encrypted_content"], "metadata": {"a": "b"},
    },
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every list and object in a value."""
    if isinstance(value, dict | list) and path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def varied(value: Any, number: int) -> Any:
    """Return a copy whose ids, names and kinds have a number, as those of a client that makes them up."""
    if isinstance(value, list):
        return [varied(one, number) for one in value]
    if isinstance(value, dict):
        return {
            k: f"{v}{number}"
            if k in ("id", "call_id", "name", "tool_use_id") and isinstance(v, str)
            else varied(v, number)
            for k, v in value.items()
        }
    return value


def grown(body: dict[str, Any], path: tuple[Any, ...], count: int, *, is_varied: bool) -> bytes:
    """Return the body with the list or object at `path` repeated `count` times."""
    whole = json.loads(json.dumps(body))
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    found = holder[path[-1]]
    if isinstance(found, list):
        holder[path[-1]] = [varied(one, n) if is_varied else one for n in range(count) for one in found]
    else:
        first = next(iter(found.values()), "x")
        holder[path[-1]] = found | {f"k{n}": first for n in range(count)}
    return json.dumps(whole).encode()


def translate(client: str, upstream: str, data: bytes) -> None:
    """Read a request and write it in another dialect, refusals included."""
    near, far = DIALECTS[client].client, DIALECTS[upstream].upstream
    assert near is not None
    assert far is not None
    try:
        request = near.read_request(JsonBody.read(data))
        memo = Memo(request, "seed", 0, Sealer(b"secret", "owner"))
        written = far.write_request(request, Setting("m", Profile()), memo)
    except GatewayError:
        return
    msgspec.json.encode(written.members)


def seconds(work: Callable[[], None]) -> float:
    """Return the least CPU seconds of three runs."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def check_linear(work: Callable[[int], Callable[[], None]], place: object) -> None:
    """Fail if twice as much takes more than three times as long, twice in a row."""
    times = [seconds(work(count)) for count in (N, 2 * N, 4 * N)]
    slack = 0.01  # seconds; below it a measurement says nothing
    assert times[1] < 3 * times[0] + slack or times[2] < 3 * times[1] + slack, (place, times)
    assert times[2] < 9 * times[0] + 10 * slack, (place, times)


@pytest.mark.parametrize("is_varied", [False, True], ids=["same", "varied"])
@pytest.mark.parametrize(("client", "upstream"), list(itertools.permutations(NAMES, 2)))
def test_every_list_and_object_of_a_request(client: str, upstream: str, is_varied: bool) -> None:
    """Whatever a client repeats in a request costs in proportion."""
    for path in places(BODIES[client]):

        def work(count: int, path: tuple[Any, ...] = path) -> Callable[[], None]:
            data = grown(BODIES[client], path, count, is_varied=is_varied)
            return lambda: translate(client, upstream, data)

        check_linear(work, path)


CHUNK = '{"choices":[{"index":0,"delta":%s}]}'
PIECES = {
    "text": '{"content":"a<"}',
    "blank": '{"content":" "}',
    "reasoning": '{"reasoning_content":"why"}',
    "arguments": '{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"[0,\\\\""}}]}',
    "calls": '{"tool_calls":[{"id":"c%d","function":{"name":"f","arguments":"{"}}]}',
    "numbered": '{"tool_calls":[{"index":%d,"function":{"name":"f"}}]}',
}


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_responses"])
@pytest.mark.parametrize("piece", sorted(PIECES))
def test_every_delta_of_a_stream(client: str, piece: str) -> None:
    """However often a provider repeats a delta, each costs the same."""
    near, far = DIALECTS[client].client, DIALECTS["openai_chat"].upstream
    assert near is not None
    assert far is not None

    def work(count: int) -> Callable[[], None]:
        deltas = (PIECES[piece] % n if "%d" in PIECES[piece] else PIECES[piece] for n in range(count))
        data = b"".join(b"data: " + (CHUNK % delta).encode() + b"\n\n" for delta in deltas)
        request = near.read_request(JsonBody.read(json.dumps(BODIES[client]).encode()))

        def run() -> None:
            memo = Memo(request, "seed", 0, Sealer(b"secret", "owner"))
            reader, writer = far.stream_reader(memo), near.stream_writer(memo)
            try:
                for frame in FrameCutter().feed(data):
                    for event in reader.feed(frame):
                        writer.feed(event)
            except GatewayError:
                return

        return run

    check_linear(work, piece)

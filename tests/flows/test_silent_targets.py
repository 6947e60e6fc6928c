"""A target that says nothing gives way to the next one, with the timeouts as they are by default."""

from collections.abc import Callable

import pytest

from gateway.config.provider_schema import Timeouts
from gateway.config.schema import Retry
from tests.conftest import Provider, Start, text_of

pytestmark = pytest.mark.slow
Providers = Callable[[str], Provider]
# The proportions of the defaults, a hundred times as fast.
SCALED = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  one: {base_url: "MOCK/one/v1", speaks: SPEAKS, timeouts: {first_byte: 120ms, whole: 600ms, idle: 300ms}}
  two: {base_url: "MOCK/two/v1", speaks: SPEAKS}
retry: {within: 300ms}
routes: {both: [one:m, two:m], single: one:m}
"""


def test_the_defaults_leave_time_for_the_next_target() -> None:
    """`retry.within` is longer than a silent stream is waited for; a model may pause for five minutes."""
    assert Retry().within > Timeouts().first_byte and Timeouts().idle >= 300


@pytest.mark.parametrize("fault", ["stall_before_head", "stall_in_body"])
async def test_a_mute_stream_falls_back(start: Start, provider: Providers, fault: str) -> None:
    """No head, or a head and then nothing: the next target answers after `first_byte`."""
    running = await start(SCALED)
    provider("one").will(fault=fault, after=0)
    status, stream = await running.chat_stream()
    assert status == 200 and text_of(stream)
    assert running.exchanges[-1]["provider"] == "two"
    assert [one["why"] for one in running.exchanges[-1]["failed"]] == ["slow"]


@pytest.mark.parametrize("fault", ["stall_before_head", "stall_in_body"])
async def test_a_mute_whole_reply_falls_back(start: Start, provider: Providers, fault: str) -> None:
    """A whole reply may take longer than `retry.within`; where another target is left, it is given up in time."""
    running = await start(SCALED)
    provider("one").will(fault=fault, after=0)
    assert (await running.chat())[0] == 200
    assert running.exchanges[-1]["provider"] == "two" and running.exchanges[-1]["ms"] < 600


async def test_the_last_target_is_waited_for(start: Start, provider: Providers) -> None:
    """Without another target a slow whole reply has all of `whole`."""
    running = await start(SCALED)
    provider("one").will(latency=0.4)
    assert (await running.chat("single"))[0] == 200
    assert (await running.chat("both"))[0] == 200
    assert [line["provider"] for line in running.exchanges] == ["one", "two"]


async def test_a_target_is_not_given_up_for_one_that_rests(start: Start, provider: Providers) -> None:
    """Where all others rest, a slow target keeps its time: nobody could answer in its place."""
    running = await start(SCALED)
    provider("two").will(status=429, headers={"Retry-After": "60"})
    provider("one").will(status=500, times=1)
    provider("one").will(latency=0.4)
    await running.chat()  # leaves `two` resting
    status, _ = await running.chat()
    assert (status, running.exchanges[-1]["provider"]) == (200, "one")


async def test_a_model_may_think_in_silence(start: Start, provider: Providers) -> None:
    """After a first event without content patience is `first_byte`; between two words it is `idle`."""
    running = await start(
        SCALED.replace("first_byte: 120ms", "first_byte: 500ms").replace("idle: 300ms", "idle: 100ms")
    )
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
    word = b'data: {"choices":[{"index":0,"delta":{"content":"hm"},"finish_reason":null}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider("one").will(frames=[role, word + end], pace=0.3)
    status, stream = await running.chat_stream()
    assert (status, text_of(stream)) == (200, "hm") and running.exchanges[-1]["provider"] == "one"
    provider("one").server.script.rules.clear()
    provider("one").will(frames=[role, word, word, end], pace=0.3)
    assert b"idle timeout after 0.1 s" in (await running.chat_stream())[1]

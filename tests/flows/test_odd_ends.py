"""Replies that end oddly, through a whole gateway."""

from collections.abc import Callable

from tests.conftest import Provider, Start
from tests.flows.messages import stream
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import chunk
from tests.wire.grammar import read_messages


async def test_unknown_words_are_counted(start: Start, provider: Callable[[str], Provider]) -> None:
    """A word for the end that no table knows is a plain end, and the metrics count it, streamed and whole."""
    running = await start(PAIRS)
    provider("oai").will(frames=[chunk(content="Hi"), chunk("whatever"), b"data: [DONE]\n\n"], times=1)
    _, told = await stream(running, "chat")
    assert read_messages(told).stop == "end_turn"
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "whatever"}]}
    provider("oai").will(body=body, times=1)
    _, said, _ = await ask(running, "chat")
    assert said["stop_reason"] == "end_turn"
    assert 'gateway_odd_finishes_total{provider="oai"} 2.0' in running.gateway.telemetry.metrics.expose().decode()


async def test_a_pause_behind_a_premature_stop(start: Start, provider: Callable[[str], Provider]) -> None:
    """A server that says `stop` with every chunk and then `length` is read to its end."""
    running = await start(PAIRS)
    frames = [chunk("stop", content=letter) for letter in "abc"]
    provider("oai").will(frames=[*frames, chunk("length"), b"data: [DONE]\n\n"], pace=0.02)
    _, told = await stream(running, "chat")
    found = read_messages(told)
    assert (found.text, found.stop) == ("abc", "max_tokens")
    assert not running.gateway.telemetry.metrics.expose().decode().count("gateway_odd_finishes_total{")

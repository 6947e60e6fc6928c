"""Stored responses whose provider forgets in its last event what it has streamed."""

import json
from typing import Any

import pytest

from tests.conftest import Start
from tests.flows.stored import CONFIG, Providers, ask, call, turns
from tests.wire.crossings import event

ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
DONE = ITEM | {"status": "completed", "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}
PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("end", [{}, {"output": []}, {"output": None}])
@pytest.mark.parametrize("is_background", [True, False])
async def test_it_is_in_get_and_in_the_chain(
    start: Start, provider: Providers, end: Any, is_done: bool, is_background: bool
) -> None:
    """GET shows the streamed items, and the next request continues from them; so does a background run."""
    running = await start(CONFIG.replace("STORE", "memory:"))
    base = {
        "id": "resp_u",
        "object": "response",
        "status": "completed",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    frames = [event("response.created", response=base | {"status": "in_progress", "output": []})]
    frames += [event("response.output_item.added", output_index=0, item=ITEM)]
    frames += [event("response.output_text.delta", delta=piece, **PLACE) for piece in ("Hel", "lo")]
    frames += [event("response.output_item.done", output_index=0, item=DONE)] if is_done else []
    provider("rsp").will(frames=[*frames, event("response.completed", response=base | end)], times=1)
    body = {"model": "native", "input": "Hi", "stream": True, "background": is_background}
    async with running.post("/v1/responses", body) as answer:
        told = [json.loads(line[6:]) for line in (await answer.read()).splitlines() if line.startswith(b"data: ")]
    final = told[-1]["response"]
    assert told[-1]["type"] == "response.completed" and final["output"][0]["content"][0]["text"] == "Hello"
    status, kept = await call(running, "GET", final["id"])
    assert status == 200 and kept["output"] == final["output"] and kept["status"] == "completed"
    status, _ = await ask(running, "native", "go on", previous_response_id=final["id"])
    assert status == 200 and turns(provider("rsp").seen[-1].json) == ["Hi", "Hello", "go on"]

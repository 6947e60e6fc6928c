"""What flows of Messages clients share."""

from collections.abc import Callable
from typing import Any

from tests.conftest import Provider, Running
from tests.wire.crossings import messages_request

Providers = Callable[[str], Provider]


async def stream(running: Running, model: str, path: str = "/v1/messages", **more: Any) -> tuple[int, bytes]:
    async with running.post(path, messages_request(model=model, stream=True) | more) as answer:
        return answer.status, await answer.read()

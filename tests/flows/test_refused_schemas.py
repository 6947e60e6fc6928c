"""A schema that an Anthropic provider refuses is asked for in another way, once, and that is told."""

from typing import Any

import pytest

from tests.conftest import Running, Start, chat_body
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS

TEXT = {"type": "string"}
SCHEMA = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}
STRICT = {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]}
ROUTES = PAIRS.replace("thinking: adaptive,", "strict_tools: true, thinking: adaptive,")
REFUSALS = [
    "output_config.format.schema: Circular reference detected in schema definitions: A -> A.",
    "Schema is too complex for compilation.",
    "Schemas contains too many optional parameters (30), which would make grammar compilation inefficient.",
    "tools.0.custom: For 'object' type, property 'x' is not supported in a strict schema",
]


async def ask(running: Running, more: dict[str, Any]) -> tuple[int, Any, Any]:
    async with running.post("/v1/chat/completions", chat_body("claude") | more) as answer:
        return answer.status, await answer.json(), answer.headers


@pytest.mark.parametrize("message", REFUSALS)
async def test_one_repaired_try(start: Start, provider: Providers, message: str) -> None:
    """The refusal of a schema causes one try without the constraint; the next request has its own constraint again."""
    running = await start(ROUTES)
    for more in (FORM, STRICT):
        provider("ant").server.script.rules.clear()
        provider("ant").will(status=400, error={"type": "invalid_request_error", "message": message}, times=1)
        status, _, headers = await ask(running, more)
        assert status == 200
        lost = "response_format.json_schema" if more is FORM else "tools.strict"
        assert lost in headers["x-gateway-dropped"]
        first, second = [seen.json for seen in provider("ant").seen[-2:]]
        assert ("output_config" in first) is (more is FORM) and "format" not in second.get("output_config", {})
        assert not any(tool.get("strict") for tool in second.get("tools", ()))
        status, _, headers = await ask(running, more)
        assert status == 200 and lost not in headers.get("x-gateway-dropped", "")


async def test_it_is_tried_once(start: Start, provider: Providers) -> None:
    """A provider that refuses the second try as well is believed; another refusal causes no second try."""
    running = await start(ROUTES)
    provider("ant").will(status=400, error={"type": "invalid_request_error", "message": REFUSALS[0]})
    status, said, _ = await ask(running, FORM)
    assert (status, said["error"]["message"]) == (400, REFUSALS[0]) and len(provider("ant").seen) == 2
    assert (await ask(running, {}))[0] == 400 and len(provider("ant").seen) == 3

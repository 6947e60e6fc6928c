"""What `make facts` prints: models that the packaged data does not know, and limits that differ."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.provider_schema import Provider as Configured
from gateway.mock.server import MockServer
from gateway.policy.capabilities import Capabilities
from gateway.server.facts import missing_facts
from tests.conftest import Provider

ROOT = Path(__file__).parents[2]
DATA = {"*": {"known*": {"context": 1000, "max_output": 100, "capabilities": ["chat"]}}}


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        ({"id": "known-1"}, []),
        ({"id": "known-1", "context_length": 1000, "max_output_tokens": 100}, []),
        ({"id": "known-1", "context_window": 2000}, ["p:known-1: context is 1000 here, 2000 in its list"]),
        ({"id": "known-1", "max_tokens": 50}, ["p:known-1: max_output is 100 here, 50 in its list"]),
        ({"id": "new"}, ["p:new: not known"]),
        ({"id": "new", "max_model_len": 5}, ["p:new: not known (its list says context 5, output None)"]),
        ({"id": 5}, []),
        ("odd", []),
    ],
)
def test_missing_facts(model: Any, lines: list[str]) -> None:
    """An unknown model has one line, a known one a line for each limit that its list gives otherwise."""
    assert list(missing_facts(Configured("http://x", name="p"), [model], Capabilities(DATA))) == lines


async def test_the_command_asks_each_list_once(
    mock: MockServer, provider: Callable[[str], Provider], tmp_path: Path
) -> None:
    """`make facts` asks each live provider for its list, with its credential, and prints what is missing."""
    provider("one").will(body=json.dumps({"data": [{"id": "nobody-knows"}, {"id": "gpt-4o", "context_length": 5}]}))
    provider("bad").will(status=500)
    config = tmp_path / "providers.yaml"
    config.write_text(f"""
providers:
  mock:
  one: {{base_url: "{mock.url}/one/v1", auth: {{bearer: {{env: ONE}}}}, speaks: [openai_chat]}}
  bad: {{base_url: "{mock.url}/bad/v1", speaks: [openai_chat]}}
  idle: {{base_url: "{mock.url}/idle/v1", auth: {{bearer: {{env: MISSING}}}}, speaks: [openai_chat]}}
""")
    command = [sys.executable, str(ROOT / "docs" / "make_facts.py"), str(config)]
    environ = os.environ | {"ONE": "one-key", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out.decode().splitlines() == [
        "# one: 2 models, 2 facts missing or different",
        "one:nobody-knows: not known",
        "one:gpt-4o: context is 128000 here, 5 in its list",
    ]
    assert process.returncode == 1 and err.decode().startswith("bad: no list:")
    (seen,) = provider("one").seen
    assert seen.path == "/models" and seen.headers["Authorization"] == "Bearer one-key" and not provider("idle").seen

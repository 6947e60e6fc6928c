"""What tests of `/v1/responses` by the SDKs share: one provider of each dialect, routes and a tool."""

from typing import Any

import pytest

CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "MOCK/oai/v1", auth: {bearer: {env: ONE}}, speaks: [openai_chat]}
  ant:
    base_url: "MOCK/ant/v1"
    auth: {x-api-key: {env: TWO}}
    speaks: [anthropic_messages]
    models: {"*": {thinking: adaptive}}
  res: {base_url: "MOCK/res/v1", auth: {bearer: {env: ONE}}, speaks: [openai_responses]}
routes: {chat: oai:m, claude: ant:m, native: res:m, both: [oai:m, ant:m], strict: {targets: [oai:m], on_shed: refuse}}
"""
ROUTES = pytest.mark.parametrize("route", ["chat", "claude", "native"])
UPSTREAMS = {"chat": "oai", "claude": "ant", "native": "res"}
TOOLS: list[Any] = [
    {
        "type": "function",
        "name": "get_weather",
        "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]

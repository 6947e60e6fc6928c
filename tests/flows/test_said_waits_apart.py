"""What a provider's wait is not about: counts of tokens beside messages, the keys of other clients."""

import pytest

from tests.conftest import FakeClock, Start, chat_body
from tests.flows.messages import Providers
from tests.wire.crossings import messages_request

CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  ant: {base_url: MOCK/ant/v1, speaks: [anthropic_messages, anthropic_count_tokens], auth: {x-api-key: {env: ONE}}}
  own: {base_url: MOCK/own/v1, speaks: [openai_chat], auth: passthrough}
  one: {base_url: MOCK/one/v1, speaks: [openai_chat]}
routes: {claude: "ant:m", own: "own:m", single: "one:m"}
"""
WAIT = {"retry-after": "300"}
COUNT = "/v1/messages/count_tokens"


async def test_a_count_is_estimated_while_messages_rest(start: Start, provider: Providers) -> None:
    """A limit of messages is none of counts, which have their own; a count that may not be asked is estimated."""
    running = await start(CONFIG, clock=FakeClock().clock())
    provider("ant").will(status=429, headers=WAIT, times=3)
    said = messages_request(model="claude")
    async with running.post("/v1/messages", said) as answer:
        assert answer.status == 429
    for _ in range(3):
        async with running.post(COUNT, said) as answer:
            assert answer.status == 200 and answer.headers["x-gateway-usage"] == "estimated"
    assert len(provider("ant").seen) == 2


async def test_messages_go_on_while_counts_rest(start: Start, provider: Providers) -> None:
    """A limit of counts does not stop the conversation."""
    running = await start(CONFIG, clock=FakeClock().clock())
    provider("ant").will(status=429, headers=WAIT, times=1)
    said = messages_request(model="claude")
    for path in (COUNT, "/v1/messages"):
        async with running.post(path, said) as answer:
            assert answer.status == 200


async def test_a_clients_own_key_rests_alone(start: Start, provider: Providers) -> None:
    """With passthrough the wait is that of the client's key: it is not asked again, and others are."""
    running = await start(CONFIG, clock=FakeClock().clock())
    provider("own").will(status=429, headers=WAIT, times=1)
    statuses = []
    for key in ("first", "first", "first", "second"):
        async with running.post(
            "/v1/chat/completions", chat_body("own"), headers={"Authorization": f"Bearer {key}"}
        ) as answer:
            statuses.append(answer.status)
    assert statuses == [429, 429, 429, 200] and len(provider("own").seen) == 2


@pytest.mark.parametrize("status", [408, 500, 502, 504, 520])
async def test_a_wait_beside_another_failure(start: Start, provider: Providers, status: int) -> None:
    """A server in trouble that says when to come back is not asked before, whatever its status."""
    running = await start(CONFIG, clock=FakeClock().clock())
    provider("one").will(status=status, headers=WAIT)
    assert (await running.chat("single"))[0] >= 500
    for _ in range(3):
        assert (await running.chat("single"))[0] == 503
    assert len(provider("one").seen) == 1

"""Output caps: known ones are kept, others are read out of a refusal, once."""

from typing import Any

import pytest

from gateway.config.files import packaged
from gateway.config.provider_schema import Provider
from gateway.errors import Declined
from gateway.faults import Fault
from gateway.policy.capabilities import Capabilities
from gateway.proxy.plan.refused_members import TTL, RefusedMembers, cap_in
from tests.conftest import Start
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS, ask

KNOWN = {
    "claude-3-haiku-20240307": 4096,
    "claude-3-sonnet-20240229": 4096,
    "claude-3-opus-20240229": 4096,
    "claude-3-opus-latest": 4096,
    "claude-2.1": 4096,
    "claude-instant-1.2": 4096,
    "claude-3-5-sonnet-20240620": 8192,
    "claude-3-5-sonnet-20241022": 8192,
    "claude-3-5-haiku-latest": 8192,
    "anthropic/claude-3.5-haiku": 8192,
    "anthropic/claude-3-haiku": 4096,
    "anthropic.claude-3-haiku-20240307-v1:0": 4096,
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0": 8192,
    "claude-3-haiku@20240307": 4096,
    "claude-3-7-sonnet-20250219": 64000,
    "claude-sonnet-4-20250514": 64000,
    "claude-sonnet-4@20250514": 64000,
    "claude-opus-4-20250514": 32000,
    "claude-opus-4-1-20250805": 32000,
    "claude-opus-4-5-20251101": 64000,
    "claude-sonnet-4-5-20250929": 64000,
}
REFUSALS = [
    "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20240620",
    "max_tokens: 32000 > 8192, which is the maximum value allowed for m",
    "max_tokens is too large: 32000. This model supports at most 8192 completion tokens, whereas you provided 32000.",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
    "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the window",
    "The maximum tokens you requested exceeds the model limit of 8192. Try again with a lower value.",
    "`max_completion_tokens` must be <= 8192",
]


def declined(message: str, fault: Fault = Fault.CALLER) -> Declined:
    return Declined(message, fault, status=400, dialect="openai_chat")


@pytest.mark.parametrize(("model", "cap"), KNOWN.items())
def test_the_caps_of_claude_are_known(model: str, cap: int) -> None:
    """Each generation of Claude has its own cap, by whatever name its host gives it."""
    found = Capabilities(packaged("models.yaml")).profile(Provider("http://x", name="p", family="p"), model)
    assert found.max_output == cap and found.context == 200000


@pytest.mark.parametrize("message", REFUSALS)
def test_a_cap_is_read_out_of_a_refusal(message: str) -> None:
    """Each provider's words for too much output name the cap."""
    assert cap_in(declined(message), 32000) == 8192
    assert cap_in(declined(message), 8192) is None, "no lower than what was sent"
    assert cap_in(declined(message), 0) is None, "nothing was sent"
    assert cap_in(declined(message, Fault.TRANSIENT), 32000) is None


@pytest.mark.parametrize(
    "message", ["max_tokens: must be at least 1", "temperature: range [1, 8192]", "max_tokens is odd", "[1, 2]"]
)
def test_other_refusals_name_none(message: str) -> None:
    """A number about something else is no cap."""
    assert cap_in(declined(message), 32000) is None


def test_a_cap_is_each_owners_own_and_ends() -> None:
    """A refusal may quote its client: the cap holds for the same key and model, for an hour."""
    members = RefusedMembers()
    members.learn_cap("me", "p", "m", 8192, 0.0)
    assert members.cap("me", "p", "m", 1.0) == 8192
    for other in (("you", "p", "m"), ("me", "q", "m"), ("me", "p", "n")):
        assert members.cap(*other, 1.0) is None
    assert members.cap("me", "p", "m", TTL) is None


@pytest.mark.parametrize(("model", "asked"), [("ant:claude-3-haiku-20240307", 4096), ("ant:claude-3-5-haiku", 8192)])
async def test_what_the_gateway_asks_for_is_within_the_cap(
    start: Start, provider: Providers, model: str, asked: int
) -> None:
    """A Chat client that names no cap gets the model's own."""
    running = await start(PAIRS)
    assert (await running.chat(model))[0] == 200
    assert provider("ant").seen[-1].json["max_tokens"] == asked


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_one_repaired_try(start: Start, provider: Providers, path: str, stream: bool) -> None:
    """A refusal that names an unknown cap is repaired at once, and remembered."""
    running = await start(PAIRS)
    provider("ant").will(status=400, error={"type": "invalid_request_error", "message": REFUSALS[0]}, times=1)
    body: dict[str, Any] = {"model": "claude", "stream": stream}
    body |= {"input": "Hi"} if "responses" in path else {"messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(2):
        async with running.post(path, body) as answer:
            assert answer.status == 200 and b"error" not in (await answer.read()).replace(b'"error":null', b"")
    assert [seen.json["max_tokens"] for seen in provider("ant").seen] == [32000, 8192, 8192]


async def test_a_clients_cap_is_lowered_and_told(start: Start, provider: Providers) -> None:
    """What the client itself asked for beyond the cap is lowered, and named as lost."""
    running = await start(PAIRS)
    provider("oai").will(status=400, error={"message": REFUSALS[2]}, times=1)
    status, _, headers = await ask(running, "chat", max_tokens=20000)
    assert status == 200 and "max_tokens" in headers["x-gateway-dropped"]
    assert provider("oai").seen[-1].json["max_completion_tokens"] == 8192


async def test_a_refusal_that_stays_is_told(start: Start, provider: Providers) -> None:
    """There is one repaired try, no loop; and none for bytes that are the client's own."""
    running = await start(PAIRS)
    provider("ant").will(status=400, error={"type": "invalid_request_error", "message": REFUSALS[0]})
    status, said = await running.chat("claude")
    assert status == 400 and said["error"]["message"] == REFUSALS[0] and len(provider("ant").seen) == 2
    assert (await ask(running, "claude", max_tokens=32000))[0] == 400 and len(provider("ant").seen) == 3

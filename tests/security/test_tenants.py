"""One tenant and another: nobody reaches a model, a slot or a rest that is not theirs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Breaker
from gateway.faults import Fault
from gateway.policy.health import Health
from gateway.wire.provider_error import read_declined, read_inner
from tests.conftest import Provider, Running, Start, chat_body

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

KEYS = """
server: {max_concurrent: 4}
store: {url: "memory:"}
keys:
  all: {secret: {env: KEY}}
  few: {secret: {env: OTHER}, routes: [allowed]}
breaker: {failures: 2, rest: 30s}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS, selectors: [models, route, provider]}
routes: {allowed: "one:m", denied: "one:dear"}
defaults: {probe: denied}
"""
ALL, FEW = {"x-api-key": "gwk_client-key"}, {"x-api-key": "gwk_other-key"}


@pytest.fixture
async def locked(start: Start) -> Running:
    return await start(KEYS)


async def post(running: Running, body: Any, headers: dict[str, str], path: str = "/v1/chat/completions") -> int:
    async with running.post(path, body, headers=headers) as answer:
        await answer.read()
        status: int = answer.status
        return status


async def test_a_clients_own_timeout_is_no_fault_of_the_target(
    locked: Running, provider: Callable[[str], Provider]
) -> None:
    """A client that waits for a hundredth of a second does not open the breaker for all."""
    provider("one").will(times=5, latency=3)
    for _ in range(5):
        headers = ALL | {"x-stainless-timeout": "0.01"}  # the gateway waits for a second longer
        assert await post(locked, chat_body("allowed"), headers) == 504
    assert not list(locked.gateway.selection.health.resting(locked.gateway.clock.monotonic()))
    assert await post(locked, chat_body("allowed"), ALL) == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/chat/completions"])
async def test_a_providers_tool_names_no_model_past_the_routes(
    locked: Running, provider: Callable[[str], Provider], path: str
) -> None:
    """A picture's model or an adviser's is a model, too."""
    question = {"model": "allowed", "max_tokens": 9, "input": "x", "messages": [{"role": "user", "content": "x"}]}
    tool = {"type": "image_generation", "name": "x", "function": {"name": "f"}}
    assert await post(locked, question | {"tools": [tool | {"model": "dear"}]}, FEW, path) == 403
    assert not provider("one").seen
    assert await post(locked, question | {"tools": [tool | {"model": "allowed"}]}, FEW, path) == 200
    assert await post(locked, question | {"tools": [tool | {"model": "dear"}]}, ALL, path) == 200


WORDS = [
    "insufficient quota",
    "credit balance is too low",
    "Invalid API key",
    "lock timeout",
    "access denied",
    "try again in 200s",
]


@given(
    status=st.sampled_from([400, 401, 402, 403, 404, 405, 409, 413, 422, 429]),
    text=st.sampled_from(WORDS) | st.text(max_size=40),
    is_escaped=st.booleans(),
)
def test_the_clients_own_words_change_no_health(status: int, text: str, is_escaped: bool) -> None:
    """An error whose message is the request's own text rests no more than the same error without a message."""
    request = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    if is_escaped and text.isascii() and text.isalnum():
        request = b'"' + b"".join(b"\\u%04x" % ord(letter) for letter in text) + b'"'
    rests = []
    for words in (text or "x", "x"):
        body = json.dumps({"error": {"message": words}}).encode()
        fault = read_declined("openai_chat", status, {}, body, 0.0, request)
        health = Health(Breaker(failures=1))
        health.fail("t", "c", fault.certain, fault.retry_after, 0.0)
        rests.append((health.wait("t", "c", 0.0), health.wait("other", "c", 0.0), health.state("t", 0.0)))
    assert rests[0] == rests[1]


def test_words_of_the_provider_itself_still_count() -> None:
    """Words that are not the client's are believed: an account without money rests."""
    body = b'{"error":{"message":"Your credit balance is too low to access the Anthropic API"}}'
    assert read_declined("anthropic_messages", 400, {}, body, 0.0, b'{"messages":[]}').certain is Fault.QUOTA
    inner = {"type": "invalid_request_error", "message": "Your credit balance is too low"}
    assert read_inner("anthropic_messages", inner).certain is Fault.CALLER


async def test_one_key_cannot_take_all(locked: Running, provider: Callable[[str], Provider]) -> None:
    """Of four exchanges one of two keys may hold three; the fourth stays free for the other."""
    provider("one").will(times=4, latency=0.5)
    mine = [asyncio.create_task(post(locked, chat_body("allowed"), ALL)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert await post(locked, chat_body("allowed"), FEW) == 200
    assert sorted(await asyncio.gather(*mine)) == [200, 200, 200, 503]


async def test_one_key_alone_has_everything(start: Start, provider: Callable[[str], Provider]) -> None:
    """Where there is one key, or `share: 1`, nothing is kept back."""
    running = await start(KEYS.replace("  few: {secret: {env: OTHER}, routes: [allowed]}\n", ""))
    provider("one").will(times=4, latency=0.1)
    assert await asyncio.gather(*(post(running, chat_body("allowed"), ALL) for _ in range(4))) == [200] * 4


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"model":"denied","messages":[]}', 403),
        ('{"model":"one:dear","messages":[]}', 403),
        ('{"model":"allowed","Model":"dear","messages":[]}', 400),
        ('{"MODEL":"dear","model":"allowed","messages":[]}', 400),
        ('{"model":"denied","model":"allowed","messages":[]}', 200),
        ('{"mod\\u0065l":"denied","messages":[]}', 403),
    ],
)
async def test_a_key_reaches_its_own_models_only(
    locked: Running, provider: Callable[[str], Provider], body: str, status: int
) -> None:
    """However the model is written, what is checked is what is sent."""
    headers = FEW | {"Content-Type": "application/json"}
    async with locked.session.post(f"{locked.url}/v1/chat/completions", data=body, headers=headers) as answer:
        assert answer.status == status
    assert all(seen.json["model"] == "m" for seen in provider("one").seen)


async def test_members_that_choose_models_are_for_keys_with_all_routes(
    locked: Running, provider: Callable[[str], Provider]
) -> None:
    """A provider's own fallback list would lead past the routes: it is dropped, and the client is told so."""
    body = chat_body("allowed") | {"models": ["dear"], "provider": {"order": ["x"]}}
    for path in ("/v1/chat/completions", "/pt/v1/chat/completions"):
        async with locked.post(path, body, headers=FEW) as answer:
            assert answer.status == 200
            assert answer.headers["x-gateway-dropped"] == "models,provider"
        assert not {"models", "provider"} & provider("one").seen[-1].json.keys()
    async with locked.post("/v1/chat/completions", body, headers=ALL) as answer:
        assert "x-gateway-dropped" not in answer.headers
    assert provider("one").seen[-1].json["models"] == ["dear"]


HEAD = b"Content-Disposition: form-data; "
FIELD, FILE = HEAD + b'name="model"\r\n\r\n', HEAD + b'name="file"; filename="a.wav"\r\n\r\nx'


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD + b'name="model"; name="x"\r\n\r\nallowed'],
        [HEAD + b"name*=utf-8''model\r\n\r\ndenied", FIELD + b"allowed"],
        [HEAD + b'name="mo\\del"\r\n\r\ndenied', FIELD + b"allowed"],
        [HEAD + b'name="model"; filename="a"\r\n\r\ndenied', FIELD + b"allowed"],
        [HEAD + b'name="Model"\r\n\r\ndenied', FIELD + b"allowed"],
        [FIELD + b"allowed", FIELD + b"denied"],
        [HEAD + b'name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\ndenied', FIELD + b"allowed"],
        [HEAD + b'name="x";\r\n name="model"\r\n\r\ndenied', FIELD + b"allowed"],
    ],
)
async def test_a_form_that_parsers_read_differently_is_refused(
    locked: Running, provider: Callable[[str], Provider], parts: list[bytes]
) -> None:
    """A form whose model another parser would read from another part is a 400."""
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in [*parts, FILE]) + b"--b--\r\n"
    headers = FEW | {"Content-Type": "multipart/form-data; boundary=b"}
    async with locked.session.post(f"{locked.url}/v1/audio/transcriptions", data=body, headers=headers) as answer:
        assert answer.status == 400, await answer.text()
    assert not provider("one").seen


async def test_model_lists_and_probes_show_what_a_key_may_use(
    locked: Running, provider: Callable[[str], Provider]
) -> None:
    """A raw list is filtered, and the connection test is for those who may use its model."""
    provider("one").will(body={"data": [{"id": "m"}, {"id": "dear"}]})
    for headers, ids in ((ALL, ["m", "dear"]), (FEW, [])):
        async with locked.session.get(f"{locked.url}/v1/models?format=raw&provider=one", headers=headers) as answer:
            assert [model["id"] for model in (await answer.json())["data"]] == ids
    async with locked.session.get(f"{locked.url}/test-connection", headers=FEW) as answer:
        assert answer.status == 403

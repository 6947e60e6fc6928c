"""Clients that are not quite OpenAI's: Azure's paths, forms with files, the worker's /chat."""

import io
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.conftest import Provider, Running, Start, chat_body
from tests.flows.pairs import PAIRS

AZURE = """
store: {url: "memory:"}
providers:
  azure: {base_url: MOCK/, auth: {api-key: {env: ONE}}, query: {api-version: "2025-01-01"}}
routes: {both: "azure:my gpt"}
"""


async def test_an_azure_upstream_has_the_model_in_its_path(start: Start, provider: Callable[[str], Provider]) -> None:
    """An Azure upstream gets the deployment in its path, the api-version and the api-key of the preset."""
    running = await start(AZURE)
    assert (await running.chat())[0] == 200
    seen = provider("").seen[0]
    assert seen.path == "/chat/completions"
    assert seen.headers["api-key"] == "one-upstream-key" and "Authorization" not in seen.headers
    assert seen.query == "api-version=2025-01-01"
    assert seen.json["model"] == "my gpt"


@pytest.mark.parametrize("with_model", [True, False])
async def test_an_azure_client_has_it_there_too(
    running: Running, provider: Callable[[str], Provider], with_model: bool
) -> None:
    """The path's deployment is the alias if the body names no model. (EC-14)"""
    body: dict[str, Any] = {"messages": []} | ({"model": "single"} if with_model else {})
    path = "/openai/deployments/both/chat/completions?api-version=2024-10-21"
    async with running.post(path, body, headers={"api-key": "k"}) as answer:
        assert answer.status == 200
    assert provider("one").seen[0].json["model"] == "m"
    assert running.exchanges[-1]["alias"] == ("single" if with_model else "both")
    async with running.post("/openai/deployments/both/embeddings", {"input": "x"}) as answer:
        assert answer.status == 200


async def test_a_form_is_forwarded_with_its_model_renamed(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """A form's `model` is renamed and its file stays the same bytes; a fallback sends the whole form again."""
    provider("one").will(status=500)
    sound = bytes(range(256)) * 50
    form = aiohttp.FormData()
    form.add_field("file", sound, filename="a.wav", content_type="audio/wav")
    form.add_field("model", "both")
    form.add_field("language", "en")
    async with running.session.post(f"{running.url}/v1/audio/transcriptions", data=form) as answer:
        assert answer.status == 200
        assert (await answer.json())["text"] == "Hello from the mock provider."
    sent = provider("two").seen[0]
    assert sound in sent.body and b'name="model"\r\n\r\nm\r\n' in sent.body and b"both" not in sent.body
    assert sent.headers["Content-Type"].startswith("multipart/form-data; boundary=")


async def test_a_transcription_as_text_is_carried(running: Running, provider: Callable[[str], Provider]) -> None:
    """With `response_format: text` the reply is text, and reaches the client with its type."""
    provider("one").will(body="Hello, I am text.", headers={"Content-Type": "text/plain"})
    form = aiohttp.FormData({"model": "both", "response_format": "text"})
    form.add_field("file", b"x", filename="a.wav")
    async with running.session.post(f"{running.url}/v1/audio/transcriptions", data=form) as answer:
        assert await answer.text() == "Hello, I am text."
        assert answer.headers["Content-Type"] == "text/plain"


async def test_a_broken_form_is_a_400(running: Running) -> None:
    """A form with invalid framing is a 400 that names the boundary."""
    headers = {"Content-Type": "multipart/form-data; boundary=abc"}
    async with running.session.post(
        f"{running.url}/v1/images/edits", data=b"--abc\r\nnonsense", headers=headers
    ) as answer:
        assert answer.status == 400
        assert "boundary" in (await answer.json())["error"]["message"]


WORKER = """
store: {url: "memory:"}
limits: {address: {chat: {requests: 3/minute}, default: {requests: 100/minute}}}
providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
routes: {both: "one:m"}
defaults: {chat_model: both}
"""


async def test_the_workers_chat_has_a_default_model(start: Start, provider: Callable[[str], Provider]) -> None:
    """/chat uses `defaults.chat_model` if the body has no model, and speaks OpenAI chat, streams too."""
    running = await start(WORKER)
    async with running.post("/chat", {"messages": []}) as answer:
        assert answer.status == 200
        assert (await answer.json())["object"] == "chat.completion"
    async with running.post("/chat", {"messages": [], "stream": True, "model": "both"}) as answer:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    assert provider("one").seen[0].json["model"] == "m"


@pytest.mark.parametrize(
    ("method", "data", "behaviour", "status", "word"),
    [
        ("POST", b"{", {}, 400, "invalid_request"),
        ("POST", b"x" * 1_100_000, {}, 413, "payload_too_large"),
        ("GET", b"", {}, 404, "not_found"),
        ("POST", json.dumps(chat_body("nope")).encode(), {}, 404, "not_found"),
        ("POST", json.dumps(chat_body("both")).encode(), {"status": 500}, 502, "upstream_error"),
        (
            "POST",
            json.dumps(chat_body("both")).encode(),
            {"status": 400, "error": {"message": "m", "type": "t"}},
            400,
            "invalid_request",
        ),
    ],
)
async def test_the_workers_errors_are_flat(
    start: Start,
    provider: Callable[[str], Provider],
    method: str,
    data: bytes,
    behaviour: dict[str, Any],
    status: int,
    word: str,
) -> None:
    """Errors of /chat are flat: error, details, timestamp; a wrong method is a 404."""
    running = await start(WORKER)
    provider("one").will(**behaviour)
    async with running.session.request(
        method,
        f"{running.url}/chat",
        data=io.BytesIO(data) if data else None,
        headers={"Content-Type": "application/json"},
    ) as answer:
        said = await answer.json()
        assert answer.status == status
        assert said["error"] == word and set(said) == {"error", "details", "timestamp"}
        assert said["timestamp"].endswith("Z")


@pytest.mark.slow
async def test_the_workers_timeout_is_thirty_seconds_and_a_504(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """An upstream slower than the client's timeout is a 504 `timeout` on /chat."""
    running = await start(WORKER)
    provider("one").will(latency=9)
    async with running.post("/chat", chat_body("both"), headers={"x-stainless-timeout": "0.1"}) as answer:
        assert answer.status == 504 and (await answer.json())["error"] == "timeout"


async def test_the_workers_limits_are_chats(start: Start) -> None:
    """/chat counts against chat's limits; without a model and a default the error says what is missing."""
    running = await start(WORKER.replace("defaults: {chat_model: both}", ""))
    async with running.post("/chat", {"messages": []}) as answer:
        assert answer.status == 400 and "'model' is missing" in (await answer.json())["details"]
    for _ in range(3):
        async with running.post("/chat", chat_body("both")) as answer:
            await answer.read()
    assert answer.status == 429 and (await answer.json())["error"] == "rate_limited"


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("/v1/chat/completions", "chat", {"choices": "no"}),
        ("/v1/chat/completions", "chat", {"id": "x"}),
        ("/v1/messages", "claude", {"content": 5}),
        ("/v1/responses", "new", {"output": {}}),
    ],
)
async def test_a_whole_reply_of_no_dialect_is_a_fault(
    start: Start, provider: Callable[[str], Provider], path: str, model: str, body: Any
) -> None:
    """A whole reply that SDKs would crash on is a fault: the next target is called, or else it is a 502."""
    more = '  rsp: {base_url: "MOCK/rsp/v1", speaks: [openai_responses]}\nroutes:\n  new: rsp:m\n'
    running = await start(PAIRS.replace("routes:\n", more))
    for name in ("oai", "ant", "rsp"):
        provider(name).will(body=body, times=9)
    async with running.post(path, {"model": model, "max_tokens": 5, "messages": [], "input": "x"}) as answer:
        assert answer.status == 502

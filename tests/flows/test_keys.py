"""Which keys let a client in, and which models each key may use."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock, Provider, Running, Start, chat_body

KEYS = f"""
server: {{listen: ["127.0.0.1:0"]}}
store: {{url: "memory:"}}
limits: {{failed_auth: 3/minute}}
keys:
  laptop: {{secret: [{{env: KEY}}, {{sha256: "{hashlib.sha256(b"gwk_rotated").hexdigest()}"}}]}}
  narrow: {{secret: {{env: OTHER}}, routes: ["single", "one:x*"], expires: 2023-11-14}}
  boss: {{secret: {{env: BOSS}}, operator: true}}
providers:
  one: {{base_url: MOCK/one/v1, auth: {{bearer: {{env: ONE}}}}, speaks: SPEAKS}}
  byok: {{base_url: MOCK/byok/v1, auth: passthrough, speaks: [openai_chat]}}
routes: {{both: "one:m", single: "one:m"}}
"""
ENVIRON = {"BOSS": "gwk_boss-key"}


@pytest.fixture
async def locked(start: Start) -> Running:
    """A gateway with three keys."""
    return await start(KEYS, ENVIRON, clock=FakeClock().clock())


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer gwk_client-key"},
        {"authorization": "bearer gwk_client-key"},
        {"Authorization": "gwk_client-key"},
        {"x-api-key": "gwk_client-key"},
        {"api-key": "gwk_client-key"},
        {"x-api-key": "wrong", "Authorization": "Bearer gwk_client-key"},
        {"Authorization": "Bearer gwk_rotated"},
    ],
)
async def test_any_credential_header_opens(locked: Running, headers: dict[str, str]) -> None:
    """Bearer in any case, x-api-key or api-key opens, if one of them matches; while rotating, both secrets do."""
    async with locked.post("/v1/chat/completions", chat_body("both"), headers=headers) as answer:
        assert answer.status == 200
    assert locked.exchanges[-1]["key"] == "laptop"


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer no"}, {"x-api-key": ""}, {"Authorization": "Bearer \udcff"}]
)
async def test_without_a_good_key_nothing_opens(
    locked: Running, provider: Callable[[str], Provider], headers: Any
) -> None:
    """Without a valid key the response is OpenAI's 401, before any provider call; a key in the query is no key."""
    async with locked.post("/v1/chat/completions?key=gwk_client-key", chat_body("both"), headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["x-should-retry"] == "false"
        said = (await answer.json())["error"]
    assert (said["type"], said["param"], said["code"]) == ("invalid_request_error", None, "invalid_api_key")
    shown = any(value.removeprefix("Bearer ") for value in headers.values())
    words, reason = ("is not known", "the key is not known") if shown else ("No key was shown", "no key was shown")
    assert said["message"].startswith("Invalid API key. ") and words in said["message"]
    assert "this gateway has keys of its own" in said["message"]
    assert locked.exchanges[-1]["reason"] == reason
    assert not provider("one").seen


async def test_a_key_may_use_only_its_routes(locked: Running) -> None:
    """A key's globs match the alias, or provider:model for a direct name; any other model is a 403."""
    headers = {"Authorization": "Bearer gwk_other-key"}
    for model, status in (("single", 200), ("one:xy", 200), ("both", 403), ("one:m", 403), ("xy#one", 200)):
        async with locked.post("/v1/chat/completions", chat_body(model), headers=headers) as answer:
            assert answer.status == status, model
            if status == 403:
                said = (await answer.json())["error"]
                assert (said["type"], said["code"], said["param"]) == ("permission_error", "model_not_allowed", "model")
    async with locked.session.get(f"{locked.url}/v1/models", headers=headers) as answer:
        ids = [model["id"] for model in (await answer.json())["data"]]
    assert "single" in ids and "both" not in ids


async def test_a_key_ends_with_its_last_day(start: Start) -> None:
    """A key is valid through its expiry day in UTC and a 401 after it."""
    clock = FakeClock()
    running = await start(KEYS, ENVIRON, clock=clock.clock())
    headers = {"Authorization": "Bearer gwk_other-key"}
    for later, status in ((0.0, 200), (6000.0, 401)):
        clock.now = 1000.0 + later
        async with running.post("/v1/chat/completions", chat_body("single"), headers=headers) as answer:
            assert answer.status == status


async def test_guessing_is_slowed_down(start: Start) -> None:
    """After three wrong keys in a minute the next one is a 429 until the bucket refills; a right key always works."""
    clock = FakeClock()
    running = await start(KEYS, ENVIRON, clock=clock.clock())
    statuses = []
    for key in ("a", "b", "c", "d", "gwk_client-key"):
        async with running.post("/v1/chat/completions", chat_body("both"), headers={"x-api-key": key}) as answer:
            statuses.append(answer.status)
        if key == "d":
            assert answer.headers["Retry-After"] == "20"
    assert statuses == [401, 401, 401, 429, 200]
    clock.now += 21
    async with running.post("/v1/chat/completions", chat_body("both"), headers={"x-api-key": "e"}) as answer:
        assert answer.status == 401


async def test_a_missing_key_is_no_guess(start: Start) -> None:
    """Requests without any key stay 401: they do not use up the bucket for wrong keys."""
    running = await start(KEYS, ENVIRON)
    for _ in range(10):
        async with running.post("/v1/chat/completions", chat_body("both")) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("path", ["/", "/health", "/livez", "/readyz"])
async def test_probes_need_no_key(locked: Running, path: str) -> None:
    """Probes are 200 without a key: load balancers have none."""
    async with locked.session.get(locked.url + path) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/health", "/nothing", "/v1/models"])
async def test_wrong_keys_are_charged_on_every_path(start: Start, path: str) -> None:
    """A wrong key on a public or an unknown path is served and charged like any other."""
    running = await start(KEYS, ENVIRON)
    for _ in range(3):
        async with running.session.get(running.url + path, headers={"x-api-key": "wrong"}) as answer:
            assert answer.status != 429
    async with running.post("/v1/chat/completions", chat_body("both"), headers={"x-api-key": "wrong"}) as answer:
        assert answer.status == 429


async def test_operators_pages_need_an_operator(locked: Running) -> None:
    """Where keys are configured /metrics needs an operator's, from this machine as well."""
    for headers, status in (
        ({}, 401),
        ({"X-Forwarded-For": "1.2.3.4"}, 401),
        ({"X-Forwarded-For": "1.2.3.4", "x-api-key": "gwk_client-key"}, 403),
        ({"X-Forwarded-For": "1.2.3.4", "x-api-key": "gwk_boss-key"}, 200),
    ):
        async with locked.session.get(f"{locked.url}/metrics", headers=headers) as answer:
            assert answer.status == status, headers


async def test_details_of_health_are_for_operators(locked: Running) -> None:
    """/health shows base URLs and key hashes to operators only, so that nobody else learns the topology."""
    for headers, shown in (
        ({}, False),
        ({"x-api-key": "gwk_client-key"}, False),
        ({"X-Forwarded-For": "1.2.3.4"}, False),
        ({"Forwarded": "x", "x-api-key": "gwk_boss-key"}, True),
    ):
        async with locked.session.get(f"{locked.url}/health?format=json", headers=headers) as answer:
            payload = await answer.json()
            if shown:
                assert {"base_url", "api_key_hash"} <= payload["providers"]["one"].keys()
            else:
                assert set(payload["providers"]) == {"configured", "live"}
                assert payload["resting"] == 0


async def test_passthrough_sends_the_clients_own_key(locked: Running, provider: Callable[[str], Provider]) -> None:
    """A passthrough provider gets the client's own key and never the gateway's; without one it is a 401."""
    gateway_key = {"Authorization": "Bearer gwk_client-key"}
    for headers, status in (
        (gateway_key | {"x-provider-key": "sk-mine"}, 200),
        (gateway_key | {"x-api-key": "sk-mine"}, 200),
        (gateway_key, 401),
        (gateway_key | {"x-api-key": "gwk_client-key"}, 401),
    ):
        async with locked.post("/v1/chat/completions", chat_body("byok:m"), headers=headers) as answer:
            assert answer.status == status, headers
            if status == 401:
                assert "requires API key passthrough" in (await answer.json())["error"]["message"]
    assert {seen.headers["Authorization"] for seen in provider("byok").seen} == {"Bearer sk-mine"}
    assert not any("x-provider-key" in seen.headers for seen in provider("byok").seen)


async def test_a_refused_passthrough_key_is_the_clients_business(
    locked: Running, provider: Callable[[str], Provider]
) -> None:
    """A passed-through key that the provider refuses is a 401 to the client, without the key in its message."""
    provider("byok").will(status=401, error={"message": "bad key sk-mine-secret"})
    headers = {"Authorization": "Bearer gwk_client-key", "x-provider-key": "sk-mine-secret"}
    async with locked.post("/v1/chat/completions", chat_body("byok:m"), headers=headers) as answer:
        text = await answer.text()
        assert answer.status == 401 and "refused the API key that was passed through" in text
        assert "sk-mine-secret" not in text


async def test_an_open_gateway_passes_the_native_header_through(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """A gateway without keys sends the client's Authorization to a passthrough provider."""
    running = await start(
        "store: {url: 'memory:'}\nproviders: {byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: [openai_chat]}}"
    )
    async with running.post(
        "/v1/chat/completions", chat_body("byok:m"), headers={"Authorization": "Bearer sk-own"}
    ) as answer:
        assert answer.status == 200
    assert provider("byok").seen[0].headers["Authorization"] == "Bearer sk-own"

"""A web page attacks a gateway without keys, from a browser on the same machine or network."""

import pytest

from tests.conftest import Running, Start, chat_body

pytestmark = pytest.mark.slow

BODY = chat_body("both")
PATH = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
NAMED = """
server: {cors: {origins: ["https://app.example", "chrome-extension://abc"]}, hosts: [gw.example]}
store: {url: "memory:"}
providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
routes: {both: "one:m"}
"""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "chrome-extension://abc"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 400),
        ({"Host": "gw.example:8080"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "[::1]:8080"}, 200),
    ],
)
async def test_pages_are_refused_and_programs_are_not(start: Start, headers: dict[str, str], status: int) -> None:
    """What a browser says about a foreign page is refused; a named origin, and what programs send, is served."""
    running = await start(NAMED)
    async with running.post(PATH, BODY, headers=headers) as answer:
        assert answer.status == status
        if status == 403:
            assert (await answer.json())["error"]["code"] in ("cross_site", "host_not_allowed")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "TEXT/PLAIN; charset=utf-8"])
async def test_types_that_need_no_preflight_are_refused(running: Running, kind: str) -> None:
    """A body of a type that any page may send without asking is a 415."""
    headers = {"Content-Type": kind} if kind else {}
    skip = () if kind else ("Content-Type",)
    async with running.session.post(
        running.url + PATH, data=b'{"model":"both","messages":[]}', headers=headers, skip_auto_headers=skip
    ) as answer:
        assert answer.status == 415


async def test_a_page_under_a_name_of_its_own_sees_no_details(running: Running) -> None:
    """DNS rebinding makes a page local: under its name /health has counts only, and probes still answer."""
    for headers, has_details in (({}, True), ({"Host": "evil.example"}, False)):
        async with running.session.get(f"{running.url}/health?format=json", headers=headers) as answer:
            assert ("one" in (await answer.json())["providers"]) is has_details
    async with running.session.get(f"{running.url}/metrics", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    async with running.session.get(f"{running.url}/readyz", headers={"Host": "balancer.example"}) as answer:
        assert answer.status == 200


async def test_with_keys_nothing_of_this_is_checked(start: Start) -> None:
    """A page has no key: where one is needed, any Host and any origin may show it."""
    running = await start(NAMED + "keys: {laptop: {secret: {env: KEY}}}\n")
    headers = {"x-api-key": "gwk_client-key", "Origin": "https://evil.example", "Host": "any.example"}
    async with running.post(PATH, BODY, headers=headers) as answer:
        assert answer.status == 200

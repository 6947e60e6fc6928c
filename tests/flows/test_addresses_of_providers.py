"""Where a provider's API begins: with or without /v1, and what is said when it is not there."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.config.files import packaged
from gateway.config.load import load
from gateway.config.problems import ConfigError
from gateway.config.schema import Config
from gateway.faults import Fault
from gateway.wire.provider_error import read_declined
from tests.conftest import Start
from tests.flows.messages import Providers
from tests.wire.crossings import messages_request

NO_PATH: list[Any] = [
    b"",
    b"404 page not found",
    b"<html>404 Not Found</html>",
    {"detail": "Not Found"},
    {"error": "Not Found", "status": 404, "path": "/chat/completions"},
    {"error": {"message": "Invalid URL (POST /v1/v1/chat/completions)", "type": "invalid_request_error"}},
    {"error": {"message": "Unknown request URL: POST /chat/completions. Please check the URL for typos"}},
    {"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}},
    {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
    {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
    {"error": {"code": "404", "message": "Resource not found"}},
    {"message": "no Route matched with those values"},
    {"error_msg": "Not Found. Please check the configuration."},
    {"detail": "No static resource v1/chat/completions.", "title": "Not Found", "status": 404},
    {"message": "The requested URL was not found on the server. Please check your spelling and try again."},
    {"statusCode": 404, "message": "Route POST:/chat/completions not found"},
    {"success": False, "errors": [{"code": 7003, "message": "Could not route to /accounts/x"}]},
    {"type": "https://tools.ietf.org/html/rfc9110#section-15.5.5", "title": "Not Found", "status": 404},
    {},
]
NO_MODEL: list[Any] = [
    {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
    {"error": {"message": "not found", "code": "model_not_found"}},
    {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-none"}},
    {"error": {"message": 'model "x" not found, try pulling it first'}},
    {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
    {"error": {"message": "No endpoints found for x"}},
    b"model x not found",
    {"error": {"code": 404, "message": "models/x is not found for API version v1beta", "status": "NOT_FOUND"}},
    {"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}},
    {"error": {"code": "model_not_found"}},
]


def config(base: str, speaks: str = "[openai_chat, anthropic_messages]", name: str = "p") -> Config:
    text = f'providers:\n  {name}: {{base_url: "{base}", speaks: {speaks}}}\n'
    return load(text, "test.yaml", lambda _, __: "secret", packaged("presets.yaml"))


@pytest.mark.parametrize("body", NO_PATH)
def test_a_path_that_is_not_there(body: Any) -> None:
    """A 404 about the path, in each server's words, is no missing model."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    error = read_declined("openai_chat", 404, {}, raw, 0.0)
    assert error.fault is Fault.ADDRESS and error.code != "model_not_found" and error.status == 502


@pytest.mark.parametrize("body", [b"", b"<html>405 Not Allowed</html>", b'{"detail":"Method Not Allowed"}'])
def test_a_path_that_takes_no_post(body: bytes) -> None:
    """A page or an API of another kind at the address refuses the method."""
    error = read_declined("openai_chat", 405, {}, body, 0.0)
    assert (error.fault, error.status) == (Fault.ADDRESS, 502)


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
        b"Client sent an HTTP request to an HTTPS server.\n",
    ],
)
async def test_plain_http_to_a_tls_port(start: Start, provider: Providers, body: bytes) -> None:
    """A TLS port's own words for plain HTTP are no limit of the size."""
    running = await start()
    provider("one").will(status=400, body=body.decode(), headers={"content-type": "text/html"})
    status, said = await running.chat("single")
    assert status == 502
    assert said["error"]["message"] == "There is no API at the base_url of 'one': does its port want https?"


@pytest.mark.parametrize("body", NO_MODEL)
def test_a_model_that_is_not_there(body: Any) -> None:
    """A 404 about the model stays one."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    error = read_declined("openai_chat", 404, {}, raw, 0.0)
    assert (error.fault, error.code, error.status) == (Fault.MISSING, "model_not_found", 404)


@pytest.mark.parametrize(
    ("base", "chat", "messages"),
    [
        ("https://api.example", "/chat/completions", "/v1/messages"),
        ("https://api.example/", "/chat/completions", "/v1/messages"),
        ("https://api.example/v1", "/chat/completions", "/messages"),
        ("https://api.example/v1/", "/chat/completions", "/messages"),
        ("https://api.example/anthropic", "/chat/completions", "/v1/messages"),
        ("https://api.example/api/anthropic/", "/chat/completions", "/v1/messages"),
        ("https://api.example/api/v4", "/chat/completions", "/messages"),
        ("https://api.example/v1beta/", "/chat/completions", "/messages"),
    ],
)
def test_as_each_sdk_writes_it(base: str, chat: str, messages: str) -> None:
    """Anthropic's SDK takes its base without /v1: for its dialect the version is put in where the base has none."""
    assert config(base).providers["p"].speaks == {"openai_chat": chat, "anthropic_messages": messages}


@pytest.mark.parametrize(
    ("base", "speaks", "path"),
    [
        ("https://api.example", "[anthropic_messages]", "/v1/models"),
        ("https://api.example/anthropic", "[anthropic_messages, anthropic_count_tokens]", "/v1/models"),
        ("https://api.example", "{openai_chat: /v1/chat/completions}", "/v1/models"),
        ("https://api.example", "[anthropic_messages], lists_models: /m", "/m"),
        ("https://api.example/v1", "[anthropic_messages]", "/models"),
        ("https://api.example", "[anthropic_messages, openai_chat]", "/models"),
    ],
)
def test_the_model_list_begins_where_the_rest_does(base: str, speaks: str, path: str) -> None:
    """Where all paths have the version, that of the model list has it, too."""
    assert config(base, speaks).providers["p"].lists_models == path


@pytest.mark.parametrize(
    ("base", "speaks"),
    [
        (" https://api.example/v1", "[openai_chat]"),
        ("https://api.example/v1 ", "[openai_chat]"),
        ("https://api exam.ple/v1", "[openai_chat]"),
        ("https://api.example/v1#", "[openai_chat]"),
        ("https://api.example/v1?", "[openai_chat]"),
        ("api.example/v1", "[openai_chat]"),
        ("https://api.example/v1", "{openai_chat: chat/completions}"),
    ],
)
def test_what_can_be_no_address_is_refused(base: str, speaks: str) -> None:
    """A base with blanks or an empty query, and a path that would run into the base, are problems."""
    with pytest.raises(ConfigError):
        config(base, speaks)


def test_a_version_is_not_said_twice() -> None:
    """A path of one's own that begins with /v1 fits a base that ends with it."""
    for base in ("https://api.example/v1", "https://api.example/v1/"):
        assert (
            config(base, "{openai_chat: /v1/chat/completions}").providers["p"].speaks["openai_chat"]
            == "/chat/completions"
        )
    kept = config("https://api.example", "{openai_chat: /v1/chat/completions}").providers["p"]
    assert kept.speaks["openai_chat"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("base", "speaks", "words"),
    [
        ("https://api.example", "[openai_chat]", "does it lack it?"),
        ("https://api.example/", "[openai_responses]", "does it lack it?"),
        ("https://api.openai.com", "[openai_chat]", "does it lack it?"),
        ("https://api.example/v1/chat/completions", "[openai_chat]", "leave /chat/completions out"),
        ("https://api.example/v1/messages/", "[anthropic_messages]", "leave /messages out"),
        ("https://api.example/v1/messages", "[openai_chat]", "leave /messages out"),
        ("https://api.example/v1/responses", "[openai_chat]", "leave /responses out"),
        ("https://api.example/openai", "[openai_chat]", "it has no version"),
        ("https://api.example/openai", "{openai_chat: /openai/x}", "leave /openai out"),
        ("https://api.example/v1", "{anthropic_messages: /anthropic/v1/messages}", "leave /v1 out"),
        ("https://api.example/anthropic", "[anthropic_messages]", ""),
        ("https://api.example/v1beta/openai", "[openai_chat]", ""),
        ("https://api.example", "[anthropic_messages]", ""),
        ("https://api.deepseek.com", "[openai_chat]", ""),
        ("https://api.example/v1", "[openai_chat]", ""),
        ("https://api.example", "{openai_chat: /v1/chat/completions}", ""),
    ],
)
def test_check_says_what_is_probably_wrong(base: str, speaks: str, words: str) -> None:
    """`gateway check` doubts a base without a version, and one that ends with a dialect's path."""
    said = [one.message for one in config(base, speaks).warnings if one.path.endswith(".base_url")]
    assert (len(said) == 1 and words in said[0]) if words else not said


async def test_the_client_is_told(start: Start, provider: Providers) -> None:
    """The client reads whose base_url is wrong, as a failure of ours; another target is asked where there is one."""
    running = await start(
        """
        store: {url: "memory:"}
        providers:
          bad: {base_url: MOCK/bad, speaks: [openai_chat]}
          odd: {base_url: MOCK/bad/v1, speaks: [openai_chat]}
          two: {base_url: MOCK/two/v1, speaks: [openai_chat]}
        routes: {bad: "bad:m", odd: "odd:m", both: ["bad:m", "two:m"]}
        """
    )
    provider("bad").will(status=404, body={"detail": "Not Found"})
    status, said = await running.chat("bad")
    assert status == 502 and said["error"]["code"] != "model_not_found"
    assert said["error"]["message"] == "There is no API at the base_url of 'bad': does it lack /v1?"
    assert "/v1" not in (await running.chat("odd"))[1]["error"]["message"]
    assert (await running.chat("both"))[0] == 200
    async with running.post("/v1/messages", messages_request(model="bad")) as answer:
        assert answer.status == 502 and "base_url of 'bad'" in (await answer.json())["error"]["message"]


async def test_tls_to_a_plain_port(start: Start, provider: Providers) -> None:
    """https to a port that speaks http is said in these words."""
    running = await start(
        """
        store: {url: "memory:"}
        providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
        routes: {single: "one:m"}
        """.replace("MOCK", provider("one").server.url.replace("http:", "https:"))
    )
    status, said = await running.chat("single")
    assert status == 502
    assert said["error"]["message"] == "Cannot connect to the provider: its port does not speak TLS: http in base_url?"


async def test_a_server_that_cuts_the_handshake(start: Start) -> None:
    """A server that answers the handshake with nothing is a failed connection, never a word about permissions."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = await start(
        f"""
        store: {{url: "memory:"}}
        providers: {{one: {{base_url: "https://127.0.0.1:{port}/v1", speaks: [openai_chat]}}}}
        routes: {{single: "one:m"}}
        """
    )
    status, said = await running.chat("single")
    assert status == 502 and "permitted" not in said["error"]["message"]
    server.close()

"""What no single value's type can say: addresses, names, headers, and gateways that are open by mistake."""

from typing import Any

import pytest

from gateway.config.checks import LIMIT_CLASSES, check, is_loopback, open_to_all, split_address
from gateway.config.fields import KeySecret, Secret, StoreUrl
from gateway.config.problems import Path
from gateway.config.provider_schema import Auth, Provider
from gateway.config.schema import Config, Defaults, Key, Limit, Limits, Route, Store, Target
from gateway.config.server_schema import Cors, Server

SPEAKS = {"openai_chat": "/chat/completions"}


def key(text: bytes = b"1", **more: Any) -> Key:
    return Key((KeySecret("env K", text * 32),), **more)


def paths(config: Config) -> list[Path]:
    return [path for path, _ in check(config, config.providers)]


def of_provider(base_url: str = "http://x", **more: Any) -> list[tuple[Path, str]]:
    provider = Provider(base_url, **({"speaks": SPEAKS} | more))
    return list(check(Config(providers={"p": provider}), ["p"]))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_an_address_is_split(text: str, address: tuple[str, int]) -> None:
    """An address is a host and a port, an IPv6 host in brackets."""
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["x", ":80", "x:", "x:http", "x:65536", "x:-1", "::1:80", "[::1]", "", "x:+1"])
def test_what_is_no_address(text: str) -> None:
    """A text without host or port, or with an IPv6 address without brackets, is refused."""
    with pytest.raises(ValueError, match=r"is no address|in brackets"):
        split_address(text)


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        (["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/x", "127.9.9.9:1"], None),
        (["127.0.0.1:1", "0.0.0.0:1"], "0.0.0.0:1"),
        (["[::]:1"], "[::]:1"),
        (["example.org:1"], "example.org:1"),
    ],
)
def test_an_open_gateway_is_noticed(listen: list[str], found: str | None) -> None:
    """An address that others can reach needs keys, or the operator's word that it shall be open."""
    assert open_to_all(Config(), listen) == found
    assert all(is_loopback(address) for address in listen) is (found is None)
    assert open_to_all(Config(keys={"a": key()}), listen) is None
    assert open_to_all(Config(server=Server(open=True)), listen) is None


@pytest.mark.parametrize(
    ("server", "path"),
    [
        (Server(listen=()), ("server", "listen")),
        (Server(listen=("127.0.0.1:1", "x")), ("server", "listen", 1)),
        (Server(listen=("0.0.0.0:80",)), ("server", "listen")),
        (Server(trusted_proxies=("10.0.0.0/8", "10.0.0.1/8")), ("server", "trusted_proxies", 1)),
        (Server(cors=Cors(("https://a", "https://a/"))), ("server", "cors", "origins", 1)),
        (Server(cors=Cors(("a.example",))), ("server", "cors", "origins", 0)),
    ],
)
def test_problems_of_the_server(server: Server, path: Path) -> None:
    """Each wrong address, network and origin is told at its own place."""
    assert paths(Config(server=server)) == [path]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (Config(keys={"anonymous": key()}), ("keys", "anonymous")),
        (Config(keys={"a": Key(())}), ("keys", "a", "secret")),
        (Config(keys={"a": key(b"1"), "b": key(b"1")}), ("keys", "b", "secret")),
        (Config(keys={"a": key(limits={"x": Limit()})}), ("keys", "a", "limits", "x")),
        (Config(limits=Limits(key={"x": Limit()})), ("limits", "key", "x")),
        (Config(limits=Limits(address={"x": Limit()})), ("limits", "address", "x")),
        (Config(store=Store(StoreUrl("mongo://x"))), ("store", "url")),
        (Config(default_provider="x"), ("default_provider",)),
        (Config(defaults=Defaults(chat_model="x")), ("defaults", "chat_model")),
        (Config(defaults=Defaults(probe="x:m")), ("defaults", "probe")),
    ],
)
def test_problems_of_names(config: Config, path: Path) -> None:
    """A name that is reserved, used twice or unknown is told once, at its place."""
    assert paths(config) == [path]


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({"base_url": "ftp://x"}, ("base_url",), "no http or https URL"),
        ({"base_url": "http://"}, ("base_url",), "no http or https URL"),
        ({"base_url": "http://x?a=b"}, ("base_url",), "no query"),
        ({"base_url": "http://u:p@x"}, ("base_url",), "no query"),
        ({"speaks": {}}, (), "missing key 'speaks'"),
        ({"headers": {"X-API-Key": "a"}}, ("headers", "X-API-Key"), "credentials belong in `auth`"),
        ({"headers": {"Host": "a"}}, ("headers", "Host"), "cannot be set here"),
        ({"headers": {"a b": "c"}}, ("headers", "a b"), "not a valid header"),
        ({"headers": {"a": "b\n"}}, ("headers", "a"), "not a valid header"),
        ({"auth": Auth("authorization", "", (Secret("env K", "k\n"),))}, ("auth",), "the secret from env K has"),
    ],
)
def test_problems_of_a_provider(more: dict[str, Any], path: Path, words: str) -> None:
    """A provider's address, headers and secrets must be such that a request can carry them."""
    ((found, message),) = of_provider(**more)
    assert found == ("providers", "p", *path) and words in message
    assert "k\n" not in message


def test_a_good_configuration_has_no_problem() -> None:
    """Known names, the built-in mock, a secret that is missing and every endpoint class are all fine."""
    providers = {
        "p": Provider("https://x/v1", SPEAKS, Auth("authorization", "", (Secret("env NONE"),)), {"X-Team": "a\tb"}),
        "mock": Provider("builtin:mock", SPEAKS),
    }
    config = Config(
        keys={"a": key(b"1", limits=dict.fromkeys(LIMIT_CLASSES, Limit())), "b": key(b"2")},
        providers=providers,
        routes={"fast": Route((Target("p", "m"),))},
        default_provider="wrong",
        defaults=Defaults(chat_model="fast", probe="p:m"),
    )
    assert list(check(config, ["p", "mock", "wrong"])) == [], "a provider with wrong settings is known by its name"

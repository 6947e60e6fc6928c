"""The networks that people have: proxies, authorities of their own, client certificates, several addresses."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.files import read_config
from gateway.config.problems import ConfigError
from gateway.server.app import reload_parts, secrets_of
from tests.conftest import Provider, Running, Start
from tests.upstream.networks import Certificates, Proxy, TlsServer

pytestmark = pytest.mark.slow
Providers = Callable[[str], Provider]
TEXT = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  one: {base_url: "BASE/v1", speaks: [openai_chat], MORE}
  two: {base_url: "MOCK/two/v1", speaks: [openai_chat]}
routes: {single: "one:m", both: ["one:m", "two:m"]}
"""


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


Opened = Callable[[Any], Any]


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Any], Any]]:
    """Note what was started, and stop it at the end of the test."""
    found: list[Proxy | TlsServer] = []

    def note(one: Any) -> Any:
        found.append(one)
        return one

    yield note
    for one in found:
        await one.stop()


async def run(start: Start, base: str, more: str, folder: Path) -> Running:
    """Start a gateway whose configuration was read from a file in `folder`, as the daemon does."""
    running = await start(TEXT.replace("BASE", base).replace(", MORE", ""))
    path = folder / "providers.yaml"
    path.write_text(TEXT.replace("BASE", base).replace("MORE", more or "set: {}").replace("MOCK", "http://127.0.0.1:9"))
    reload_parts(running.gateway, read_config(str(path), {}, ["127.0.0.1:1"]))
    return running


async def said(running: Running, model: str = "single") -> tuple[int, Any]:
    return await running.chat(model)


async def test_a_proxy_forwards_and_tunnels(
    opened: Opened, start: Start, provider: Providers, certificates: Certificates, tmp_path: Path
) -> None:
    """Plain http is forwarded with an absolute URI, https tunnelled once for many requests; both with the password."""
    proxy = opened(Proxy(password="pass word"))
    address = await proxy.start()
    mock = provider("one").server.url
    running = await start(
        TEXT.replace("BASE", f"{mock}/one").replace("MORE", f'proxy: "http://me:pass%20word@{address}"')
    )
    assert (await said(running))[0] == 200
    assert proxy.lines == [f"POST {mock}/one/v1/chat/completions HTTP/1.1"]
    assert {"pass word", "pass%20word"} <= set(secrets_of(running.gateway.snapshot.config))
    assert not [name for name in provider("one").seen[-1].headers if name.lower().startswith("proxy")]

    place = await opened(TlsServer(certificates.server())).start()
    running = await run(
        start, f"https://{place}", f'proxy: "http://me:pass%20word@{address}", tls: {{ca: ca.pem}}', tmp_path
    )
    for _ in range(3):
        status, body = await said(running)
        assert (status, body["choices"][0]["message"]["content"]) == (200, "tls")
    assert proxy.lines[1:] == [f"CONNECT {place} HTTP/1.1"]
    await proxy.stop()


async def test_an_https_proxy(opened: Opened, start: Start, certificates: Certificates, tmp_path: Path) -> None:
    """The way to the proxy may be TLS itself, signed by the same authority."""
    proxy = opened(Proxy())
    address = await proxy.start(certificates.server())
    place = await opened(TlsServer(certificates.server())).start()
    running = await run(
        start,
        f"https://{place}",
        f'proxy: "https://{address.replace("127.0.0.1", "localhost")}", tls: {{ca: ca.pem}}',
        tmp_path,
    )
    assert (await said(running))[0] == 200
    await proxy.stop()


@pytest.mark.parametrize("kind", ["http", "https"])
async def test_a_proxy_that_refuses_is_named(
    opened: Opened, start: Start, provider: Providers, certificates: Certificates, tmp_path: Path, kind: str
) -> None:
    """A wrong password of the proxy, and a proxy that is down, are told from the provider's own refusals."""
    proxy = opened(Proxy(password="other"))
    address = await proxy.start()
    base = provider("one").server.url + "/one" if kind == "http" else "https://localhost:1"
    running = await start(TEXT.replace("BASE", base).replace("MORE", f'proxy: "http://me:wrong@{address}"'))
    status, body = await said(running)
    assert status == 502 and "its proxy refuses the gateway's credential (407)" in body["error"]["message"]
    assert (await said(running, "both"))[0] == 200
    await proxy.stop()
    running = await start(TEXT.replace("BASE", base).replace("MORE", 'proxy: "http://127.0.0.1:1"'))
    status, body = await said(running)
    assert status == 502 and "its proxy: connection refused" in body["error"]["message"]


@pytest.mark.parametrize(
    ("tls", "names", "wants_client", "words"),
    [
        ("", (), False, "its certificate cannot be verified"),
        ("tls: {ca: ca.pem}", (), False, ""),
        ("tls: {ca: ca.pem}", ("inside.example",), False, "its certificate cannot be verified"),
        ("tls: {ca: ca.pem, server_name: inside.example}", ("inside.example",), False, ""),
        ("tls: {verify: false}", ("inside.example",), False, ""),
        ("tls: {ca: ca.pem, cert: client.pem, key: {file: client.key}}", (), True, ""),
        ("tls: {ca: ca.pem, cert: both.pem}", (), True, ""),
        ("tls: {ca: ca.pem}", (), True, "closed the connection"),
    ],
)
async def test_certificates(
    opened: Opened,
    start: Start,
    certificates: Certificates,
    tmp_path: Path,
    tls: str,
    names: tuple[str, ...],
    wants_client: bool,
    words: str,
) -> None:
    """Authorities, certificates of the gateway, another name; a certificate that is not trusted is refused."""
    place = await opened(TlsServer(certificates.server(*names, wants_client=wants_client))).start()
    running = await run(start, f"https://{place}", tls, tmp_path)
    status, body = await said(running)
    assert status == (502 if words else 200)
    assert words in str(body)


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ("{ca: nowhere.pem}", "providers.one.tls: No such file"),
        ("{ca: providers.yaml}", "a file is not PEM"),
        ("{cert: client.pem}", "a file is not PEM, has a password, or the key"),
        ("{cert: client.pem, key: ca.pem}", "a file is not PEM, has a password, or the key"),
        ("{key: client.key}", "providers.one.tls.key: a key without `cert`"),
    ],
)
def test_files_that_cannot_be_used_are_found_at_the_start(
    certificates: Certificates, tmp_path: Path, tls: str, words: str
) -> None:
    """A file of `tls` that is missing or wrong is a problem of the configuration, with its place."""
    path = tmp_path / "providers.yaml"
    path.write_text(
        TEXT.replace("BASE", "https://x.example").replace("MORE", f"tls: {tls}").replace("MOCK", "http://x")
    )
    with pytest.raises(ConfigError, match=words):
        read_config(str(path), {})


def test_the_environments_proxy(tmp_path: Path) -> None:
    """`env` takes the usual variables, in either case, and leaves out what NO_PROXY names."""
    path = tmp_path / "providers.yaml"

    def proxy(base: str, setting: str = "env", **environ: str) -> str | None:
        path.write_text(TEXT.replace("BASE", base).replace("MORE", f"proxy: {setting}").replace("MOCK", "http://x"))
        return read_config(str(path), environ).providers["one"].proxy

    secure, plain = "http://secure.example:3128", "http://plain.example:3128"
    assert proxy("https://a.example", HTTPS_PROXY=secure, HTTP_PROXY=plain) == secure
    assert proxy("http://a.example", https_proxy=secure, http_proxy=plain) == plain
    assert proxy("http://a.example", ALL_PROXY=plain) == plain
    assert proxy("https://a.example") is None
    for no in ("a.example", ".example", "x, example:443", "*", "*.example"):
        assert proxy("https://a.example", HTTPS_PROXY=secure, NO_PROXY=no) is None, no
    assert proxy("https://a.example", HTTPS_PROXY=secure, NO_PROXY="b.example,ample") == secure
    assert proxy("https://a.example", "{env: P}", P=plain) == plain
    with pytest.raises(ConfigError, match=r"providers.one.proxy: the proxy's URL is missing: env P"):
        proxy("https://a.example", "{env: P}")
    with pytest.raises(ConfigError, match=r"providers.one.proxy: expected http"):
        proxy("https://a.example", "socks5://x:1")


async def test_secrets_in_addresses_and_headers(start: Start, provider: Providers) -> None:
    """A base URL and a header's value may be secrets, a password may be sent as Basic; without one it is disabled."""
    mock = provider("one").server.url
    more = "headers: {x-api-id: {env: API_ID}, x-team: blue}, auth: {basic: {user: me, password: {env: PASSWORD}}}"
    text = TEXT.replace('"BASE/v1"', "{env: BASE_URL}").replace("MORE", more)
    environ = {"BASE_URL": f"{mock}/one/v1", "API_ID": "id-0123456789", "PASSWORD": "pass-0123456789"}
    running = await start(text, environ)
    assert (await said(running))[0] == 200
    seen = provider("one").seen[-1].headers
    assert (seen["x-api-id"], seen["x-team"]) == ("id-0123456789", "blue")
    assert seen["Authorization"] == "Basic bWU6cGFzcy0wMTIzNDU2Nzg5"
    assert {"id-0123456789", "pass-0123456789", "bWU6cGFzcy0wMTIzNDU2Nzg5"} <= set(
        secrets_of(running.gateway.snapshot.config)
    )
    for name in environ:
        running = await start(text, {key: value for key, value in environ.items() if key != name})
        assert (await said(running))[0] == 503
        assert (await said(running, "both"))[0] == 200
        assert any(f"env {name}" in one.message for one in running.gateway.snapshot.config.warnings)


async def test_provider_sockets_are_kept_alive(
    start: Start, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection to a provider asks after a minute of silence whether the other end is still there."""
    made: list[socket.socket] = []
    real = socket.socket.setsockopt

    def note(self: socket.socket, *arguments: Any) -> None:
        if arguments[:2] == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            made.append(self)
        real(self, *arguments)

    monkeypatch.setattr(socket.socket, "setsockopt", note)
    running = await start(TEXT.replace("BASE", f"{provider('one').server.url}/one").replace("MORE", "set: {}"))
    assert (await said(running))[0] == 200
    idle = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) for one in made if one.fileno() >= 0]
    assert 60 in idle


def test_the_usual_authorities_can_be_others(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_FILE names the authorities of every provider without `tls`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    found = ssl.create_default_context().get_ca_certs()
    assert len(found) == 1

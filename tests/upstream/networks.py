"""A proxy of the kind that companies have, and certificates of an authority of their own."""

import asyncio
import base64
import ssl
from pathlib import Path

import trustme
from attrs import define, field


@define
class Proxy:
    """Tunnels (CONNECT) and forwards (absolute URIs); `seen` has the first line and the headers of each request."""

    password: str = ""  # of the user `me`; none is wanted if it is empty
    seen: list[list[str]] = field(factory=list)
    port: int = 0
    _server: asyncio.Server | None = field(default=None, init=False)
    _writers: list[asyncio.StreamWriter] = field(factory=list, init=False)

    async def start(self, context: ssl.SSLContext | None = None) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

    @property
    def lines(self) -> list[str]:
        return [head[0] for head in self.seen]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.seen.append(head)
            wanted = "Proxy-Authorization: Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
            if self.password and wanted not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            method, target, _ = head[0].split(" ")
            place = target if method == "CONNECT" else target.split("/")[2]
            host, _, port = place.partition(":")
            up, down = await asyncio.open_connection(host, int(port or 80))
            self._writers.append(down)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = "/" + target.split("/", 3)[3]
                kept = [line for line in head[1:] if not line.lower().startswith("proxy-")]
                down.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode())
            await asyncio.gather(_pump(reader, down), _pump(up, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@define
class Certificates:
    """An authority, a server's certificate for `localhost` and `inside.example`, and a client's."""

    folder: Path
    authority: trustme.CA = field(factory=trustme.CA)

    def __attrs_post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        client = self.authority.issue_cert("gateway@example.org")
        client.private_key_pem.write_to_path(str(self.folder / "client.key"))
        client.cert_chain_pems[0].write_to_path(str(self.folder / "client.pem"))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "both.pem"))

    def server(self, *names: str, wants_client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        if wants_client:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@define
class TlsServer:
    """A provider that answers every chat request alike, over TLS."""

    context: ssl.SSLContext
    _server: asyncio.Server | None = field(default=None, init=False)
    _writers: list[asyncio.StreamWriter] = field(factory=list, init=False)

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self.context)
        return f"localhost:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = next(int(line[16:]) for line in head.split("\r\n") if line.startswith("content-length: "))
                await reader.readexactly(size)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY)
                    + REPLY
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


REPLY = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"tls"},"finish_reason":"stop"}]}'

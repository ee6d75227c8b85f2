"""One WebSocket: how it is opened, what the server sees of it, and how it ends."""

import asyncio
import datetime
import email.utils
import ipaddress
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.connection import Connection, explain_close, open_connection
from mcp_channels.client.errors import ConnectionFailed
from tests.client.proxy import Proxy
from tests.client.stranger import PATIENCE, Refusal, Stranger

SECRET = "t0ps3cret"


def configure(url: str, **options: Any) -> WebSocketConfig:
    return WebSocketConfig(url, **{"proxy": None, **options})


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Connection]:
    connection = await open_connection(configure(url, **options))
    try:
        yield connection
    finally:
        await connection.close()


async def failure_of(url: str, **options: Any) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        await open_connection(configure(url, **options))
    return caught.value


# What the server is shown


async def test_subprotocol_is_offered_and_nothing_is_compressed(server):
    async with opened(server.url) as connection:
        assert connection.subprotocol == "mcp"
    (request,) = server.requests

    assert request.headers["Sec-WebSocket-Protocol"] == "mcp"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert "Authorization" not in request.headers


async def test_frames_are_text_and_arrive(server):
    async with opened(server.url) as connection:
        connection.send_frame('{"jsonrpc": "2.0", "method": "é"}')
        await server.until(lambda: server.visits and server.last.messages)

    assert server.last.messages == [{"jsonrpc": "2.0", "method": "é"}]


async def test_url_is_asked_for_as_it_is(server):
    async with opened(f"{server.url}/staff?a=1&b=%20"):
        pass

    assert server.requests[0].path == "/ws/staff?a=1&b=%20"


async def test_headers_are_sent(server):
    headers = {"Cookie": "sessionid=1", "Origin": "http://example.com"}
    async with opened(server.url, headers=headers):
        pass
    (request,) = server.requests

    assert {name: request.headers[name] for name in headers} == headers


async def test_token_is_sent_as_a_bearer_token(server):
    async with opened(server.url, token=SECRET):
        pass

    assert server.requests[0].headers["Authorization"] == f"Bearer {SECRET}"


async def test_token_is_read_again_for_each_connection(server):
    tokens = iter(["one", "two"])

    async def read() -> str:
        return next(tokens)

    async with opened(server.url, token=read), opened(server.url, token=read):
        pass

    assert [one.headers["Authorization"] for one in server.requests] == [
        "Bearer one",
        "Bearer two",
    ]


async def test_token_of_a_function_that_is_not_async(server):
    async with opened(server.url, token=lambda: SECRET):
        pass

    assert server.requests[0].headers["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("token", ["a\r\nX: b", "a b", "é", "\x7f"])
async def test_token_that_no_header_holds_is_refused_unshown(server, token):
    failure = await failure_of(server.url, token=token)

    assert failure.is_final
    assert token not in str(failure)
    assert server.requests == []


async def test_token_that_does_not_come_is_not_waited_for(server):
    async def read() -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        await open_connection(configure(server.url, token=read, open_timeout=0.05))


async def test_no_secret_is_logged_or_shown(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.refusals.append(Refusal(401, f"{SECRET} is unknown, as is {SECRET}2"))
    headers = {"X-Key": SECRET + "2", "X-Empty": ""}
    failure = await failure_of(server.url, token=SECRET, headers=headers)
    async with opened(server.url, token=SECRET, headers=headers) as connection:
        connection.send_frame('{"jsonrpc": "2.0", "method": "m3ssage"}')
        await server.until(lambda: server.visits and server.last.messages)
        await server.last.socket.close(4000, f"{SECRET} expired")
        with pytest.raises(ConnectionClosed) as caught:
            await connection.recv()
    closed = explain_close(caught.value, connection.secrets)

    assert failure.reason.endswith("HTTP 401 Unauthorized: *** is unknown, as is ***")
    assert closed.reason == "The server closed it with 4000: *** expired"
    assert SECRET not in caplog.text
    assert "m3ssage" not in caplog.text


# Limits of the way there


async def test_message_that_is_too_large_closes_the_connection(server):
    async with opened(server.url, max_message_size=100) as connection:
        await server.until(lambda: server.visits)
        await server.last.socket.send("x" * 100)
        assert await connection.recv() == "x" * 100
        await server.last.socket.send("x" * 101)
        with pytest.raises(ConnectionClosed) as caught:
            await connection.recv()

    assert explain_close(caught.value, ()).code == 1009


async def test_message_of_any_size_passes_without_a_limit(server):
    async with opened(server.url, max_message_size=None) as connection:
        await server.until(lambda: server.visits)
        await server.last.socket.send("x" * 3_000_000)

        assert len(await connection.recv()) == 3_000_000


async def test_server_that_does_not_answer_is_not_waited_for(server):
    async with Proxy(server.port) as proxy:
        proxy.freeze()
        failure = await failure_of(proxy.url, open_timeout=0.05)

    assert failure.reason == f"{proxy.url} did not answer within 0.05 s"
    assert not failure.is_final


async def test_connection_cannot_send_while_the_network_takes_nothing(server):
    called = []
    async with Proxy(server.port) as proxy, opened(proxy.url) as connection:
        assert connection.can_send
        proxy.freeze()
        while connection.can_send:
            connection.send_frame('{"jsonrpc": "2.0", "method": "%s"}' % ("x" * 65_536))
        proxy.thaw()  # without somebody who wants to know
        async with asyncio.timeout(PATIENCE):
            while not connection.can_send:
                await asyncio.sleep(0)
        proxy.freeze()
        done = asyncio.Event()
        connection.on_writable = lambda: (
            called.append(connection.can_send),
            done.set(),
        )
        while connection.can_send:
            connection.send_frame('{"jsonrpc": "2.0", "method": "%s"}' % ("x" * 65_536))
        proxy.thaw()
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert not connection.can_send  # closed

    assert called[0] is True


# Encryption


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, with its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def encrypted(authority: Path) -> AsyncIterator[Stranger]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    async with Stranger(context=context) as server:
        yield server


async def test_server_is_trusted_as_the_context_says(encrypted, authority):
    context = ssl.create_default_context(cafile=authority)
    async with opened(encrypted.url, ssl=context, token=SECRET):
        pass

    assert encrypted.requests[0].headers["Authorization"] == f"Bearer {SECRET}"


async def test_server_that_is_not_trusted_never_sees_the_token(encrypted):
    failure = await failure_of(encrypted.url, token=SECRET)

    assert failure.is_final
    assert "is not trusted: self-signed certificate" in failure.reason
    assert encrypted.requests == []


# Through a proxy


class HTTPProxy:
    """A proxy that understands CONNECT, or refuses with a status."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.seen: list[str] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(head)
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if self.status == "200 OK":
            port = int(head.split()[1].rpartition(":")[2])
            there, here = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pass_on(reader, here), pass_on(there, writer))
            here.close()
        writer.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.write_eof()


@asynccontextmanager
async def proxied(status: str = "200 OK") -> AsyncIterator[tuple[HTTPProxy, str]]:
    proxy = HTTPProxy(status)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield proxy, f"http://ahab:{SECRET}@127.0.0.1:{port}"


async def test_proxy_is_used(server):
    async with proxied() as (proxy, url), opened(server.url, proxy=url) as connection:
        connection.send_frame('{"jsonrpc": "2.0", "method": "x"}')
        await server.until(lambda: server.visits and server.last.messages)

    assert proxy.seen[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1")


async def test_proxy_of_the_environment_is_used(server, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with proxied() as (proxy, url):
        monkeypatch.setenv("http_proxy", url)
        async with opened(server.url, proxy=True):
            pass
        assert len(proxy.seen) == 1
        async with opened(server.url, proxy=None):
            pass

    assert len(proxy.seen) == 1


@pytest.mark.parametrize(
    ("status", "is_final"), [("407 Who are you", True), ("503 Full", False)]
)
async def test_proxy_that_refuses(server, status, is_final):
    async with proxied(status) as (_, url):
        failure = await failure_of(server.url, proxy=url)

    assert failure.reason.startswith(f"The proxy refused: HTTP {status[:3]}")
    assert failure.is_final is is_final
    assert SECRET not in failure.reason


async def test_proxy_that_is_broken(server):
    async with proxied() as (_, url):
        pass
    failure = await failure_of(server.url, proxy=url)
    assert not failure.is_final
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        failure = await failure_of(server.url, proxy=f"http://127.0.0.1:{port}")

    assert failure.reason.startswith("The proxy failed")
    assert not failure.is_final


async def test_proxy_that_is_none(server):
    failure = await failure_of(server.url, proxy=f"ftp://ahab:{SECRET}@127.0.0.1")

    assert failure.reason == "The proxy's URL is not valid"
    assert failure.is_final


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")  # else it would be a reset
    writer.close()


# Refusals


@pytest.mark.parametrize(
    ("status", "is_final"),
    [
        (200, True),
        (301, True),
        (400, True),
        (401, True),
        (403, True),
        (404, True),
        (408, False),
        (425, False),
        (429, False),
        (500, False),
        (503, False),
        (599, False),
    ],
)
async def test_refusal_is_final_where_another_try_would_be_the_same(
    server, status, is_final
):
    server.refusals.append(Refusal(status))
    failure = await failure_of(server.url)

    assert failure.status == status
    assert failure.is_final is is_final
    assert f"refused: HTTP {status}" in failure.reason


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        ("Credentials are required\n", "text/plain", ": Credentials are required"),
        ("<html>", "text/html", ""),
        ("\x1b[2J", "text/plain", ""),
        ("", "text/plain", ""),
        ("x" * 1000, "text/plain", ": " + "x" * 200),
    ],
)
async def test_reason_of_a_refusal_is_shown_if_it_is_text(server, body, kind, shown):
    server.refusals.append(Refusal(403, body, Content_Type=kind))
    failure = await failure_of(server.url)
    start, _, said = failure.reason.partition("HTTP 403 Forbidden")

    assert start == f"{server.url} refused: "
    assert said.startswith(shown) if shown else said == ""
    assert len(failure.reason) <= 300


def in_seconds(seconds: float, zone: datetime.tzinfo | None = datetime.UTC) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    if zone is None:
        return email.utils.format_datetime(moment.replace(tzinfo=None))
    return email.utils.format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("3", 3, 3),
        (" 0 ", 0, 0),
        ("-1", 0, 0),
        ("soon", 0, 0),
        ("9" * 5000, 86_400, 86_400),
        (in_seconds(100), 1, 100),
        (in_seconds(100, None), 1, 100),
        (in_seconds(-100), 0, 0),
        (in_seconds(1e6), 86_400, 86_400),
    ],
)
async def test_server_says_when_to_come_back(server, value, least, most):
    server.refusals.append(Refusal(503, Retry_After=value))
    failure = await failure_of(server.url)

    assert least <= failure.retry_after <= most


async def test_server_that_is_not_there():
    async with Stranger() as server:
        pass
    failure = await failure_of(f"ws://127.0.0.1:{server.port}/ws?ticket={SECRET}")

    assert not failure.is_final
    assert "cannot be reached" in failure.reason
    assert SECRET not in failure.reason


async def test_server_of_something_else():
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        failure = await failure_of(f"ws://127.0.0.1:{port}/ws")

    assert failure.reason == f"ws://127.0.0.1:{port}/ws did not answer in HTTP"
    assert not failure.is_final


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://example.com", "redirects to what is no WebSocket URL"),
        ("/ws", "more than 10 redirects"),
    ],
)
async def test_redirects_are_followed_as_far_as_they_lead(server, location, message):
    server.refusals.extend(Refusal(302, Location=location) for _ in range(10))
    failure = await failure_of(server.url)

    assert message in failure.reason
    assert failure.is_final


async def test_redirect_elsewhere_takes_no_credential_along(server):
    headers = {"X-Key": SECRET}
    async with Stranger() as other:
        server.refusals.append(Refusal(307, Location=other.url))
        async with opened(server.url, token=SECRET, headers=headers):
            pass
        server.refusals.append(Refusal(307, Location="/ws/"))
        async with opened(server.url, token=SECRET, headers=headers):
            pass

    assert "Authorization" not in other.requests[0].headers
    assert "X-Key" not in other.requests[0].headers
    # On the same server it is what it was.
    assert server.requests[-1].path == "/ws/"
    assert server.requests[-1].headers["Authorization"] == f"Bearer {SECRET}"
    assert server.requests[-1].headers["X-Key"] == SECRET


# The end


def closed(received: int | None, sent: int | None, first: bool | None) -> Any:
    return ConnectionClosed(
        None if received is None else Close(received, "theirs"),
        None if sent is None else Close(sent, "ours"),
        first,
    )


@pytest.mark.parametrize(
    ("exc", "code", "is_final", "reason"),
    [
        (closed(None, None, None), 1006, False, "The connection was lost"),
        (closed(1000, 1000, True), 1000, False, "The server closed it with"),
        (closed(1001, 1001, True), 1001, False, "The server closed it with"),
        (closed(1003, 1003, True), 1003, True, "The server closed it with"),
        (closed(1008, 1008, True), 1008, True, "1008: theirs"),
        (closed(1009, 1009, True), 1009, False, "1009: theirs"),
        (closed(1011, 1011, True), 1011, False, "1011: theirs"),
        (closed(1012, 1012, True), 1012, False, "1012: theirs"),
        (closed(1013, 1013, True), 1013, False, "1013: theirs"),
        (closed(1013, None, None), 1013, False, "1013: theirs"),
        (closed(3000, 3000, True), 3000, True, "3000: theirs"),
        (closed(4000, 4000, True), 4000, False, "4000: theirs"),
        (closed(None, 1009, None), 1009, False, "The client closed it with 1009: ours"),
        (closed(1002, 1009, False), 1009, False, "1009: ours"),
        (closed(1002, 1002, False), 1002, False, "1002: ours"),
    ],
)
def test_close_is_explained(exc, code, is_final, reason):
    failure = explain_close(exc, ())

    assert (failure.code, failure.is_final) == (code, is_final)
    assert reason in failure.reason


# Silence


@pytest.fixture
def impatient() -> Iterator[dict[str, float]]:
    yield {"interval": 0.1, "timeout": 0.2}


async def watch_until_dropped(
    connection: Connection, interval: float, timeout: float | None
) -> float:
    """Return after how long a silence the connection is dropped."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        await connection.watch(interval, timeout)
        await connection.wait_closed()
    return loop.time() - connection.heard_at


async def test_half_open_connection_is_noticed_in_time(server, impatient):
    async with Proxy(server.port) as proxy, opened(proxy.url) as connection:
        proxy.freeze()
        silence = await watch_until_dropped(connection, **impatient)

    # On a busy machine a little later, but not by another round.
    assert 0.3 <= silence < 0.55


async def test_silence_begins_after_the_last_sign_of_life(server, impatient):
    async with Proxy(server.port) as proxy, opened(proxy.url) as connection:
        watching = asyncio.create_task(watch_until_dropped(connection, **impatient))
        for _ in range(3):
            await asyncio.sleep(0.08)
            await server.last.socket.send("news")
        proxy.freeze()
        silence = await watching

    assert 0.3 <= silence < 0.55


async def test_server_that_answers_pings_is_left_alone(server):
    async with opened(server.url) as connection:
        watching = asyncio.create_task(connection.watch(0.02, 0.05))
        await asyncio.sleep(0.3)

        assert not watching.done()
        assert connection.can_send
        watching.cancel()


async def test_connection_is_pinged_but_never_dropped_without_a_timeout(server):
    async with Proxy(server.port) as proxy, opened(proxy.url) as connection:
        proxy.freeze()
        watching = asyncio.create_task(connection.watch(0.02, None))
        await asyncio.sleep(0.2)

        assert connection.can_send
        watching.cancel()


async def slowly(text: str) -> AsyncIterator[str]:
    for character in text:
        await asyncio.sleep(0.2)
        yield character


async def test_all_that_arrives_is_a_sign_of_life(server):
    # Also the parts of a long message; the answer to a ping would come after it.
    async with Proxy(server.port) as proxy, opened(proxy.url) as connection:
        await server.until(lambda: server.visits)
        proxy.freeze(only_up=True)  # so that no ping is answered
        watching = asyncio.create_task(connection.watch(0.05, 0.3))
        await server.last.socket.send(slowly("long"))

        assert await connection.recv() == "long"
        assert not watching.done()
        watching.cancel()


async def test_connection_that_nobody_reads_from_is_not_dropped(server):
    async with opened(server.url) as connection:
        await server.until(lambda: server.visits)
        watching = asyncio.create_task(connection.watch(0.05, 0.1))
        for _ in range(30):
            await server.last.socket.send("x")
        async with asyncio.timeout(PATIENCE):
            while connection.transport.is_reading():
                await asyncio.sleep(0)
        await asyncio.sleep(0.4)

        assert not watching.done()
        assert connection.can_send
        watching.cancel()

"""Tornado's protocol behind `HTTPServer`, which is used under TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.client import (
    Client,
    Frame,
    Opcode,
    frame,
    read_response,
    text_frame,
    upgrade_request,
)
from tests.support.waiting import until
from tests.transport.served import Served, served
from transport.fallback import StreamProtocol
from transport.frames import Close, Ping


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


async def connect(server: Served, certificate: Path) -> Client:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    host, port = server.url.removeprefix("ws://").removesuffix("/echo").split(":")
    client = Client(server.url, *await asyncio.open_connection(host, int(port), ssl=context))
    await client.send(upgrade_request("x", "/echo"))
    assert (await read_response(client.reader)).status == 101
    return client


async def test_a_websocket_under_tls(certificate: Path) -> None:
    """It has fragments, pings, large messages, unsent bytes, and a close with code and reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with served(tornado=True, ssl_options=context) as server:
        client = await connect(server, certificate)
        handler = await server.handler()
        assert handler.request.protocol == "https"
        assert isinstance(handler.ws_connection, StreamProtocol)

        await client.send(frame(Opcode.TEXT, b"a\xc5", fin=False) + frame(Opcode.PING, b"1"))
        assert await client.receive_frame() == Frame(Opcode.PONG, b"1", True)
        await client.send(frame(Opcode.CONTINUATION, b"\xbe"))
        assert await client.receive_text() == "až"
        handler.ping(b"2")
        assert await client.receive_frame() == Frame(Opcode.PING, b"2", True)
        handler.ws_connection.write_text(b"written")
        assert await client.receive_text() == "written"

        much = b"x" * 1_000_000
        await client.send(frame(Opcode.BINARY, much))
        assert await client.receive_frame() == Frame(Opcode.BINARY, much, True)
        await until(lambda: handler.ws_connection.unsent == 0)

        assert await client.close(4000, "why") == 4000
        await handler.is_closed()
        assert handler.seen == [Ping(b"1"), "až", much, Close(4000, "why")]


async def test_the_server_closes_and_aborts_under_tls(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with served(tornado=True, ssl_options=context) as server:
        client = await connect(server, certificate)
        handler = await server.handler()
        handler.close(1001, "bye")
        assert await client.closed() == 1001
        await handler.is_closed()

        client = await connect(server, certificate)
        handler = await server.handler()
        await client.send(text_frame("half")[:-1])
        handler.ws_connection.abort()
        await handler.is_closed()
        assert await client.end() == b""
        client.abort()

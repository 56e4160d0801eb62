"""Tornado's protocol behind an `HTTPServer` that speaks TLS itself."""

from __future__ import annotations

import asyncio

from tests.support.certificates import client_context, server_context
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


async def connect(server: Served) -> Client:
    host, port = server.url.removeprefix("ws://").removesuffix("/echo").split(":")
    client = Client(
        server.url, *await asyncio.open_connection(host, int(port), ssl=client_context())
    )
    await client.send(upgrade_request("x", "/echo"))
    assert (await read_response(client.reader)).status == 101
    return client


async def test_a_websocket_under_tls() -> None:
    """It has fragments, pings, large messages, unsent bytes, and a close with code and reason."""
    async with served(tornado=True, ssl_options=server_context()) as server:
        client = await connect(server)
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


async def test_the_server_closes_and_aborts_under_tls() -> None:
    async with served(tornado=True, ssl_options=server_context()) as server:
        client = await connect(server)
        handler = await server.handler()
        handler.close(1001, "bye")
        assert await client.closed() == 1001
        await handler.is_closed()

        client = await connect(server)
        handler = await server.handler()
        await client.send(text_frame("half")[:-1])
        handler.ws_connection.abort()
        await handler.is_closed()
        assert await client.end() == b""
        client.abort()

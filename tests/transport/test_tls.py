"""TLS on the connections of a Listener."""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.support.certificates import client_context
from tests.support.client import (
    Client,
    Connection,
    Frame,
    Opcode,
    close_frame,
    frame,
    read_response,
    text_frame,
    upgrade_request,
)
from tests.support.waiting import until
from tests.transport.served import SMALL_BUFFER, Busy, Recorder, Served, served
from transport.fallback import StreamProtocol
from transport.frames import Close, Ping
from transport.protocol import LoopProtocol
from transport.tls import MAX_ANSWERS, RECORDS

PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = upgrade_request("x", "/echo")


class Raw:
    """A TLS client whose records go out as the test wants them, on a connection without TLS."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        self.connection = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    @classmethod
    async def open(
        cls, server: Served, context: ssl.SSLContext | None = None, *, receive_buffer: int | None = None
    ) -> Self:
        """Connect, and send nothing yet."""
        url = server.url.replace("wss:", "ws:")
        connection = await server.track(Connection.open(url, receive_buffer=receive_buffer))
        return cls(connection, context or client_context())

    def hello(self) -> bytes:
        """Return the first message of the handshake."""
        with suppress(ssl.SSLWantReadError):
            self._ssl.do_handshake()
        return self._outgoing.read()

    async def shake_hands(self, last: bytes = b"") -> None:
        """Make the handshake; `last` goes out as data together with its end."""
        self.connection.write(self.hello())
        while True:
            await self._receive()
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                self.connection.write(self._outgoing.read())
            else:
                break
        self.connection.write(self._outgoing.read() + (self.records(last) if last else b""))

    async def _receive(self) -> None:
        async with asyncio.timeout(self.connection.time_limit):
            received = await self.connection.reader.read(1 << 16)
        if not received:
            raise EOFError
        self._incoming.write(received)

    def records(self, *pieces: bytes) -> bytes:
        """Return a record for each piece of data."""
        for piece in pieces:
            self._ssl.write(piece)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return what ends the stream of this side."""
        with suppress(ssl.SSLWantReadError):
            self._ssl.unwrap()
        return self._outgoing.read()

    async def read(self, size: int = 1 << 16) -> bytes:
        """Return some data; nothing when the server has said goodbye."""
        while True:
            try:
                return self._ssl.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._receive()

    async def rest(self) -> bytes:
        """Return all data until the server says goodbye. It is an error if it does not."""
        data = b""
        while received := await self.read():
            data += received
        return data


async def test_a_websocket() -> None:
    """It has fragments, pings, large messages, unsent bytes, and a close with code and reason."""
    async with served(tls=True) as server:
        client, handler = await server.pair()
        assert handler.request.protocol == "https"
        assert handler.request.remote_ip == "127.0.0.1"
        assert isinstance(handler.ws_connection, LoopProtocol)

        await client.send(frame(Opcode.TEXT, b"a\xc5", fin=False) + frame(Opcode.PING, b"1"))
        assert await client.receive_frame() == Frame(Opcode.PONG, b"1", True)
        await client.send(frame(Opcode.CONTINUATION, b"\xbe"))
        assert await client.receive_text() == "až"
        much = b"x" * 1_000_000
        await client.send(frame(Opcode.BINARY, much))
        assert await client.receive_frame() == Frame(Opcode.BINARY, much, True)
        await until(lambda: handler.ws_connection.unsent == 0)
        assert await client.close(4000, "why") == 4000
        await handler.is_closed()
        assert handler.seen == [Ping(b"1"), "až", much, Close(4000, "why")]

"""The attacker's connections. They send as fast as the server reads, and check little."""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import cast
from urllib.parse import urlsplit

from tests.support.client import Opcode, frame, text_frame, upgrade_request
from tests.support.peer import message

ID = re.compile(rb'"client_id":"([0-9a-v]{20})"')
NUMBER = re.compile(rb'"sdp":"number (\d+)"')
LONGEST_NUMBER = 40
"""Bytes within which a match of `NUMBER` fits."""

EMPTY = text_frame("")
PONG = frame(Opcode.PONG)
BLOCK = 16 * 1024
"""Bytes that a flood sends between two of its own honest messages."""


def join(room: str) -> bytes:
    """Return the message with which a client joins a room."""
    return text_frame(message("join", room_id=room))


def block(data: bytes, size: int = BLOCK) -> bytes:
    """Return ``data`` as often as it fits into ``size`` bytes, but at least once."""
    return data * max(1, size // len(data))


class Connection(asyncio.Protocol):
    """A TCP connection, perhaps a WebSocket. Of what it receives it keeps only its id."""

    transport: asyncio.Transport

    def __init__(self, target: "Target") -> None:
        self.target = target
        self.id = ""
        self.said = 0
        """How many numbered offers it has sent to itself."""
        self.heard = 0
        """How many of them have come back, in order and with none left out."""
        self.lost = asyncio.Event()
        self._tail = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._arrived = asyncio.Event()
        self._ours = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        end = 0
        if not self.id:
            if found := ID.search(data):
                self.id = found[1].decode()
                end = found.end()
        elif self.said > self.heard:
            for number in NUMBER.finditer(data):
                end = number.end()
                if int(number[1]) == self.heard:
                    self.heard += 1
                    self.target.heard += 1
                else:
                    self.target.disordered += 1
        # Before the id has come, everything may matter.
        self._tail = data[end:] if not self.id else data[max(end, len(data) - LONGEST_NUMBER) :]
        self._arrived.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ours:
            self.target.closed += 1
        self.lost.set()
        self._writable.set()
        self._arrived.set()

    # What an attack calls

    def write(self, data: bytes) -> None:
        self.transport.write(data)
        self.target.sent += len(data)

    async def send(self, data: bytes) -> None:
        """Send, as fast as the server reads. Raises ConnectionError if the connection is lost."""
        if self.lost.is_set():
            raise ConnectionError("lost")
        self.write(data)
        # Otherwise each would fill its buffer before anything is received.
        await asyncio.sleep(0)
        await self._writable.wait()

    def number(self) -> bytes:
        """Return the next numbered offer to itself."""
        self.said += 1
        sdp = f"number {self.said - 1}"
        return text_frame(message("offer", client_id=self.id, sdp=sdp))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to arrive that makes the condition true, or for the end."""
        while not (condition() or self.lost.is_set()):
            self._arrived.clear()
            await self._arrived.wait()

    async def echo(self) -> None:
        """Wait until everything that it has said has come back."""
        await self.until(lambda: self.heard == self.said)

    async def flood(self, data: bytes) -> None:
        """Send ``data`` over and over until the connection is lost, each time with an own offer."""
        while not self.lost.is_set():
            await self.send(data + self.number())

    def stop_reading(self) -> None:
        self.transport.pause_reading()

    def reset(self) -> None:
        """End the connection with RST."""
        self._ours = True
        sock = self.transport.get_extra_info("socket")
        if not self.lost.is_set():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Target:
    """The server under attack, and the account of the attack."""

    def __init__(self, url: str, begin: Callable[[], Awaitable[None]]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.path = parts.path
        self.netloc = parts.netloc
        self.begin = begin
        """Say that the attack is prepared, and wait until it is to begin."""
        self.sent = 0
        """Bytes."""
        self.opened = 0
        """Connections."""
        self.closed = 0
        """Connections that the server has ended."""
        self.heard = 0
        """Numbered offers of clients to themselves that have come back, each in its place."""
        self.disordered = 0
        """Those that came in another place."""
        self._names = count()

    def room(self) -> str:
        """Return the name of a room that nobody else uses."""
        return f"attack-{next(self._names)}"

    async def open(self, receive_buffer: int | None = None) -> Connection:
        """Open a TCP connection. ``receive_buffer`` is what the kernel takes for it, in bytes."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        _, connection = await loop.create_connection(lambda: Connection(self), sock=sock)
        self.opened += 1
        return connection

    async def websocket(self, receive_buffer: int | None = None, more: bytes = b"") -> Connection:
        """Open a WebSocket and wait for its id. ``more`` is sent with the request."""
        connection = await self.open(receive_buffer)
        connection.write(upgrade_request(self.netloc, self.path) + more)
        await connection.until(lambda: connection.id)
        if not connection.id:
            raise ConnectionError("refused")
        return connection

    async def member(self, room: str = "", receive_buffer: int | None = None) -> Connection:
        """Open a WebSocket that is a member of a room: by default, alone in one."""
        member = await self.websocket(receive_buffer, join(room or self.room()))
        member.write(member.number())
        await member.echo()
        return member

    async def websockets(self, number: int) -> list[Connection]:
        return await together(self.websocket() for _ in range(number))

    async def members(self, number: int, room: str = "") -> list[Connection]:
        return await together(self.member(room) for _ in range(number))


async def together(steps: Iterable[Awaitable[Connection]]) -> list[Connection]:
    """Wait for all, a hundred at a time: the server's backlog of connections is finite."""
    hundred = asyncio.Semaphore(100)

    async def one(step: Awaitable[Connection]) -> Connection:
        async with hundred:
            return await step

    return await asyncio.gather(*map(one, steps))

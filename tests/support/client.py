"""A raw WebSocket client, which sends exactly what it is told to and hides nothing it receives.

Well-behaved clients never break RFC 6455, so they cannot show what a server does when a peer does.
This one masks, fragments, splits and truncates as the test asks, and can stop reading, half-close
and reset its connection. It knows nothing of signaling; :class:`tests.support.peer.Peer` does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self
from urllib.parse import urlsplit

TIME_LIMIT = 10.0
"""How long the server may take for anything due at once, in seconds. Machines may be busy."""

MASK = b"\x01\x02\x03\x04"
KEY = base64.b64encode(b"conformance-test").decode()
ACCEPT = base64.b64encode(
    hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
).decode()

NO_STATUS = 1005
"""Stands for a close frame without a code (RFC 6455, section 7.4.1)."""
ABNORMAL = 1006
"""Stands for the end of the connection without a close frame."""


class Opcode(IntEnum):
    """The type of a frame (RFC 6455, section 11.8)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class ClosedError(Exception):
    """The server has ended the connection while a message was awaited."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class HandshakeError(Exception):
    """The server has answered the upgrade request with something other than 101."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response


@dataclass(frozen=True)
class Frame:
    """A received frame."""

    opcode: Opcode
    payload: bytes
    fin: bool


@dataclass(frozen=True)
class Response:
    """The answer to an HTTP request. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def head(
    opcode: int, length: int, *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK
) -> bytes:
    """Return the header of a frame of ``length`` bytes, up to and including the masking key.

    ``rsv`` has the bits RSV1 (4), RSV2 (2) and RSV3 (1). ``mask=None`` leaves the frame unmasked.
    """
    first = fin << 7 | rsv << 4 | opcode
    masked = 0 if mask is None else 0x80
    if length < 126:
        start = struct.pack("!BB", first, masked | length)
    elif length < 1 << 16:
        start = struct.pack("!BBH", first, masked | 126, length)
    else:
        start = struct.pack("!BBQ", first, masked | 127, length)
    return start + (mask or b"")


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return ``payload`` XORed with the repeated masking key."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(payload), "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
) -> bytes:
    """Return a frame. The arguments are those of :func:`head`."""
    start = head(opcode, len(payload), fin=fin, rsv=rsv, mask=mask)
    return start + (payload if mask is None else masked(payload, mask))


def text_frame(text: str) -> bytes:
    """Return a whole text message as one masked frame."""
    return frame(Opcode.TEXT, text.encode())


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a masked close frame. ``code`` may be one that must not be sent."""
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())


def upgrade_request(host: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a WebSocket handshake. ``headers`` replace usual ones or, if empty, remove them."""
    fields = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    } | dict(headers or {})
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


async def read_response(reader: asyncio.StreamReader, method: str = "GET") -> Response:
    """Read an HTTP response whose body has the length of its Content-Length."""
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(":", 1) for line in lines if line]
    headers = {name.lower(): value.strip() for name, value in pairs}
    status = int(start.split(" ")[1])
    length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
    return Response(status, headers, await reader.readexactly(length))


async def http(url: str, request: bytes, source: str | None = None) -> Response:
    """Send ``request`` to the server at ``url`` on a new connection; return the answer.

    The connection comes from the address ``source``, if that is given.
    """
    async with asyncio.timeout(TIME_LIMIT):
        connection = await Connection.open(url, source=source)
        connection.write(request)
        response = await read_response(connection.reader, request.split(b" ", 1)[0].decode())
        connection.abort()
        return response


class Connection:
    """A TCP connection to the server, before any HTTP."""

    time_limit = TIME_LIMIT
    """How long the next thing may take, in seconds. A test that expects a pause sets its own."""

    def __init__(
        self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.url = url
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(
        cls, url: str, *, receive_buffer: int | None = None, source: str | None = None
    ) -> Self:
        """Connect to the host and port of ``url``, over TLS if that begins with ``wss:``.

        ``receive_buffer`` limits, in bytes, what the kernel takes in for a client that stops
        reading. The connection comes from the address ``source``, if that is given; on Linux, all
        that begin with 127 are there.
        """
        parts = urlsplit(url)
        # asyncio sets TCP_NODELAY only if the protocol is named.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setblocking(False)
        if receive_buffer is not None:
            # It limits the window that TCP advertises only if it is set before connecting.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if source is not None:
                sock.bind((source, 0))
            address = (parts.hostname, parts.port or 80)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        tls: dict[str, Any] = {}
        if parts.scheme == "wss":
            from tests.support.certificates import client_context

            tls = {"ssl": client_context(), "server_hostname": parts.hostname}
        return cls(url, *await asyncio.open_connection(sock=sock, **tls))

    def write(self, data: bytes) -> None:
        """Send bytes unchanged, without waiting for the kernel to take them."""
        self.writer.write(data)

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged, as fast as the server reads."""
        self.writer.write(data)
        async with asyncio.timeout(self.time_limit):
            await self.writer.drain()

    def stop_reading(self) -> None:
        """Leave what the server sends in the kernel, which soon holds up the server."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume_reading(self) -> None:
        """Undo :meth:`stop_reading`."""
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    def half_close(self) -> None:
        """Send FIN, after which only the server can send.

        What was written must have been sent. Over TLS nothing says that the stream ends there.
        """
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            self.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST, like a peer whose process has died."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def abort(self) -> None:
        """Close the socket without sending anything more; do nothing if it is closed."""
        self.writer.transport.abort()

    async def end(self) -> bytes:
        """Return what is left to read when the server has ended the connection."""
        rest = b""
        try:
            async with asyncio.timeout(self.time_limit):
                while data := await self.reader.read(1 << 16):
                    rest += data
        except ConnectionError:
            pass
        return rest


class Client(Connection):
    """A WebSocket connection."""

    response: Response
    """The response with status 101."""
    _close_sent = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        pipelined: bytes = b"",
        receive_buffer: int | None = None,
        source: str | None = None,
        before: bytes = b"",
    ) -> Self:
        """Connect and shake hands.

        ``before`` and ``pipelined`` go out in the same segment as the request, before and after it.
        The other options are those of :meth:`open`. Raises :exc:`HandshakeError`.
        """
        async with asyncio.timeout(TIME_LIMIT):
            client = await cls.open(url, receive_buffer=receive_buffer, source=source)
            parts = urlsplit(url)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            client.write(before + upgrade_request(parts.netloc, path, headers) + pipelined)
            client.response = await read_response(client.reader)
        if client.response.status != 101:
            client.abort()
            raise HandshakeError(client.response)
        return client

    async def send_text(self, text: str) -> None:
        """Send a text message as one frame."""
        await self.send(text_frame(text))

    async def receive_frame(self) -> Frame:
        """Return the next frame of any kind; raise :exc:`ClosedError` (1006) at the end."""
        try:
            async with asyncio.timeout(self.time_limit):
                first, second = await self.reader.readexactly(2)
                if first & 0x70 or second & 0x80:
                    raise AssertionError("the server set RSV bits or masked a frame")
                length = second
                if length == 126:
                    (length,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ClosedError(ABNORMAL, str(error)) from error
        return Frame(Opcode(first & 0x0F), payload, bool(first & 0x80))

    async def receive_text(self) -> str:
        """Return the next text message; answer pings; raise :exc:`ClosedError` at the end.

        The test fails on any frame that a signaling server has no reason to send.
        """
        message = b""
        expected = Opcode.TEXT
        while True:
            received = await self.receive_frame()
            if received.opcode is Opcode.PING:
                self.write(frame(Opcode.PONG, received.payload))
            elif received.opcode is Opcode.CLOSE:
                raise ClosedError(*_parse_close(received.payload))
            elif received.opcode is not expected:
                raise AssertionError(f"expected {expected!r}, got {received}")
            else:
                message += received.payload
                if received.fin:
                    return message.decode()
                expected = Opcode.CONTINUATION

    async def closed(self) -> int:
        """Return the code with which the server closes, after it has closed the socket as well.

        The close must be the next thing received. It is answered as RFC 6455 demands, unless this
        side has closed first. 1005 stands for a close frame without a code, 1006 for no close
        frame.
        """
        try:
            text = await self.receive_text()
        except ClosedError as closed:
            code = closed.code
        else:
            raise AssertionError(f"expected the end of the connection, got {text:.200}")
        if code != ABNORMAL and not self._close_sent:
            self.write(frame(Opcode.CLOSE))
        await self.end()
        self.abort()
        return code

    async def close(self, code: int = 1000, reason: str = "") -> int:
        """Close as a browser does; return the code with which the server answers."""
        self._close_sent = True
        await self.send(close_frame(code, reason))
        return await self.closed()


def _parse_close(payload: bytes) -> tuple[int, str]:
    if not payload:
        return NO_STATUS, ""
    (code,) = struct.unpack("!H", payload[:2])
    return code, payload[2:].decode()

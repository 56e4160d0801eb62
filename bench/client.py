"""Connections of the load generator: an HTTP upgrade and then frames, on an asyncio transport."""

from __future__ import annotations

import asyncio
import base64
import json
from ssl import SSLContext
from typing import cast

from bench import frames

_REQUEST = (
    "GET /connect HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class StepFailed(Exception):
    """A handshake, join or close has failed. The message says which, and why."""


def ignore(data: bytes, start: int, end: int) -> None:
    """Ignore a message."""


def client_id_in(message: bytes) -> str | None:
    """Return the id in a `notify-client-id` message; None for any other message.

    The payload may also be a base64 string, as the protocol's ancestor sends it.
    """
    value = json.loads(message)
    if value.get("type") != "notify-client-id":
        return None
    payload = value["payload"]
    if isinstance(payload, str):
        payload = json.loads(base64.b64decode(payload))
    return cast(str, payload["client_id"])


class Client(asyncio.Protocol):
    """One WebSocket connection.

    After `join`, set `receive` to be called with every message as (data, start, end). Pings are
    answered. Reading and writing never wait: the transport keeps what the kernel does not take, so
    a scenario must limit how much it has under way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        """Prepare for `loop.create_connection`; `timeout` bounds each step, in seconds."""
        self._loop = loop
        self._timeout = timeout
        self._waiter: asyncio.Future[str] | None = None
        self._head: bytes | None = b""
        self._reader = frames.FrameReader(self._on_setup_message, self._on_ping, self._on_close)
        self._closed_by_server = False
        self._leaving = False
        self._transport: asyncio.Transport
        self.receive_other: frames.Receive = ignore
        """Receives the messages that nobody else wants, and after `join` all messages."""
        self.id = ""
        self.connected = False
        self.dropped = False
        """Whether the connection ended although this client did not leave."""

    # Steps
    # -------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls, host: str, port: int, timeout: float, tls: SSLContext | None = None, token: str = ""
    ) -> Client:
        """Connect, upgrade and wait for the client id; raise StepFailed if that fails."""
        loop = asyncio.get_running_loop()
        client = cls(loop, timeout)
        try:
            await loop.create_connection(lambda: client, host, port, ssl=tls)
        except OSError as error:
            raise StepFailed(f"connect: {error.strerror or error}") from error
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        more = f"Authorization: Bearer {token}\r\n" if token else ""
        client.write(_REQUEST.format(host=authority, more=more).encode())
        client.id = await client._wait("handshake")
        return client

    async def join(self, room: str) -> None:
        """Join `room` and wait until the server has done it.

        The server does not acknowledge a join. So the client sends itself an offer, which comes
        back once the join is done. Other messages that come until then are ignored.
        """
        self.receive = self._on_setup_message
        probe = frames.frame(frames.description("offer", self.id, 0))
        self.write(frames.join(room) + probe)
        await self._wait("join")

    async def leave(self) -> None:
        """Close with 1000 and wait for the server's close frame or the end of the connection.

        Raises StepFailed if neither comes in time. The connection is closed all the same.
        """
        if not self.connected:
            return
        self._leaving = True
        self.write(frames.close_frame())
        try:
            if not self._closed_by_server:
                await self._wait("close")
        finally:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self._leaving = True
        if self.connected:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Send bytes that are frames already; do nothing if the connection has ended."""
        if self.connected:
            self._transport.write(data)

    @property
    def receive(self) -> frames.Receive:
        """The function that is called with each message."""
        return self._reader.receive

    @receive.setter
    def receive(self, receive: frames.Receive) -> None:
        self._reader.receive = receive

    async def _wait(self, step: str) -> str:
        waiter: asyncio.Future[str] = self._loop.create_future()
        self._waiter = waiter
        if not self.connected:
            raise StepFailed(f"{step}: the connection has ended")
        timer = self._loop.call_later(
            self._timeout, self._fail, f"no answer in {self._timeout:g} s"
        )
        try:
            return await waiter
        except StepFailed as error:
            raise StepFailed(f"{step}: {error}") from None
        finally:
            timer.cancel()
            self._waiter = None

    def _done(self, value: str = "") -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(value)

    def _fail(self, reason: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(StepFailed(reason))

    # asyncio.Protocol
    # --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.connected = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the step that is waited for: `leave` has succeeded, any other has failed."""
        self.connected = False
        if self._leaving:
            self._done()
        else:
            self.dropped = True
            self._fail("the server ended the connection")

    def data_received(self, data: bytes) -> None:
        """Read the answer to the upgrade, and after that frames."""
        if self._head is not None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = None
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self._fail(head.partition(b"\r\n")[0].decode("latin-1"))
                self._transport.abort()
                return
        try:
            self._reader.feed(data)
        except frames.ProtocolError as error:
            self._fail(str(error))
            self._transport.abort()

    # Frames
    # ------------------------------------------------------------------------------------------

    def _on_setup_message(self, data: bytes, start: int, end: int) -> None:
        if not self.id:
            client_id = client_id_in(data[start:end])
            if client_id is not None:
                # The awaiting task would be too late: it may run after the next message.
                self.id = client_id
                self._done(client_id)
        elif frames.number_in(data, start, end) >= 0:
            self.receive = self.receive_other
            self._done()

    def _on_ping(self, payload: bytes) -> None:
        self.write(frames.pong_frame(payload))

    def _on_close(self, payload: bytes) -> None:
        self._closed_by_server = True
        if self._leaving:
            self._done()
        else:
            self.write(frames.frame(payload, 8))
            self._transport.close()

"""TLS on the connections of a Listener."""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.support.certificates import authority, client_context
from tests.support.client import (
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
from transport import line
from transport.fallback import StreamProtocol
from transport.frames import Close, Ping
from transport.line import AT_ONCE
from transport.protocol import LoopProtocol
from transport.tls import MAX_BARREN, RECORDS, Session

PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = upgrade_request("x", "/echo")


def new_context() -> ssl.SSLContext:
    """Return a context that trusts the server, to be changed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def hold(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the server's line."""
    monkeypatch.setattr(line, "AT_ONCE", 0)
    server.listener.line._free = 0


def go(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the line go on."""
    monkeypatch.setattr(line, "AT_ONCE", AT_ONCE)
    server.listener.line._next_iteration()


class Raw:
    """A TLS client whose records go out as the test wants them, on a connection without TLS."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        self.connection = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    @classmethod
    async def open(
        cls, server: Served, context: ssl.SSLContext | None = None, **options: Any
    ) -> Self:
        """Connect, and send nothing yet."""
        return cls(await server.plain(**options), context or client_context())

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

    def send(self, data: bytes) -> None:
        """Send data, without waiting for the kernel to take it."""
        self.connection.write(self.records(data))

    def records(self, *pieces: bytes) -> bytes:
        """Return a record for each piece of data."""
        for piece in pieces:
            written = 0
            while written < len(piece):
                written += self._ssl.write(piece[written:])
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


class Sealed:
    """Seals the records of a client of TLS 1.3 (RFC 8446, 5.2), which `ssl` would not send.

    The client has written its secrets to a file, and sent nothing since its handshake.
    """

    def __init__(self, log: Path) -> None:
        lines = dict(line.split()[::2] for line in log.read_text().splitlines() if line[0] != "#")
        self._use(bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]))

    def record(self, data: bytes, kind: int = 23) -> bytes:
        head = b"\x17\x03\x03" + struct.pack("!H", len(data) + 17)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, data + bytes([kind]), head)

    def key_update(self, *, is_answered: bool) -> bytes:
        """Return what says that the next record has another key (RFC 8446, 4.6.3)."""
        sealed = self.record(b"\x18\0\0\1" + bytes([is_answered]), kind=22)
        self._use(self._derive(b"traffic upd", 48))
        return sealed

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(self._derive(b"key", 32))
        self._iv = int.from_bytes(self._derive(b"iv", 12), "big")
        self._number = 0

    def _derive(self, label: bytes, size: int) -> bytes:
        info = struct.pack("!HB", size, len(label) + 6) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)


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


async def test_the_server_closes_and_aborts() -> None:
    async with served(tls=True) as server:
        client, handler = await server.pair()
        handler.close(1001, "bye")
        assert await client.closed() == 1001
        await handler.is_closed()

        client, handler = await server.pair()
        await client.send(text_frame("half")[:-1])
        handler.ws_connection.abort()
        await handler.is_closed()
        assert await client.end() == b""


@pytest.mark.parametrize("upgrades", [True, False])
async def test_the_end_is_said(upgrades: bool) -> None:
    """A client can tell the end of the stream from a cut (close_notify, RFC 8446, section 6.1)."""
    async with served(tls=True, upgrades=upgrades) as server:
        for refused in (False, True):
            client = await Raw.open(server)
            await client.shake_hands(UPGRADE)
            assert b" 101 " in await client.read()
            handler = await server.handler()
            if refused:
                client.send(frame(3))
            else:
                client.send(close_frame(1000))
            assert (await client.rest())[:1] == b"\x88" or (refused and not upgrades)
            await handler.is_closed()

        client = await Raw.open(server)
        await client.shake_hands(PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await client.rest()).endswith(b"\r\n\r\na page\n")

        client = await Raw.open(server)
        await client.shake_hands(b"GET\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("upgrades", [True, False])
async def test_pages_and_a_websocket_on_one_connection(upgrades: bool) -> None:
    """A connection goes to the HTTP server, and comes back from it with what it is to upgrade."""
    async with served(tls=True, upgrades=upgrades) as server:
        client = await Raw.open(server)
        await client.shake_hands()
        for _ in range(2):
            client.send(PAGE)
            assert (await client.read()).endswith(b"\r\n\r\na page\n")
        client.send(UPGRADE + text_frame("early"))
        assert b" 101 " in await client.read()
        assert await client.read() == b"\x81\x05early"
        handler = await server.handler()
        kind = LoopProtocol if upgrades else StreamProtocol
        assert isinstance(handler.ws_connection, kind)
        assert handler.request.protocol == "https"
        much = b"x" * 70_000
        client.send(frame(Opcode.BINARY, much))
        received = b""
        while len(received) < len(much) + 10:
            received += await client.read()
        assert received[10:] == much
        client.connection.abort()
        await handler.is_closed()


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_request_that_comes_with_the_end_of_the_handshake(
    version: ssl.TLSVersion, upgrades: bool
) -> None:
    """What TLS has yet to send then goes out before the answer."""
    context = new_context()
    context.minimum_version = context.maximum_version = version
    async with served(tls=True, upgrades=upgrades) as server:
        client = await Raw.open(server, context)
        await client.shake_hands(PAGE)
        assert (await client.read()).endswith(b"\r\n\r\na page\n")
        client = await Raw.open(server, context)
        await client.shake_hands(UPGRADE + text_frame("early"))
        assert b" 101 " in await client.read()
        assert await client.read() == b"\x81\x05early"
        client.connection.abort()
        await (await server.handler()).is_closed()


async def test_a_handshake_in_small_pieces() -> None:
    async with served(tls=True) as server:
        client = await Raw.open(server)
        hello = client.hello()
        for place in range(0, len(hello), 20):
            client.connection.write(hello[place : place + 20])
            for _ in range(3):
                await asyncio.sleep(0)  # The event loop reads this piece before the next.
        await client.shake_hands(PAGE)
        assert (await client.read()).endswith(b"\r\n\r\na page\n")


async def test_plain_http_is_told_so() -> None:
    async with served(tls=True) as server:
        client, handler = await server.pair()
        for sent in (PAGE, UPGRADE, b"G", b"OPTIONS * HTTP/1.1\r\n"):
            other = await server.plain()
            other.write(sent)
            response = await read_response(other.reader)
            assert response.status == 400
            assert response.body == b"400 Bad Request: plain HTTP on a port for HTTPS\n"
            assert await other.end() == b""
            other.abort()
        await client.send_text("undisturbed")
        assert await client.receive_text() == "undisturbed"
        await until(lambda: not server.listener.arriving)
        assert handler.seen == ["undisturbed"]


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(100),
        b"\x16\x03\x01\x00\x05hello",
        b"\x16" + b"\xff" * 10_000,
        b"\x16\x03\x01\x40\x00" + bytes(20_000),
    ],
    ids=["ssh", "zeros", "hello", "ones", "long"],
)
async def test_what_is_no_handshake_is_dropped(sent: bytes) -> None:
    """It disturbs nobody."""
    async with served(tls=True) as server:
        client, handler = await server.pair()
        other = await server.plain()
        other.write(sent)
        assert len(await other.end()) < 10  # An alert is seven bytes.
        await client.send_text("undisturbed")
        assert await client.receive_text() == "undisturbed"
        await until(lambda: not server.listener.arriving)
        assert not server.listener.newcomers
        assert handler.seen == ["undisturbed"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_a_version_that_is_too_old() -> None:
    """TLS 1.1 is refused with the alert for that (RFC 8446, appendix D.5)."""
    context = new_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with served(tls=True) as server:
        client = await Raw.open(server, context)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await client.shake_hands()


@pytest.mark.parametrize("part", [0, 1, 100, None])
async def test_a_slow_handshake_is_dropped(part: int | None) -> None:
    """It has as long as the first request: both together may take `handshake_timeout`."""
    async with served(tls=True, handshake_timeout=0.2) as server:
        client = await Raw.open(server)
        if part is None:
            await client.shake_hands()
        else:
            client.connection.write(client.hello()[:part])
        await client.connection.end()
        assert not server.listener.arriving
        assert not server.listener.newcomers


async def test_handshakes_wait_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes as long as a request or two, so few are made in one iteration."""
    sessions = set[Session]()
    shake_hands = Session.shake_hands

    def counted(session: Session) -> bool:
        sessions.add(session)
        return shake_hands(session)

    monkeypatch.setattr(Session, "shake_hands", counted)
    async with served(tls=True) as server:
        hold(server, monkeypatch)
        clients = [await Raw.open(server) for _ in range(5)]
        for client in clients:
            client.connection.write(client.hello())
        await until(lambda: len(server.listener.line) == 5)
        clients.pop().connection.reset()
        await asyncio.sleep(0)
        go(server, monkeypatch)
        for client in clients:
            await client.shake_hands(PAGE)
            assert (await client.read()).endswith(b"\r\n\r\na page\n")
        await until(lambda: not server.listener.arriving)
    assert len(sessions) == 4  # None was made with the client that was gone.


async def test_the_end_waits_for_the_turn_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may say goodbye behind its request, and still read the answer."""
    async with served(tls=True) as server:
        client = await Raw.open(server)
        await client.shake_hands()
        await until(lambda: next(iter(server.listener.arriving))._transport._is_open)  # type: ignore[attr-defined]
        hold(server, monkeypatch)
        client.connection.write(client.records(PAGE) + client.goodbye())
        await until(lambda: len(server.listener.line) == 1)
        go(server, monkeypatch)
        assert (await client.rest()).endswith(b"\r\n\r\na page\n")


@pytest.mark.parametrize("behind", [0, 1000])
@pytest.mark.parametrize("upgrades", [True, False])
async def test_a_broken_record_ends_the_connection(upgrades: bool, behind: int) -> None:
    """The client is told why with an alert, the handler what came before, and nobody else."""
    async with served(Recorder, tls=True, upgrades=upgrades) as server:
        other = await Raw.open(server)
        await other.shake_hands(UPGRADE)
        await other.read()
        undisturbed = await server.handler()
        client = await Raw.open(server)
        await client.shake_hands(UPGRADE)
        await client.read()
        handler = await server.handler()
        client.send(text_frame("before"))
        client.connection.write(b"\x17\x03\x03\x00\x20" + bytes(32) + bytes(behind))
        if upgrades:
            with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
                await client.rest()
        await handler.is_closed()
        assert handler.seen == ["before", Close(None, None)]
        other.send(text_frame("after"))
        await until(lambda: undisturbed.seen == ["after"])
        other.connection.abort()
        await undisturbed.is_closed()


async def test_nothing_is_kept_of_what_comes_behind_the_end() -> None:
    """However much it is, while the handler is busy and the connection cannot close yet."""
    async with served(Busy, tls=True) as server:
        client = await Raw.open(server)
        await client.shake_hands(UPGRADE)
        await client.read()
        handler = await server.handler()
        client.send(text_frame("before"))
        await until(lambda: bool(handler.seen))
        transport = handler.ws_connection._transport
        client.connection.write(client.goodbye())
        await until(lambda: transport._session.ended)
        await client.connection.send(bytes(1_000_000))
        assert len(transport._session._unread) + transport._session._incoming.pending < 10_000
        handler.go.set()
        await handler.is_closed()


async def test_many_short_records() -> None:
    """All of them arrive in order, and others are served in between."""
    number = 20 * RECORDS
    async with served(Recorder, tls=True) as server:
        client = await Raw.open(server)
        await client.shake_hands(UPGRADE)
        await client.read()
        handler = await server.handler()
        frames = b"".join(text_frame(str(count)) for count in range(number))
        sent = client.records(*(frames[place : place + 1] for place in range(len(frames))))
        client.connection.write(sent + client.goodbye())
        steps = 0
        while len(handler.seen) < number:
            await asyncio.sleep(0)
            steps += 1
        assert steps > len(frames) / RECORDS / 2
        await handler.is_closed()
        assert handler.seen == [*map(str, range(number)), Close(None, None)]


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("barren", ["empty", "new key", "new keys"])
async def test_a_peer_that_sends_many_records_without_data_is_given_up(
    barren: str, upgrades: bool, tmp_path: Path
) -> None:
    """However fast they come: a new key takes 50 times as long as data. Some are permitted."""
    context = new_context()
    context.keylog_filename = str(tmp_path / "log")
    async with served(Recorder, tls=True, upgrades=upgrades) as server:
        client = await Raw.open(server, context)
        await client.shake_hands()
        sealed = Sealed(tmp_path / "log")

        def send(number: int, data: bytes) -> None:
            """Send records without data, and behind each of them one with this."""
            client.connection.write(
                b"".join(
                    (
                        sealed.record(b"")
                        if barren == "empty"
                        else sealed.key_update(is_answered=barren == "new keys")
                    )
                    + (sealed.record(data) if data else b"")
                    for _ in range(number)
                )
            )

        client.connection.write(sealed.record(UPGRADE))
        assert b" 101 " in await client.read()
        handler = await server.handler()
        few = MAX_BARREN // 2
        send(few, text_frame("x"))
        send(MAX_BARREN - few, b"")
        client.connection.write(sealed.record(text_frame("y")))
        await until(lambda: handler.seen == [*"x" * few, "y"])
        send(10_000, b"")
        await handler.is_closed()
        assert handler.seen[few + 1 :] == [Close(None, None)]
        client.connection.abort()


async def test_a_busy_handler_stops_the_peer() -> None:
    """What has come already is kept, with the end after it; the rest stays with the peer."""
    message = "x" * 65000
    async with served(Busy, tls=True, buffer=SMALL_BUFFER) as server:
        client = await Raw.open(server)
        await client.shake_hands(UPGRADE)
        await client.read()
        handler = await server.handler()
        for count in range(100):
            client.send(text_frame(f"{count} {message}"))
        client.connection.write(client.goodbye())
        await until(lambda: bool(handler.seen))
        await asyncio.sleep(0.05)  # It has time to read more, and must not.
        assert client.connection.writer.transport.get_write_buffer_size() > 2_000_000
        assert len(handler.seen) == 1
        handler.go.set()
        await handler.is_closed()
        seen = [entry.partition("'")[2].partition(" ")[0] for entry in handler.seen[:-1]]
        assert seen == [str(count) for count in range(100) for _ in range(2)]


async def test_what_was_written_before_the_peer_ended_is_sent() -> None:
    async with served(Recorder, tls=True, buffer=SMALL_BUFFER) as server:
        client = await Raw.open(server, receive_buffer=4096)
        await client.shake_hands(UPGRADE)
        await client.read()
        handler = await server.handler()
        handler.write_message(b"x" * 1_000_000, binary=True)
        client.connection.write(client.goodbye())
        received = await client.rest()
        assert received == b"\x82\x7f" + struct.pack("!Q", 1_000_000) + b"x" * 1_000_000
        await handler.is_closed()


@pytest.mark.parametrize("upgrades", [True, pytest.param(False, marks=pytest.mark.thorough)])
async def test_a_client_that_reads_an_answer_slowly_gets_all_of_it(upgrades: bool) -> None:
    """One that does not read is given up."""
    size, timeout = 500_000, 0.2
    body = (
        PAGE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % size)
        + b"x" * size
    )
    async with served(
        tls=True, upgrades=upgrades, handshake_timeout=timeout, buffer=SMALL_BUFFER
    ) as server:
        client = await Raw.open(server, receive_buffer=4096)
        await client.shake_hands()
        client.connection.stop_reading()
        client.send(body)
        received = b""
        while len(received) < size:
            await asyncio.sleep(timeout / 20)
            client.connection.resume_reading()
            received += await client.read()
            client.connection.stop_reading()
        assert received.endswith(b"\r\n\r\n" + b"x" * size)

        client = await Raw.open(server, receive_buffer=4096)
        await client.shake_hands()
        client.connection.stop_reading()
        client.send(body)
        await until(lambda: not server.http_server._connections)

"""TLS on the connections that a `Listener` accepts.

The event loop could do it (`ssl=` in `create_server`), for the same time and twice the memory. But
then nobody knows of a connection before its handshake is over: it does not count when files become
scarce, its handshake does not wait in line though it takes longer than a request, and a client that
does not speak TLS is not told so. And Tornado's `HTTPServer` needs a socket, which such a
connection cannot be made into. Here the TLS of a connection is a `Session`, which can be moved: it
is in a `TLSTransport` while the event loop reads, and in a `TLSSocket` when the HTTP server does.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError
from typing import Any, Final, Protocol, cast

from transport.line import Line, is_reset

HANDSHAKE: Final = 22
"""The first byte that a TLS client sends: the type of a handshake record (RFC 8446, 5.1)."""

HEADER: Final = 5
"""Bytes before a record: its type, its version and, in two bytes, the length of what follows."""

DATA: Final = 16 * 1024
"""Bytes of data that a record has at most."""

RECORDS: Final = 32
"""Records that are read before others are served: each takes a few µs, however short it is."""

MAX_BARREN: Final = 31
"""Records without data that a peer may send after its handshake. They tell it to use new keys,
which takes 25 to 50 µs; nobody needs that before millions of records. Or they are empty, or ask
for a new handshake (TLS 1.2). Fewer than `RECORDS`, so that a read without data has read all."""

PIECE: Final = 8 * 1024
"""Bytes that are read or written at once. OpenSSL's buffers keep the most that was ever in them, so
with more, a connection that has relayed one long message would have its length in memory."""

SOCKET_PIECE: Final = 32 * 1024
"""The same for the HTTP server, whose connections do not stay as long. With the rest of a record,
it fits into the 64 KiB that Tornado reads at once."""


class Session:
    """The TLS of one connection, from bytes to bytes."""

    __slots__ = ("_barren", "_incoming", "_left", "_outgoing", "_ssl", "_unread", "ended")

    def __init__(self, context: SSLContext) -> None:
        self._unread = bytearray()
        """What has come and OpenSSL was not given yet."""
        self._left = 0
        """Bytes of that, or still to come, that belong to a record of which it was given a part."""
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._barren = 0
        """Records without data that have come after the handshake."""
        self.ended = False
        """Whether nothing more can be read: the peer has said so, or has broken the protocol."""

    def receive(self, data: memoryview | bytes) -> None:
        """Take what has come, for `shake_hands` or `read`."""
        self._unread += data

    def _take_record(self) -> None:
        """Give OpenSSL a record, or what there is of it.

        It would read one after the other until it finds data.
        """
        unread = self._unread
        if not self._left:
            self._left = HEADER + (unread[HEADER - 2] << 8 | unread[HEADER - 1])
        taken = unread[: self._left]
        del unread[: self._left]
        self._left -= len(taken)
        self._incoming.write(taken)

    def shake_hands(self) -> bool:
        """Go on with the handshake, and return whether it is over. Raises SSLError if it failed.

        If it is not over, it may be that `has_unread`.
        """
        for _ in range(RECORDS):
            if not self.has_unread:
                break
            self._take_record()
            with suppress(SSLWantReadError):
                self._ssl.do_handshake()
                return True
        return False

    def read(self) -> bytes:
        """Return the data of some records; nothing if no more has come, or none will."""
        pieces: list[bytes] = []
        for _ in range(RECORDS):
            if self.ended or not self.has_unread:
                break
            self._take_record()
            try:
                piece = self._ssl.read(DATA)
            except SSLWantReadError:
                if not self._left:
                    self._barren += 1
                    self.ended = self._barren > MAX_BARREN
            except SSLError:
                self.ended = True
            else:
                pieces.append(piece)
                self.ended = not piece
        return b"".join(pieces)

    @property
    def has_unread(self) -> bool:
        """Whether there is more for `read` or `shake_hands` now."""
        return len(self._unread) >= (1 if self._left else HEADER)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has to be read or sent, and there may be more to come."""
        return not (self.has_unread or self._outgoing.pending or self.ended)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return what to send for some data, and before that what TLS itself has to send."""
        try:
            if len(data) <= PIECE:
                self._ssl.write(data)
                return self._outgoing.read()
            encrypted = bytearray()
            for start in range(0, len(data), PIECE):
                self._ssl.write(memoryview(data)[start : start + PIECE])
                encrypted += self._outgoing.read()
            return bytes(encrypted)
        except SSLError:  # The peer has broken the protocol, or we have said goodbye.
            return b""

    def unsent(self) -> bytes:
        """Return what TLS itself has to send."""
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return what to send at the end, which shows the peer that nothing is missing."""
        with suppress(SSLError):  # The peer has yet to say the same, or has broken the protocol.
            self._ssl.unwrap()
        return self._outgoing.read()


class Newcomer(Protocol):
    """The protocol of a connection whose handshake is not over."""

    def not_tls(self, transport: asyncio.Transport, data: bytes) -> None:
        """Refuse a client that does not speak TLS, in its place on the transport below."""


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A connection over TLS: to its protocol a transport, to the transport below a protocol.

    The protocol is told at once that there is a connection, and receives data after the handshake.
    Whatever ends the peer's data is the end of its stream, also an error.
    """

    __slots__ = (
        "_buffer",
        "_discards",
        "_is_behind",
        "_is_open",
        "_is_tls",
        "_line",
        "_lower",
        "_paused",
        "_protocol",
        "_scheduled",
        "_session",
        "_told_of_end",
    )

    def __init__(
        self,
        session: Session,
        protocol: asyncio.Protocol,
        line: Line,
        buffer: memoryview,
        *,
        is_open: bool = False,
    ) -> None:
        """Read into `buffer`, which all connections of an event loop share.

        The handshake is made now, in its turn, unless the session `is_open` already.
        """
        self._session = session
        self._protocol = protocol
        self._line = line
        self._buffer = buffer
        self._is_tls = False
        """Whether the first byte has shown it."""
        self._is_open = is_open
        """Whether the handshake is over."""
        self._paused = False
        self._scheduled = False
        self._is_behind = False
        """Whether the transport below has yet to send what it was given."""
        self._discards = False
        """Whether what comes does not matter any more."""
        self._told_of_end = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lower = cast(asyncio.Transport, transport)
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_open:
            if not (self._discards or self._session.ended):
                self._session.receive(self._buffer[:nbytes])
                self._read()
        else:
            self._receive_handshake(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        self._session.ended = True
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.leave(self)
        self._protocol.connection_lost(exc)
        del self._protocol  # It knows this one too.

    def pause_writing(self) -> None:
        self._is_behind = True
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._is_behind = False
        self._protocol.resume_writing()

    # The handshake

    def _receive_handshake(self, data: memoryview) -> None:
        # Nothing more is read until this has been looked at.
        self._lower.pause_reading()
        if not self._is_tls and data[0] != HANDSHAKE:
            self._lower.set_protocol(self._protocol)
            cast(Newcomer, self._protocol).not_tls(self._lower, bytes(data))
            return
        self._is_tls = True
        self._session.receive(data)
        self._line.enter(self, self._shake_hands)

    def _shake_hands(self) -> None:
        if is_reset(self._lower):
            self._lower.abort()
            return
        try:
            self._is_open = self._session.shake_hands()
        except SSLError:
            self._write(self._session.unsent())  # An alert, which says why.
            self._lower.close()
            return
        if self._is_open:
            self._read_on()
            return
        self._write(self._session.unsent())
        if self._session.has_unread:
            self._line.enter(self, self._shake_hands)
        else:
            self._lower.resume_reading()

    # Reading

    def _read(self) -> None:
        """Pass on what has come. What TLS has to send comes after what the protocol sends."""
        session = self._session
        data = session.read()
        if data:
            self._protocol.data_received(data)
        if session.is_quiet or self._lower.is_closing():
            return
        if not self._is_behind:
            self._write(session.unsent())
        if session.ended:
            self._end()
        elif session.has_unread:
            self._lower.pause_reading()
            self._read_later()

    def _read_later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._scheduled = False
        if self._paused or self._lower.is_closing():
            return
        if not self._discards:
            self._read()
        if not (self._paused or self._scheduled or self._lower.is_closing()):
            self._lower.resume_reading()

    def _end(self) -> None:
        """Tell that the peer sends nothing more, unless that has to wait for `resume_reading`."""
        if not (self._paused or self._told_of_end):
            self._told_of_end = True
            if not self._protocol.eof_received():
                self.close()

    def pause_reading(self) -> None:
        self._paused = True
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._session.is_quiet:
            self._lower.resume_reading()
        else:
            self._read_later()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._lower.write(self._session.encrypt(data))

    def _write(self, data: bytes) -> None:
        if data:
            self._lower.write(data)

    def get_write_buffer_size(self) -> int:
        return self._lower.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._lower.set_write_buffer_limits(high, low)

    # The end

    def is_closing(self) -> bool:
        return self._lower.is_closing()

    def write_eof(self) -> None:
        """Send nothing more. What still comes is discarded, up to the end of the stream."""
        self._say_goodbye()
        self._lower.write_eof()

    def close(self) -> None:
        self._say_goodbye()
        self._lower.close()

    def _say_goodbye(self) -> None:
        if self._is_open and not self._discards:
            self._discards = True
            self._write(self._session.goodbye())

    def abort(self) -> None:
        self._line.leave(self)
        self._lower.abort()

    # Anything else

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._lower.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    @property
    def session(self) -> Session:
        return self._session


class TLSSocket(socket.socket):
    """A non-blocking socket over TLS, as far as Tornado's stream uses one."""

    _session: Session | None
    """None when another has it."""

    def __init__(self, fd: int, session: Session) -> None:
        super().__init__(fileno=fd)
        self._session = session
        self._unsent = b""
        self._taken = 0
        """Bytes of data of which that is the rest."""

    def release(self) -> Session:
        """Give the session away. What remains is a plain socket."""
        session, self._session = self._session, None
        if session is None or self._unsent:
            raise OSError("the session cannot be moved")
        return session

    def dup(self) -> "TLSSocket":
        """Return another socket for the connection, which from now on this one is not for."""
        sock = TLSSocket(os.dup(self.fileno()), self.release())
        sock.setblocking(False)
        return sock

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer, which must have room for 64 KiB."""
        session = self._session
        if session is None:
            return super().recv_into(buffer, nbytes, flags)
        while not (data := session.read()):
            if session.ended:
                return 0
            received = super().recv(SOCKET_PIECE)
            if not received:
                return 0
            session.receive(received)
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send the beginning of some data, and return how much that was.

        Raises BlockingIOError while it is under way; then this has to be called with the same data.
        """
        if self._session is None:
            return super().send(data, flags)
        if not self._unsent:
            piece = memoryview(data)[:SOCKET_PIECE]
            self._unsent = self._session.encrypt(piece)
            if not self._unsent:
                raise BrokenPipeError
            self._taken = len(piece)
        self._unsent = self._unsent[super().send(self._unsent, flags) :]
        if self._unsent:
            raise BlockingIOError
        return self._taken

    def close(self) -> None:
        if self._session is not None and not self._unsent:
            with suppress(OSError):
                super().send(self._session.goodbye())
        super().close()


class TLS:
    """What a `Listener` needs to speak TLS."""

    def __init__(self, context: Callable[[], SSLContext]) -> None:
        """Each connection has the context that this returns when it is accepted."""
        self._context = context
        self._buffer = memoryview(bytearray(PIECE))

    def accept(self, protocol: asyncio.Protocol, line: Line) -> TLSTransport:
        """Return the protocol of a new connection, with `protocol` above it."""
        return TLSTransport(Session(self._context()), protocol, line, self._buffer)

    def pass_on(self, transport: TLSTransport, fd: int) -> TLSSocket:
        """Return a socket for a connection whose transport is given up."""
        return TLSSocket(fd, transport.session)

    def take_back(self, sock: TLSSocket, protocol: asyncio.Protocol, line: Line) -> TLSTransport:
        """Return the protocol of a connection that was passed on. `sock` is plain then."""
        return TLSTransport(sock.release(), protocol, line, self._buffer, is_open=True)

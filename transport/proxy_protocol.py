"""The PROXY protocol, version 2: a header in which a proxy says whose connection it passes on.

It stands before anything else on the connection, in binary, and is described in HAProxy's
`doc/proxy-protocol.txt`. Version 1, which is text, is not read.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from struct import unpack_from
from typing import Any, cast

logger = logging.getLogger(__name__)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

START = 16
"""Bytes that every header begins with: the signature, the command, the kind of the addresses and,
in two bytes, the length of the rest."""

MAX_REST = 4096
"""Bytes of the rest. Addresses have 216 at most; some proxies add what they know of TLS."""

LOCAL, PROXY = 0x20, 0x21
"""The commands. A local connection is the proxy's own: it looks whether the server is well."""

TCP4, TCP6 = 0x11, 0x21
"""The kinds of addresses that a client can have here: those of both ends, then both ports."""


def header_size(received: bytes | bytearray) -> int | None:
    """Return the bytes of the header that begins like this; 0 if it is none, None if unknown yet.

    Raises ValueError if the header is invalid.
    """
    if not SIGNATURE.startswith(received[: len(SIGNATURE)]):
        return 0
    if len(received) < START:
        return None
    command, kind, rest = unpack_from("!BBH", received, len(SIGNATURE))
    if command not in (LOCAL, PROXY) or kind >> 4 > 3 or kind & 0xF > 2:
        raise ValueError("unknown command or addresses")
    least = {TCP4: 12, TCP6: 36}.get(kind, 0) if command == PROXY else 0
    if not least <= rest <= MAX_REST:
        raise ValueError("too short or too long")
    return START + int(rest)


def source(header: bytes | bytearray) -> tuple[str, int] | None:
    """Return the address and port of the client; None if the header does not tell.

    That is so for a local connection, and if the client did not come over TCP.
    """
    command, kind = header[12:14]
    if command == PROXY and kind == TCP4:
        return socket.inet_ntop(socket.AF_INET, header[16:20]), unpack_from("!H", header, 24)[0]
    if command == PROXY and kind == TCP6:
        return socket.inet_ntop(socket.AF_INET6, header[16:32]), unpack_from("!H", header, 48)[0]
    return None


class HeaderProtocol(asyncio.Protocol):
    """Reads the header of a connection that a trusted proxy makes, and then gives it to another.

    A trusted proxy need not send a header: one that speaks HTTP tells the client's address in
    X-Forwarded-For, and begins with a request of its own, in which no client can put a header. What
    others send is not looked at, so that theirs is no request.
    """

    def __init__(
        self,
        trusts: Callable[[str], bool],
        protocol: asyncio.BaseProtocol,
        comes_from: Callable[[tuple[str, int]], object],
    ) -> None:
        """`trusts` returns whether a proxy with that address is trusted.

        `protocol` has the connection from the beginning, and receives what comes after the header;
        before that, `comes_from` is told the client's address and port.
        """
        self._trusts = trusts
        self._protocol = protocol
        self._comes_from = comes_from
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._protocol.connection_made(transport)
        peer: Any = transport.get_extra_info("peername")
        if not (isinstance(peer, tuple) and self._trusts(peer[0])):
            self._transport.set_protocol(self._protocol)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            size = header_size(self._received)
        except ValueError as error:
            peer = self._transport.get_extra_info("peername")
            logger.warning("a header of the PROXY protocol from %s is invalid: %s", peer, error)
            self._transport.abort()
            return
        if size is None or size > len(self._received):
            return
        peer = source(self._received[:size]) if size else None
        if peer is not None:
            self._comes_from(peer)
        self._transport.set_protocol(self._protocol)
        self._hand_over(bytes(self._received[size:]))

    def _hand_over(self, data: bytes) -> None:
        """Pass on data, in pieces to a protocol with a buffer, which may give way to another."""
        while data:
            protocol = self._transport.get_protocol()
            if not isinstance(protocol, asyncio.BufferedProtocol):
                cast(asyncio.Protocol, protocol).data_received(data)
                return
            buffer = memoryview(protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

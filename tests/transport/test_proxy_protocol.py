"""The header is read before anything else, and then the connection is another protocol's.

`tests/edge/test_proxies.py` has what the header may say.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.support.client import read_response, text_frame, upgrade_request
from tests.transport.served import Served, served
from transport.proxy_protocol import SIGNATURE, HeaderProtocol

HEADER = (
    SIGNATURE + b"\x21\x11\x00\x0c" + bytes((203, 0, 113, 7, 203, 0, 113, 1)) + b"\x12\x67\x01\xbb"
)
ADDRESS = ("203.0.113.7", 4711)


@asynccontextmanager
async def behind_a_proxy(trusted: bool) -> AsyncIterator[Served]:
    read_first = partial(HeaderProtocol, lambda address: trusted)
    async with served(listener={"read_first": read_first}) as server:
        yield server


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_connection_without_a_header(trusted: bool) -> None:
    async with behind_a_proxy(trusted) as server:
        client = await server.connect(pipelined=text_frame("hello"))
        assert await client.receive_text() == "hello"
        await client.send_text("again")
        assert await client.receive_text() == "again"


async def test_all_may_come_at_once() -> None:
    async with behind_a_proxy(trusted=True) as server:
        client, handler = await server.pair(before=HEADER, pipelined=text_frame("hello"))
        assert await client.receive_text() == "hello"
        assert handler.request.remote_ip == ADDRESS[0]


async def test_a_header_alone() -> None:
    """What follows goes to the protocol that has the connection by then."""
    async with behind_a_proxy(trusted=True) as server:
        client = await server.open()
        await client.send(HEADER)
        await asyncio.sleep(0.01)
        await client.send(upgrade_request("a", "/echo"))
        assert (await read_response(client.reader)).status == 101
        handler = await server.handler()
        assert handler.request.remote_ip == ADDRESS[0]


async def test_who_leaves_in_the_middle_of_it() -> None:
    async with behind_a_proxy(trusted=True) as server:
        for end in ("half_close", "reset"):
            client = await server.open()
            await client.send(HEADER[:20])
            getattr(client, end)()
            if end == "half_close":
                assert await client.end() == b""
        assert not server.handlers


class Buffered(asyncio.BufferedProtocol):
    """Has little room at a time, as a protocol for TLS does."""

    def __init__(self) -> None:
        self.received = b""
        self._buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self._buffer[:nbytes]


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol


def test_the_connection_may_be_for_a_protocol_with_a_buffer() -> None:
    """It gets all that came with the header, of which it has been told before."""
    buffered, transport, told = Buffered(), Transport(), list[object]()
    protocol = HeaderProtocol(
        lambda address: True, buffered, lambda peer: told.append((peer, buffered.received))
    )
    protocol.connection_made(transport)
    assert transport.protocol is None
    protocol.data_received(HEADER + b"more than it takes")
    assert told == [(ADDRESS, b"")]
    assert buffered.received == b"more than it takes"
    assert transport.protocol is buffered


def test_what_is_left_goes_to_whom_that_protocol_gives_the_connection() -> None:
    """As one for TLS does when it finds that the client does not speak it."""

    class Other(asyncio.Protocol):
        received = b""

        def data_received(self, data: bytes) -> None:
            self.received += data

    class GivesAway(Buffered):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            transport.set_protocol(other)

    first, other, transport = GivesAway(), Other(), Transport()
    protocol = HeaderProtocol(lambda address: True, first, lambda peer: None)
    protocol.connection_made(transport)
    protocol.data_received(HEADER + b"more than it takes")
    assert (first.received, other.received) == (b"more th", b"an it takes")

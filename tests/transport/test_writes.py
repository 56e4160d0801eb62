"""Messages to very many peers are written over several iterations of the event loop, in order."""

import asyncio
from collections.abc import Awaitable
from typing import cast

from tests.support.client import Client, close_frame
from tests.support.waiting import until
from tests.transport.served import Recorder, served
from transport.choice import Conn
from transport.writes import AT_ONCE, Writes


async def test_so_many_connections_are_written_to_in_an_iteration() -> None:
    writes, written = Writes(), list[int]()
    for number in range(2 * AT_ONCE + 1):
        writes.wait(lambda number=number: written.append(number))  # type: ignore[misc]
    for length in (AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1):
        await asyncio.sleep(0)
        assert written == list(range(length))


class Caller(Recorder):
    """Passes a message on to everybody later, and one that begins with "to" to the one it names."""

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        text = str(message)
        handlers = self.served.handlers
        if text.startswith("to"):
            cast(Conn, handlers[int(text.split()[1])].ws_connection).write_text(text.encode())
        else:
            for handler in handlers:
                cast(Conn, handler.ws_connection).write_later(text.encode())
        return super().on_message(message)


async def received(client: Client, number: int) -> list[str]:
    return [await client.receive_text() for _ in range(number)]


async def test_what_waits_keeps_its_place() -> None:
    """Whatever a peer is written meanwhile comes after it."""
    async with served(Caller) as server:
        clients = [await server.connect() for _ in range(AT_ONCE + 20)]
        last = len(clients) - 1
        await clients[0].send_text("all 1")
        await clients[1].send_text(f"to {last}")
        await clients[0].send_text("all 2")
        for client in clients[:-1]:
            assert await received(client, 2) == ["all 1", "all 2"]
        rest = await received(clients[last], 3)
        assert sorted(rest) == ["all 1", "all 2", f"to {last}"]
        assert rest.index("all 1") < rest.index("all 2")


async def test_what_waits_counts_as_unsent() -> None:
    async with served(Caller) as server:
        await server.connect()
        handler = await server.handler()
        connection = handler.ws_connection
        connection.write_later(b"x" * 100)
        assert connection.unsent == connection.buffered == 102
        connection.write_text(b"x" * 100)
        assert connection.unsent == 204
        await until(lambda: connection.unsent == 0)
        assert connection._outbox is None


async def test_a_close_comes_after_what_waits() -> None:
    """This holds for a close of either side, and for a peer that ends its stream."""
    async with served(Caller) as server:
        for end in ("server", "client", "stream"):
            client = await server.connect()
            handler = await server.handler()
            handler.ws_connection.write_later(b"before")
            if end == "server":
                handler.close(4000)
            elif end == "client":
                handler.ws_connection.data_received(close_frame(4000))
            else:
                handler.ws_connection.eof_received()
            assert await client.receive_text() == "before"
            assert await client.closed() == (1006 if end == "stream" else 4000)


async def test_a_peer_that_is_gone_waits_no_more() -> None:
    async with served(Caller) as server:
        client = await server.connect()
        handler = await server.handler()
        connection = handler.ws_connection
        connection.write_later(b"nobody reads this")
        connection.abort()
        await handler.is_closed()
        assert await client.end() == b""
        assert connection.unsent == 0

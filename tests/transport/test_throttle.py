"""A peer that sends more bytes than it may is read slower."""

from time import monotonic

from tests.support.client import ABNORMAL, NO_STATUS, Opcode, frame, text_frame
from tests.support.waiting import until
from tests.transport.served import Echo, Recorder, answered, served
from transport.protocol import LoopProtocol
from transport.throttle import BURST, ThrottledProtocol

OFFER = "o" * 7300
CANDIDATE = "c" * 250


def protocol(handler: Recorder) -> ThrottledProtocol:
    connection: object = handler.ws_connection
    assert isinstance(connection, ThrottledProtocol)
    return connection


def is_paused(handler: Recorder) -> bool:
    return protocol(handler)._pause is not None


async def test_what_an_honest_peer_sends_is_read_at_once() -> None:
    """At the lowest rate, it would otherwise wait for two minutes."""
    async with served(Echo, websocket_byte_rate=1000) as server:
        client, handler = await server.pair()
        texts = [OFFER] * 10 + [CANDIDATE] * 100
        for text in texts:
            await client.send_text(text)
        for text in texts:
            assert await client.receive_text() == text
        assert not is_paused(handler)


async def test_the_rest_is_read_as_fast_as_it_may_be() -> None:
    """Nothing is lost, and messages keep their order, whatever their size."""
    rate = 200_000
    async with served(Recorder, websocket_byte_rate=rate) as server:
        client, handler = await server.pair()
        begin = monotonic()
        texts = [f"{number} " * (number % 7 * 400) for number in range(160)]
        size = sum(map(len, texts))
        for text in texts:
            client.write(text_frame(text))
        await answered(client)
        assert [text for text in handler.seen if isinstance(text, str)] == texts
        # What the kernel had is read at once, and paid for after that.
        assert monotonic() - begin > (size - BURST - 128 * 1024) / rate


async def test_a_peer_is_not_read_ahead() -> None:
    """What is more than the burst stays with the peer and in the kernel."""
    async with served(Recorder, websocket_byte_rate=1000, buffer=64 * 1024) as server:
        client, handler = await server.pair()
        text = "x" * 1000
        for _ in range(2000):
            client.write(text_frame(text))
        await until(lambda: is_paused(handler))
        seen = len(handler.seen)
        assert seen < 1000
        assert await server.connect()  # Others are served.
        assert len(handler.seen) <= seen + 1
        handler.close()  # Otherwise the end of the connection would be seen after the pause.


async def test_a_peer_that_cannot_be_heard_is_not_given_up() -> None:
    """Its pongs are read when the pause is over; until then its silence does not count."""
    async with served(
        Recorder, websocket_byte_rate=1000, websocket_ping_interval=0.2, websocket_ping_timeout=0.1
    ) as server:
        client, handler = await server.pair()
        client.write(text_frame("x" * (BURST + 1000)))
        await until(lambda: is_paused(handler))
        for _ in range(10):
            assert (await client.receive_frame()).opcode is Opcode.PING
            client.write(frame(Opcode.PONG))
        assert not handler.closed.is_set()


async def test_a_peer_is_given_up_if_it_is_not_heard_after_that_either() -> None:
    async with served(
        Recorder, websocket_byte_rate=1000, websocket_ping_interval=0.1, websocket_ping_timeout=0.1
    ) as server:
        client, handler = await server.pair()
        begin = monotonic()
        client.write(text_frame("x" * (BURST + 1000)))
        while (received := await client.receive_frame()).opcode is Opcode.PING:
            pass
        assert received.payload[:2] == (1011).to_bytes(2, "big")
        assert monotonic() - begin > 1.1
        await handler.is_closed()


async def test_the_answer_to_a_close_is_read() -> None:
    """So that closing does not take as long as the pause would: here, a minute."""
    async with served(Recorder, websocket_byte_rate=1000) as server:
        client, handler = await server.pair()
        client.write(text_frame("x" * (BURST + 60_000)))
        await until(lambda: is_paused(handler))
        handler.close(1001, "bye")
        assert await client.closed() == 1001
        await handler.is_closed()
        assert handler.close_code == 1000 or handler.close_code is None


async def test_an_aborted_connection_is_over() -> None:
    async with served(Recorder, websocket_byte_rate=1000) as server:
        client, handler = await server.pair()
        throttled = protocol(handler)
        client.write(text_frame("x" * (BURST + 60_000)))
        await until(lambda: is_paused(handler))
        throttled.abort()
        await handler.is_closed()
        assert throttled._pause is None
        assert await client.closed() == ABNORMAL


async def test_what_comes_with_the_handshake_counts() -> None:
    async with served(Recorder, websocket_byte_rate=1000) as server:
        client, handler = await server.pair(pipelined=text_frame("x" * (BURST + 60_000)))
        await until(lambda: is_paused(handler))
        handler.close()
        assert await client.closed() == NO_STATUS


async def test_without_a_rate_nothing_is_counted() -> None:
    async with served(Recorder) as server:
        _, handler = await server.pair()
        assert type(handler.ws_connection) is LoopProtocol

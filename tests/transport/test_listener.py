"""Which connections the WebSocket's protocol gets, and which the HTTP server."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from contextlib import suppress

import pytest

from tests.support.client import (
    TIME_LIMIT,
    HandshakeError,
    read_response,
    text_frame,
    upgrade_request,
)
from tests.support.waiting import until
from tests.transport.served import SMALL_BUFFER, Recorder, Served, connections, served
from transport.head import MAX_HEAD_SIZE, MAX_HEADER_LINES
from transport.http_stream import MAX_CHUNKS, HTTPStream
from transport.listener import LINGER
from transport.protocol import LoopProtocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UPGRADE = upgrade_request("x", "/echo")

REQUESTS = {
    "GET": LAST_GET,
    "two at once": GET + LAST_GET,
    "body": b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HEAD": LAST_GET.replace(b"GET", b"HEAD"),
    "unknown path": LAST_GET.replace(b"/", b"/nowhere", 1),
    "unknown method": LAST_GET.replace(b"GET", b"BREW"),
    "no WebSocket there": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n",
    "LF": LAST_GET.replace(b"\r\n", b"\n"),
    "LF and then CRLF": LAST_GET.replace(b"\r\n\r\n", b"\n\r\n"),
    "CRLF and then LF": LAST_GET.replace(b"\r\n\r\n", b"\r\n\n"),
    "empty line first": b"\r\n" + LAST_GET,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
}

# The method of the last could go on, but is longer than any.
NO_REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100)),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SMTP": b"EHLO x\r\n",
    "SOCKS": b"\x05\x01\x00",
    "zeros": bytes(4),
    "no version": b"GET /\r\n",
    "no header": b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
    "upgrade of nothing": UPGRADE.replace(b"Host: x\r\n", b"Host: x\r\nno header\r\n"),
    "folded": UPGRADE.replace(b"Host: x\r\n", b"Host: x\r\nX: y\r\n z\r\n"),
    "no end": b"x" * 65,
}


async def answer(server: Served, request: bytes) -> list[bytes]:
    """Return all of the answer except the time of day."""
    connection = await server.open()
    connection.write(request)
    lines = (await connection.end()).split(b"\r\n")
    connection.abort()
    return [line for line in lines if not line.startswith(b"Date:")]


@pytest.mark.parametrize("name", REQUESTS)
async def test_http_is_answered_as_by_the_http_server(name: str) -> None:
    """The answers are the same to the byte."""
    async with served() as server, served(tornado=True) as reference:
        request = REQUESTS[name]
        assert await answer(server, request) == await answer(reference, request)
        assert not server.listener.arriving


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("name", NO_REQUESTS)
async def test_what_is_no_request_is_refused_at_once(name: str, upgrades: bool) -> None:
    """It is refused whether or not more was to come, and although not all of it has been read."""
    async with served(upgrades=upgrades) as server:
        connection = await server.open()
        connection.write(NO_REQUESTS[name])
        async with asyncio.timeout(LINGER / 2):
            response = await read_response(connection.reader)
            assert await connection.end() == b""
        assert response.status == 400
        assert response.headers["connection"] == "close"
        assert response.body == b"400 Bad Request\n"


async def test_what_can_be_a_request_is_waited_for() -> None:
    async with served() as server:
        for request in (b"\r\n\n", b"G", b"BASELINE-CONTROL", b"GET / HTTP/1.1\r", UPGRADE[:-1]):
            connection = await server.open()
            connection.write(request)
            await has_arrived(server, len(request.lstrip()))
            connection.abort()
            await until(lambda: not server.listener.arriving)


async def test_a_refused_client_may_go_on_sending() -> None:
    """The client can read why it was refused. What it sends is discarded, but not for long."""
    async with served() as server:
        connection = await server.open()
        connection.write(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_SIZE)
        assert (await read_response(connection.reader)).status == 431
        async with asyncio.timeout(TIME_LIMIT):
            with suppress(ConnectionError):
                while True:
                    await connection.send(b"x" * MAX_HEAD_SIZE)
        assert not server.listener.arriving


def padded(request: bytes, size: int) -> bytes:
    """Return a request whose head is filled up to a size in bytes."""
    start, rest = request[:-2] + b"X: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(rest)) + rest


def lined(request: bytes, lines: int) -> bytes:
    """Return a request with as many header lines as this, one more than it has being short."""
    lines -= request.count(b"\n") - 2
    return request[:-2] + b"x:\r\n" * lines + b"\r\n"


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (padded(GET, MAX_HEAD_SIZE), 200),
        (padded(GET, MAX_HEAD_SIZE + 1), 431),
        (padded(GET, MAX_HEAD_SIZE + 4)[:-3], 431),
        (padded(UPGRADE, MAX_HEAD_SIZE), 101),
        (padded(UPGRADE, MAX_HEAD_SIZE + 1), 431),
        (lined(GET, MAX_HEADER_LINES), 200),
        (lined(GET, MAX_HEADER_LINES + 1), 431),
        (lined(UPGRADE, MAX_HEADER_LINES), 101),
        (lined(UPGRADE, MAX_HEADER_LINES + 1), 431),
        (lined(GET, MAX_HEADER_LINES + 1).replace(b"\r\n", b"\n"), 431),
    ],
)
async def test_a_head_is_limited(head: bytes, status: int, later: bool, upgrades: bool) -> None:
    """The first head of a connection and any later one have the same limits.

    One that is too long is refused before it has come to its end.
    """
    async with served(upgrades=upgrades) as server:
        connection = await server.open()
        if later:
            connection.write(GET)
            assert (await read_response(connection.reader)).status == 200
        connection.write(head)
        response = await read_response(connection.reader)
        assert response.status == status
        if status >= 400:
            assert response.headers["connection"] == "close"
            assert await connection.end() == b""


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize(("chunks", "status"), [(MAX_CHUNKS - 1, 200), (MAX_CHUNKS, 400)])
async def test_a_body_has_few_chunks(chunks: int, status: int, upgrades: bool) -> None:
    """This holds for each request by itself."""
    request = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(upgrades=upgrades) as server:
        connection = await server.open()
        for _ in range(2 if status == 200 else 1):
            connection.write(request + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
            assert (await read_response(connection.reader)).status == status


async def test_a_later_head_may_come_byte_by_byte() -> None:
    """What has come is not searched again with each byte, or this would take a minute."""
    async with served() as server:
        connection = await server.open()
        connection.write(GET)
        assert (await read_response(connection.reader)).status == 200
        (stream,) = server.listener.newcomers._newcomers
        assert isinstance(stream, HTTPStream)
        for length, byte in enumerate(GET[:-1], 1):
            connection.write(bytes([byte]))
            await until(lambda: stream.unread == length)  # noqa: B023
            assert stream._searched == length
        connection.write(GET[-1:])
        assert (await read_response(connection.reader)).status == 200


def echo_request(size: int) -> bytes:
    """Return a request whose answer is as long as its body."""
    start = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    return start + b"x" * size


@pytest.mark.parametrize("upgrades", [True, False])
async def test_who_does_not_read_an_answer_is_given_up(upgrades: bool) -> None:
    """It makes no difference how many requests it has sent behind."""
    gc.collect()  # Other tests may have left sockets.
    before = connections()
    async with served(upgrades=upgrades, handshake_timeout=0.1, buffer=SMALL_BUFFER) as server:
        connection = await server.open(receive_buffer=4096)
        connection.stop_reading()
        connection.write(echo_request(1_000_000) + GET * 100)
        await until(lambda: len(server.listener.newcomers) == 1)
        await until(lambda: len(server.listener.newcomers) == 0)
        await until(lambda: connections() == before + 1)


async def test_who_reads_an_answer_slowly_gets_all_of_it() -> None:
    """It may take many times as long as a request may."""
    timeout, size = 0.1, 500_000
    loop = asyncio.get_running_loop()
    async with served(handshake_timeout=timeout, buffer=SMALL_BUFFER) as server:
        connection = await server.open(receive_buffer=4096)
        connection.stop_reading()
        connection.write(echo_request(size))
        with socket.socket(
            fileno=os.dup(connection.writer.get_extra_info("socket").fileno())
        ) as sock:
            sock.setblocking(False)
            started, received = loop.time(), 0
            while received < size:
                await asyncio.sleep(timeout / 5)  # The client takes its time.
                received += len(await asyncio.wait_for(loop.sock_recv(sock, 8192), TIME_LIMIT))
        assert loop.time() - started > 5 * timeout


@pytest.mark.parametrize("upgrades", [True, False])
async def test_a_websocket_is_not_given_up_like_an_answer(upgrades: bool) -> None:
    """A client that reads nothing for a while is the business of its WebSocket."""
    async with served(upgrades=upgrades, handshake_timeout=0.05, buffer=SMALL_BUFFER) as server:
        client = await server.connect(receive_buffer=4096)
        handler = await server.handler()
        client.stop_reading()
        handler.write_message("x" * 1_000_000)
        await asyncio.sleep(0.2)  # This is longer than twice the limit of an answer.
        client.resume_reading()
        assert len(await client.receive_text()) == 1_000_000


async def test_a_connection_is_kept_alive() -> None:
    """A connection of the HTTP server may be upgraded later, with what has come behind that."""
    async with served() as server:
        connection = await server.open()
        for body in (b"first", b"second"):
            length = b"Content-Length: %d" % len(body)
            await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + body)
            assert (await read_response(connection.reader)).body == body
        await connection.send(GET.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n\r\n"))
        assert (await read_response(connection.reader)).body == b"a page\n"
        await connection.send(UPGRADE + text_frame("1") + text_frame("2"))
        assert (await read_response(connection.reader)).status == 101
        assert isinstance((await server.handler()).ws_connection, LoopProtocol)
        assert await connection.receive_text() == "1"
        assert await connection.receive_text() == "2"
        assert await connection.close(1000) == 1000


async def test_requests_and_an_upgrade_may_come_at_once() -> None:
    async with served() as server:
        connection = await server.open()
        connection.write(GET * 3 + UPGRADE + text_frame("early"))
        for status in (200, 200, 200, 101):
            assert (await read_response(connection.reader)).status == status
        assert await connection.receive_text() == "early"


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("header", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
async def test_an_upgrade_has_no_body(header: bytes, later: bool) -> None:
    async with served() as server:
        connection = await server.open()
        if later:
            connection.write(GET)
            assert (await read_response(connection.reader)).status == 200
        connection.write(UPGRADE[:-2] + header + b"\r\n\r\n{}")
        assert (await read_response(connection.reader)).status == 400


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\n\n"])
async def test_lines_may_end_in_lf_alone(end: bytes) -> None:
    """Such an upgrade is served as soon as its last line is there."""
    async with served() as server:
        client = await server.open()
        request = UPGRADE.replace(b"\r\n\r\n", end)
        if end == b"\n\n":
            request = request.replace(b"\r\n", b"\n")
        for length, byte in enumerate(request[:-1], 1):
            client.write(bytes([byte]))
            await has_arrived(server, length)
        client.write(request[-1:] + text_frame("early"))
        assert (await read_response(client.reader)).status == 101
        assert await client.receive_text() == "early"
        assert isinstance((await server.handler()).ws_connection, LoopProtocol)
        assert await client.close(1000) == 1000


async def has_arrived(server: Served, length: int) -> None:
    """Wait until the server has read this much of a head."""
    await until(lambda: [len(one._received) for one in server.listener.arriving] == [length])


async def test_a_head_may_be_cut_anywhere() -> None:
    """It is that of an upgrade with a frame behind it, or of any other request."""
    async with served() as server:
        for place in range(1, len(UPGRADE)):
            client = await server.open()
            client.write(UPGRADE[:place])
            await has_arrived(server, place)
            client.write(UPGRADE[place:] + text_frame("early"))
            assert (await read_response(client.reader)).status == 101
            assert await client.receive_text() == "early"
            assert isinstance((await server.handler()).ws_connection, LoopProtocol)
            client.abort()
        for place in range(1, len(GET)):
            connection = await server.open()
            connection.write(GET[:place])
            await has_arrived(server, place)
            connection.write(GET[place:])
            assert (await read_response(connection.reader)).body == b"a page\n"


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize(
    ("first", "second"), [(GET, b""), (GET, b"G"), (GET + b"G", b""), (GET, UPGRADE[:-1])]
)
async def test_the_next_request_may_be_long_in_coming_but_not_half_of_it(
    first: bytes, second: bytes, upgrades: bool
) -> None:
    """Waiting has the time limit of the HTTP server, half a request that of the first request."""
    async with served(upgrades=upgrades, handshake_timeout=0.1, idle_timeout=0.5) as server:
        connection = await server.open()
        await connection.send(first)
        assert (await read_response(connection.reader)).status == 200
        await connection.send(second)
        started = asyncio.get_running_loop().time()
        assert await connection.end() == b""
        took = asyncio.get_running_loop().time() - started
        assert took > 0.3 if first + second == GET else took < 0.3


async def test_a_head_may_come_byte_by_byte() -> None:
    async with served() as server:
        client = await server.open()
        for length, byte in enumerate(UPGRADE[:-1], 1):
            client.write(bytes([byte]))
            await has_arrived(server, length)
        client.write(UPGRADE[-1:])
        assert (await read_response(client.reader)).status == 101


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", UPGRADE[:-1]])
async def test_half_a_head_is_not_waited_for(sent: bytes) -> None:
    async with served(handshake_timeout=0.05) as server:
        connection = await server.open()
        connection.write(sent)
        assert await connection.end() == b""
        assert not server.listener.arriving


@pytest.mark.parametrize("sent", [b"", UPGRADE[:-1]])
@pytest.mark.parametrize("reset", [True, False])
async def test_half_a_head_may_be_the_last(sent: bytes, reset: bool) -> None:
    async with served() as server:
        connection = await server.open()
        connection.write(sent)
        await has_arrived(server, len(sent))
        if reset:
            connection.reset()
        else:
            connection.half_close()
            assert await connection.end() == b""
        await until(lambda: not server.listener.arriving)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Version": ""}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "too short"}, 400),
        ({"Connection": "close"}, 400),
        ({"Origin": "http://refused"}, 403),
    ],
)
async def test_a_refused_upgrade_is_the_last_request(headers: dict[str, str], status: int) -> None:
    """The answer says so, and the connection ends. No handler is opened."""
    async with served() as server:
        with pytest.raises(HandshakeError) as refused:
            await server.connect(headers=headers)
        assert refused.value.args[0].status == status
        connection = await server.open()
        connection.write(upgrade_request("x", "/echo", headers) + GET)
        response = await connection.end()
        assert response.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close\r\n" in response
        assert response.count(b"HTTP/1.1") == 1
        assert not server.handlers


@pytest.mark.parametrize(("path", "status"), [(b"/nowhere", 404), (b"/", 200)])
async def test_an_upgrade_of_what_is_no_websocket_is_answered(path: bytes, status: int) -> None:
    async with served() as server:
        connection = await server.open()
        connection.write(UPGRADE.replace(b"/echo", path))
        assert (await connection.end()).startswith(b"HTTP/1.1 %d " % status)


class Hesitant(Recorder):
    """Is not done at once with what comes before the handshake."""

    async def prepare(self) -> None:
        await asyncio.sleep(0.05)


async def test_who_is_dropped_before_it_is_answered_is_answered_in_vain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That is no fault, so nothing is logged, and the handler is not opened."""
    async with served(Hesitant) as server:
        client = await server.open()
        client.write(UPGRADE)
        await until(lambda: len(server.listener.newcomers) == 1 and not server.listener.arriving)
        server.listener.newcomers.drop_oldest()
        assert await client.end() == b""
        await asyncio.sleep(0.1)  # Until the handler is done.
        assert not server.handlers
    assert not caplog.records


async def test_stop_drops_those_that_have_not_asked_yet() -> None:
    """It accepts no others either. A connection that is a WebSocket is left to its handler."""
    async with served() as server:
        client = await server.connect()
        connection = await server.open()
        await has_arrived(server, 0)
        server.listener.stop()
        server.listener.stop()
        assert await connection.end() == b""
        with pytest.raises(ConnectionError):
            await server.connect()
        await client.send_text("still there")
        assert await client.receive_text() == "still there"


async def test_a_full_server_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once a minute, when the last file that may be open is a client's."""

    async def come_and_go() -> int:
        client = await server.connect()
        fd = (await server.handler()).ws_connection._transport.get_extra_info("socket").fileno()
        client.abort()
        await until(lambda: connections() == 0)
        return int(fd)

    def warnings() -> list[str]:
        return [record.message for record in caplog.records if record.levelname == "WARNING"]

    async with served() as server:
        fd = await come_and_go()
        while (same := await come_and_go()) != fd:  # Files of earlier tests may still be closed.
            fd = same
        server.listener._max_files = fd + 2
        await come_and_go()
        assert warnings() == []
        server.listener._max_files -= 1
        await come_and_go()
        await come_and_go()
        (warning,) = warnings()
        assert f"{server.listener._max_files} files" in warning
        server.listener._warned.clear()
        await come_and_go()
        assert len(warnings()) == 2


async def test_requests_leave_no_names_behind() -> None:
    """`lower()`, by which Tornado finds the handler's method, makes no new string each time."""
    async with served() as server:
        await server.connect()
        method = (await server.handler()).request.method
        assert method == "GET"
        assert method.lower() == "get"
        assert method.lower() is method.lower()


async def test_passing_on_leaves_nothing_open() -> None:
    async with served() as server:
        for request in (*REQUESTS.values(), *NO_REQUESTS.values()):
            await answer(server, request)
        await until(lambda: connections() == 0)

"""A header of the PROXY protocol comes before TLS. For tests/edge/, once both are there."""

import asyncio
import socket

import pytest

from tests.edge.test_proxies import CLIENT, PROXY, STRANGER, header
from tests.support.certificates import client_context, files
from tests.support.client import Connection, read_response, text_frame, upgrade_request
from tests.support.server_process import TRANSPORTS, ServerProcess, server_process

JOIN = '{"type":"join","payload":{"room_id":"room"}}'
ICE_SERVERS = b"GET /ice-servers HTTP/1.1\r\nHost: a\r\n\r\n"


async def connect(
    server: ServerProcess, before: bytes, source: str = PROXY, pause: float = 0.0
) -> Connection:
    """Send this and shake hands; with a pause, byte by byte."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (server.host, server.port))
    for piece in [bytes([byte]) for byte in before] if pause else [before]:
        await loop.sock_sendall(sock, piece)
        await asyncio.sleep(pause)
    streams = await asyncio.open_connection(
        sock=sock, ssl=client_context(), server_hostname="127.0.0.1"
    )
    return Connection(server.url, *streams)


async def status(connection: Connection, request: bytes) -> int:
    await connection.send(request)
    return (await read_response(connection.reader)).status


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("before", "address"), [(header(), CLIENT), (b"", PROXY)])
@pytest.mark.parametrize("pause", [0.0, 0.001])
async def test_a_header_before_tls(
    transport: str, before: bytes, address: str, pause: float
) -> None:
    env = {
        "SIGNALING_TRUSTED_PROXIES": PROXY,
        "SIGNALING_MAX_CONNECTIONS_PER_ADDRESS": "1",
        "SIGNALING_TRANSPORT": transport,
        **files().env,
    }
    with server_process(env=env) as server:
        inside = await connect(server, before, pause=pause)
        assert await status(inside, upgrade_request("a", "/connect")) == 101
        await inside.send(text_frame(JOIN))
        joined = await asyncio.to_thread(server.wait_for_line, r"at (\S+) joined")
        assert joined[1] == address
        same = await connect(server, before, pause=pause)
        assert await status(same, ICE_SERVERS) == 429
        other = await connect(server, b"", STRANGER)
        assert await status(other, ICE_SERVERS) == 200
        later = await connect(server, header("203.0.113.9"))
        assert await status(later, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n") == 200
        assert await status(later, upgrade_request("a", "/connect")) == 101
        for connection in (inside, same, other, later):
            connection.abort()

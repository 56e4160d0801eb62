"""The paths and their answers, and the handshake."""

from urllib.parse import urlsplit

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.client import (
    ACCEPT,
    Client,
    Connection,
    HandshakeError,
    http,
    read_response,
    text_frame,
)
from tests.support.peer import message, new_client

# The last is no method of HTTP, but a legal token, which is all that HTTP demands of a method.
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"]

UNKNOWN_PATHS = ["/", "/nope", "/connect/", "/health/", "/connectx", "/ws/x", "/client.html"]


def request(url: str, method: str, path: str) -> bytes:
    """Return a request without a body."""
    host = urlsplit(url).netloc
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("path", ["/health", "/health?x=1"])
@pytest.mark.parametrize("method", METHODS)
async def test_health(url: str, method: str, path: str) -> None:
    """`/health` answers any method with 200 `OK` in text/plain, also with a query string."""
    response = await http(url, request(url, method, path))
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert response.body == (b"" if method == "HEAD" else b"OK")


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
@pytest.mark.parametrize("method", METHODS)
async def test_unknown_path(url: str, method: str, path: str) -> None:
    """Any other path is answered with 404, whatever the method."""
    assert (await http(url, request(url, method, path))).status == 404


@pytest.mark.parametrize("path", ["/connect", "/ws", "/connect?x=1", "/ws?x=1"])
@pytest.mark.parametrize("method", METHODS)
async def test_no_upgrade(url: str, method: str, path: str) -> None:
    """A request to `/connect` or `/ws` that does not ask for an upgrade is answered with 400."""
    assert (await http(url, request(url, method, path))).status == 400


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Key"])
async def test_half_an_upgrade(url: str, name: str) -> None:
    """A request that lacks a header which the upgrade needs is answered with 400."""
    with pytest.raises(HandshakeError) as error:
        await Client.connect(url, headers={name: ""})
    assert error.value.response.status == 400


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
async def test_upgrade_elsewhere(url: str, path: str) -> None:
    """An upgrade on any other path is answered with 404."""
    with pytest.raises(HandshakeError) as error:
        await Client.connect(urlsplit(url)._replace(path="").geturl() + path)
    assert error.value.response.status == 404


async def test_two_requests_on_one_connection(url: str) -> None:
    """A connection stays open after a response and serves further requests, also an upgrade."""
    connection = await Connection.open(url)
    await connection.send(request(url, "GET", "/health"))
    assert (await read_response(connection.reader)).status == 200
    await connection.send(request(url, "GET", "/nope"))
    assert (await read_response(connection.reader)).status == 404
    connection.abort()


@pytest.mark.parametrize("path", ["/connect", "/ws", "/connect?x=1", "/ws?room=a&b", "/connect?"])
async def test_paths_to_connect(url: str, path: str) -> None:
    """Clients connect at `/connect` and at its alias `/ws`, with any query string."""
    client = await Client.connect(urlsplit(url)._replace(path="").geturl() + path)
    assert (await client.receive_text()).startswith('{"type":"notify-client-id"')
    client.abort()


async def test_connect_and_ws_are_one(url: str, connect: Connect, room: str) -> None:
    """Clients that came by `/connect` and clients that came by `/ws` meet in the same rooms."""
    first = await connect()
    await first.join(room)
    second = await connect(urlsplit(url)._replace(path="/ws").geturl())
    await second.join(room)
    assert await first.receive() == new_client(second)


async def test_handshake(connect: Connect) -> None:
    """The server answers the handshake with 101 and the accept key of RFC 6455."""
    peer = await connect()
    headers = peer.response.headers
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"].lower() == "upgrade"
    assert headers["sec-websocket-accept"] == ACCEPT


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Upgrade": "WebSocket", "Connection": "upgrade"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec-WebSocket-Protocol": "signaling, chat"},
    ],
    ids=["as-firefox", "case", "permessage-deflate", "subprotocols"],
)
async def test_handshakes_of_browsers(connect: Connect, headers: dict[str, str]) -> None:
    """Subprotocols and permessage-deflate are not negotiated, and offering them does no harm."""
    peer = await connect(headers=headers)
    assert "sec-websocket-extensions" not in peer.response.headers
    assert "sec-websocket-protocol" not in peer.response.headers


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1", "https://elsewhere.example", "null", "file://", "nonsense"]
)
async def test_any_origin(connect: Connect, origin: str) -> None:
    """A page of any origin may connect."""
    await connect(headers={"Origin": origin})


@pytest.mark.differ
async def test_message_with_the_handshake(members: Members, connect: Connect, room: str) -> None:
    """Frames in the same segment as the handshake are accepted."""
    (member,) = await members(room, 1)
    join = text_frame(message("join", room_id=room))
    early = await connect(pipelined=join)
    assert await member.receive() == new_client(early)

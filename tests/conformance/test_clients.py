"""Clients of two common WebSocket libraries."""

import asyncio
import json
from ssl import SSLContext

import websockets
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect
from websockets.typing import Subprotocol

from tests.conformance.conftest import Members
from tests.support.certificates import client_context
from tests.support.client import TIME_LIMIT
from tests.support.peer import canonical, message, offer


def id_in(text: str | bytes) -> str:
    """Return the id in a server's first message."""
    received = json.loads(text)
    assert received["type"] == "notify-client-id"
    client_id = received["payload"]["client_id"]
    assert isinstance(client_id, str)
    return client_id


def context_for(url: str) -> SSLContext | None:
    return client_context() if url.startswith("wss:") else None


async def test_websockets(url: str, members: Members, room: str) -> None:
    """A client of the websockets library is served, and none of its offers is negotiated."""
    (member,) = await members(room, 1)
    async with (
        asyncio.timeout(TIME_LIMIT),
        websockets.connect(
            url, proxy=None, ssl=context_for(url), subprotocols=[Subprotocol("x")]
        ) as client,
    ):
        client_id = id_in(await client.recv())
        await client.send(message("join", room_id=room))
        assert await member.receive() == message("new-client", client_id=client_id)
        await member.say("offer", client_id=client_id, sdp="x" * 5000)
        assert canonical(await client.recv(decode=True)) == offer(member, "x" * 5000)
        await client.send(message("answer", client_id=member.id, sdp="y"))
        assert await member.receive() == message("answer", client_id=client_id, sdp="y")
        await (await client.ping())
        assert client.subprotocol is None
        assert client.protocol.extensions == []
    assert client.close_code == 1000


async def test_tornado(url: str, members: Members, room: str) -> None:
    """A client of Tornado is served, and none of its offers is negotiated."""
    (member,) = await members(room, 1)
    async with asyncio.timeout(TIME_LIMIT):
        request = HTTPRequest(url, ssl_options=context_for(url))
        client = await websocket_connect(request, compression_options={}, subprotocols=["x"])
        assert client.selected_subprotocol is None
        assert "Sec-WebSocket-Extensions" not in (client.headers or {})
        client_id = id_in(await client.read_message() or "")
        await client.write_message(message("join", room_id=room))
        assert await member.receive() == message("new-client", client_id=client_id)
        await client.write_message(message("offer", client_id=member.id, sdp="x"))
        assert await member.receive() == message("offer", client_id=client_id, sdp="x")
        client.close(1000)
        assert await client.read_message() is None
        assert client.close_code == 1000

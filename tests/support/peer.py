"""A client that speaks the signaling protocol, and the messages of that protocol as text.

Texts are compared in canonical form. It is exactly as on the wire, including the order of keys and
the absence of spaces, except for escapes inside strings, which JSON leaves to the sender.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Self

from tests.support.client import Client, ClosedError

PING = '{"type":"ping"}'
KINDS = ("offer", "answer", "ice-candidate")

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_markers = count()


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def canonical(text: str) -> str:
    """Return JSON text with uniform escapes inside its strings."""
    return _STRING.sub(lambda found: _dump(json.loads(found[0])), text)


def message(kind: str, **payload: Any) -> str:
    """Return the text of a message with its keys in the given order."""
    return _dump({"type": kind, "payload": payload})


def notify_client_id(client: str) -> str:
    """Return the first message on a connection."""
    return message("notify-client-id", client_id=client)


def new_client(peer: Peer) -> str:
    """Return what the members of a room receive when ``peer`` joins."""
    return message("new-client", client_id=peer.id)


def leave_client(peer: Peer) -> str:
    """Return what the members of a room receive when ``peer`` leaves."""
    return message("leave-client", client_id=peer.id)


def offer(sender: Peer, sdp: str) -> str:
    """Return an offer as its addressee receives it."""
    return message("offer", client_id=sender.id, sdp=sdp)


def answer(sender: Peer, sdp: str) -> str:
    """Return an answer as its addressee receives it."""
    return message("answer", client_id=sender.id, sdp=sdp)


def ice_candidate(
    sender: Peer, candidate: str, mid: str | None = None, index: int | None = None, **more: Any
) -> str:
    """Return a candidate as its addressee receives it. ``more`` may have a usernameFragment."""
    return message(
        "ice-candidate",
        candidate=candidate,
        client_id=sender.id,
        sdpMLineIndex=index,
        sdpMid=mid,
        **more,
    )


def error(text: str) -> str:
    """Return an error message."""
    return message("error", error=text)


def failed(kind: str) -> str:
    """Return the error for a message of ``kind`` that cannot be delivered."""
    return error(f"failed to transfer {kind.replace('-', ' ')}")


INVALID_MESSAGE = error("invalid message")
INVALID_PAYLOAD = error("invalid payload")
UNKNOWN_TYPE = error("unknown message type")


class Peer(Client):
    """A signaling client that has been told its id."""

    id: str
    in_room = False

    @classmethod
    async def connect(cls, url: str, **options: Any) -> Self:
        """Connect as `Client.connect` does, and read the id, which is always the first message."""
        peer = await super().connect(url, **options)
        text = await peer.receive()
        peer.id = json.loads(text)["payload"]["client_id"]
        assert text == notify_client_id(peer.id)
        return peer

    async def say(self, kind: str, **payload: Any) -> None:
        """Send a message of ``kind``."""
        await self.send_text(message(kind, **payload))

    async def join(self, room: str) -> None:
        """Join a room and wait until that is done. The server does not tell the newcomer."""
        await self.say("join", room_id=room)
        self.in_room = True
        assert await self.received() == []

    async def receive(self) -> str:
        """Return the next message except the keepalive, in canonical form.

        On a busy machine, a test may take longer than the half a minute to the keepalive.
        """
        while (text := await self.receive_text()) == PING:
            pass
        return canonical(text)

    async def rest(self) -> tuple[list[str], int]:
        """Return everything that comes before the server closes, and the code of its close."""
        texts: list[str] = []
        while True:
            try:
                texts.append(await self.receive())
            except ClosedError as closed:
                return texts, closed.code

    async def received(self) -> list[str]:
        """Return everything received so far, that is, before the echo of a marker that is sent now.

        The echo also shows that the server has handled everything that this peer sent before.
        """
        if self.in_room:
            sdp = f"marker-{next(_markers)}"
            await self.say("offer", client_id=self.id, sdp=sdp)
            marker = offer(self, sdp)
        else:
            await self.say("join", room_id=0)
            marker = INVALID_PAYLOAD
        messages: list[str] = []
        while (text := await self.receive()) != marker:
            messages.append(text)
        return messages


async def join_one_by_one(
    connect: Callable[[], Awaitable[Peer]], room: str, count: int = 2
) -> list[Peer]:
    """Make this many new members of a room, each of which knows of those that came after it."""
    peers: list[Peer] = []
    for _ in range(count):
        newcomer = await connect()
        await newcomer.join(room)
        for peer in peers:
            assert await peer.receive() == new_client(newcomer)
        peers.append(newcomer)
    return peers

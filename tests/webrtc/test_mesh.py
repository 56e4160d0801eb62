"""Peers meet in a room and end up connected to each other: what the server is for."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiortc import AudioStreamTrack
from av import AudioFrame

from tests.support.server_process import ServerProcess
from tests.webrtc.peer import Candidates, Peer

TRICKLED = [Candidates.AFTER_SDP] * 3
NOT_TRICKLED = [Candidates.IN_SDP] * 3


@asynccontextmanager
async def mesh(room: str, *peers: Peer) -> AsyncIterator[None]:
    """Let the peers join one after the other, and wait until each has a channel to all others."""
    async with asyncio.timeout(15), AsyncExitStack() as stack:
        for peer in peers:
            await stack.enter_async_context(peer)
            await peer.join(room)
        for peer in peers:
            opened = {await peer.opened.get() for _ in peers[1:]}
            assert opened == {other.id for other in peers} - {peer.id}
        yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def talk(*peers: Peer) -> None:
    """Let each peer say something to every other, over the channel between the two."""
    for peer in peers:
        for other in set(peers) - {peer}:
            peer.channels[other.id].send(f"{peer.id} to {other.id}")
    for peer in peers:
        others = set(peers) - {peer}
        heard = {await peer.heard.get() for _ in others}
        assert heard == {(other.id, f"{other.id} to {peer.id}") for other in others}


@pytest.mark.parametrize(
    "candidates",
    [
        TRICKLED,
        NOT_TRICKLED,
        [Candidates.IN_SDP, Candidates.AFTER_SDP, Candidates.BEFORE_SDP],
        [Candidates.BEFORE_SDP, Candidates.AFTER_SDP, Candidates.IN_SDP],
    ],
    ids=["trickled", "not-trickled", "mixed", "mixed-reversed"],
)
async def test_three_peers_form_a_full_mesh(
    server: ServerProcess, candidates: list[Candidates]
) -> None:
    """Three peers in a room reach each other directly, whichever way they send candidates."""
    peers = [Peer(server.url, how) for how in candidates]
    async with mesh("mesh", *peers):
        await talk(*peers)


async def test_trickled_candidates_arrive_as_they_were_sent(server: ServerProcess) -> None:
    """A description travels without candidates; these follow it, each with all of its fields."""
    first, second = Peer(server.url), Peer(server.url)
    async with mesh("trickle", first, second):
        offer, candidate, end = [await second.messages.get() for _ in range(3)]
        assert offer["type"] == "offer"
        sdp = offer["payload"]["sdp"]
        assert "a=candidate" not in sdp
        text = candidate["payload"].pop("candidate")
        assert text.startswith("candidate:")
        assert candidate == {
            "type": "ice-candidate",
            "payload": {
                "client_id": first.id,
                "sdpMid": "0",
                "sdpMLineIndex": 0,
                "usernameFragment": re.findall("a=ice-ufrag:(.*)\r", sdp)[0],
            },
        }
        assert end == {
            "type": "ice-candidate",
            "payload": {
                "candidate": "",
                "client_id": first.id,
                "sdpMid": "0",
                "sdpMLineIndex": 0,
            },
        }


@pytest.mark.parametrize("goodbye", [True, False], ids=["close", "reset"])
async def test_the_others_are_told_at_once_when_one_leaves(
    server: ServerProcess, goodbye: bool
) -> None:
    """When one peer leaves, the others know within 0.2 s, and continue to talk to each other."""
    first, second, third = peers = [Peer(server.url) for _ in range(3)]
    async with mesh("leave", *peers):
        async with asyncio.timeout(0.2):
            if goodbye:
                await first.socket.close()
            else:
                first.socket.transport.abort()
            assert await second.left.get() == first.id
            assert await third.left.get() == first.id
        await talk(second, third)


async def test_a_peer_can_come_back(server: ServerProcess) -> None:
    """A peer that has left and connects again is a new member, and is connected to the others."""
    staying, leaving, returning = Peer(server.url), Peer(server.url), Peer(server.url)
    async with mesh("return", staying, leaving):
        await leaving.socket.close()
        assert await staying.left.get() == leaving.id
        async with returning:
            await returning.join("return")
            assert await staying.opened.get() == returning.id
            assert await returning.opened.get() == staying.id
            await talk(staying, returning)


async def test_a_peer_hears_the_other(server: ServerProcess) -> None:
    """An audio track that one peer offers plays at the other."""
    speaker, listener = Peer(server.url, track=AudioStreamTrack()), Peer(server.url)
    async with mesh("audio", speaker, listener):
        track = await listener.tracks.get()
        assert track.kind == "audio"
        assert isinstance(await track.recv(), AudioFrame)

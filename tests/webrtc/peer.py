"""A WebRTC peer in Python. It meets others through the server and then talks to them directly."""

import asyncio
import json
from collections import defaultdict
from enum import Enum
from typing import Any, Self

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription, candidate_from_sdp, candidate_to_sdp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError


class Candidates(Enum):
    """The ways in which a peer tells the others where it can be reached."""

    IN_SDP = "with the offer or answer, like singo's SDK"
    AFTER_SDP = "trickled, like a browser"
    BEFORE_SDP = "trickled, overtaking the offer or answer"


class Peer:
    """One member of a room, with a WebRTC connection and a data channel to each other member.

    The members who are already in the room make the offers: they are told of the newcomer, who is
    not told of them.
    """

    def __init__(
        self,
        url: str,
        candidates: Candidates = Candidates.AFTER_SDP,
        track: MediaStreamTrack | None = None,
    ) -> None:
        self.url = url
        self.candidates = candidates
        self.track = track
        self.id = ""
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.connections: dict[str, RTCPeerConnection] = {}
        self.channels: dict[str, RTCDataChannel] = {}
        self.opened: asyncio.Queue[str] = asyncio.Queue()
        self.heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
        self.left: asyncio.Queue[str] = asyncio.Queue()
        self._early: defaultdict[str, list[RTCIceCandidate | None]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await connect(self.url, proxy=None)
        self.id = json.loads(await self.socket.recv())["payload"]["client_id"]
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await asyncio.gather(*(connection.close() for connection in self.connections.values()))
        await self._reading

    async def join(self, room_id: str) -> None:
        await self._send("join", room_id=room_id)
        # The server does not acknowledge a join, but it answers a ping after what came before it.
        await (await self.socket.ping())

    async def _send(self, kind: str, **payload: object) -> None:
        await self.socket.send(json.dumps({"type": kind, "payload": payload}))

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                await self._handle(json.loads(text))
        except ConnectionClosedError as error:
            # A connection is lost by the network; a close with a code is the server's doing.
            if error.rcvd:
                raise

    async def _handle(self, message: dict[str, Any]) -> None:
        self.messages.put_nowait(message)
        match message:
            case {"type": "new-client", "payload": {"client_id": other}}:
                await self._offer(other)
            case {"type": "offer", "payload": {"client_id": other, "sdp": sdp}}:
                await self._answer(other, sdp)
            case {"type": "answer", "payload": {"client_id": other, "sdp": sdp}}:
                await self._set_remote(other, RTCSessionDescription(sdp, "answer"))
            case {"type": "ice-candidate", "payload": {"client_id": other} as payload}:
                await self._add_candidate(other, payload)
            case {"type": "leave-client", "payload": {"client_id": other}}:
                await self._forget(other)
            case {"type": "error", "payload": {"error": error}}:
                raise RuntimeError(error)

    async def _offer(self, other: str) -> None:
        connection = self._connection(other)
        self._use_channel(other, connection.createDataChannel("chat"))
        await self._send_description(other)

    async def _answer(self, other: str, sdp: str) -> None:
        connection = self._connection(other)
        connection.on("datachannel", lambda channel: self._use_channel(other, channel))
        await self._set_remote(other, RTCSessionDescription(sdp, "offer"))
        await self._send_description(other)

    def _connection(self, other: str) -> RTCPeerConnection:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on("track", self.tracks.put_nowait)
        if self.track:
            connection.addTrack(self.track)
        self.connections[other] = connection
        return connection

    def _use_channel(self, other: str, channel: RTCDataChannel) -> None:
        def opened() -> None:
            self.opened.put_nowait(other)

        self.channels[other] = channel
        channel.on("message", lambda text: self.heard.put_nowait((other, text)))
        if channel.readyState == "open":
            opened()
        else:
            channel.on("open", opened)

    async def _send_description(self, other: str) -> None:
        connection = self.connections[other]
        await connection.setLocalDescription()
        local = connection.localDescription
        # aiortc has all its candidates by now; a browser would find them one by one.
        sdp, candidates = without_candidates(local.sdp)
        match self.candidates:
            case Candidates.IN_SDP:
                await self._send(local.type, client_id=other, sdp=local.sdp)
            case Candidates.AFTER_SDP:
                await self._send(local.type, client_id=other, sdp=sdp)
                await self._send_candidates(other, candidates)
            case Candidates.BEFORE_SDP:
                await self._send_candidates(other, candidates)
                await self._send(local.type, client_id=other, sdp=sdp)

    async def _send_candidates(self, other: str, candidates: list[dict[str, object]]) -> None:
        for candidate in candidates:
            await self._send("ice-candidate", client_id=other, **candidate)

    async def _set_remote(self, other: str, description: RTCSessionDescription) -> None:
        connection = self.connections[other]
        await connection.setRemoteDescription(description)
        for candidate in self._early.pop(other, []):
            await connection.addIceCandidate(candidate)

    async def _add_candidate(self, other: str, payload: dict[str, Any]) -> None:
        candidate = None
        if payload["candidate"]:
            candidate = candidate_from_sdp(payload["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = payload["sdpMid"]
            candidate.sdpMLineIndex = payload["sdpMLineIndex"]
        connection = self.connections.get(other)
        if connection and connection.remoteDescription:
            await connection.addIceCandidate(candidate)
        else:
            self._early[other].append(candidate)

    async def _forget(self, other: str) -> None:
        self.left.put_nowait(other)
        self.channels.pop(other, None)
        if connection := self.connections.pop(other, None):
            await connection.close()


def without_candidates(sdp: str) -> tuple[str, list[dict[str, object]]]:
    """Separate a description from its candidates, which get the form of a browser's `toJSON()`.

    The last one is the empty candidate that says that no more will come.
    """
    description = SessionDescription.parse(sdp)
    candidates: list[dict[str, object]] = []
    for index, media in enumerate(description.media):
        candidates += (
            {
                "candidate": f"candidate:{candidate_to_sdp(candidate)}",
                "sdpMid": media.rtp.muxId,
                "sdpMLineIndex": index,
                "usernameFragment": media.ice.usernameFragment if media.ice else None,
            }
            for candidate in media.ice_candidates
        )
        media.ice_candidates = []
        media.ice_candidates_complete = False
    candidates.append({"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0})
    return str(description), candidates

"""Measures many members that join one room at once, as in a full mesh of peers."""

from __future__ import annotations

import json
import time
from collections import Counter

from bench.client import Client
from bench.frames import STREAM_SPAN, Template, candidate, description, join, number_in
from bench.measure import Ledger, Measurement, Stream
from bench.scenarios.context import Context


class Mesh:
    """A room: its members, their messages, and which of these are under way."""

    def __init__(self, context: Context, clients: list[Client]) -> None:
        """Prepare every message for `clients`, none of which has joined yet."""
        settings = context.settings
        size = settings.message_bytes
        self.context = context
        self.burst = settings.burst
        self.ledger = Ledger()
        self.under_way: dict[int, tuple[str, float]] = {}
        """By number of each message that has not arrived: its kind and when it was sent."""
        self.sent: Counter[str] = Counter()
        self.announced = 0
        self.last = 0.0
        """When something last arrived."""
        self.index = {client.id: index for index, client in enumerate(clients)}
        self.offers = [Template(description("offer", each.id, size)) for each in clients]
        self.answers = [Template(description("answer", each.id, size)) for each in clients]
        self.candidates = [Template(candidate(each.id)) for each in clients]
        self.peers = [Peer(self, index, client) for index, client in enumerate(clients)]
        self.pairs = len(clients) * (len(clients) - 1) // 2

    @property
    def complete(self) -> bool:
        """Whether every pair has met and nothing is under way."""
        return self.sent["answer"] >= self.pairs and not self.under_way


class Peer:
    """A member, which sends an offer to each newcomer and answers each offer."""

    def __init__(self, mesh: Mesh, index: int, client: Client) -> None:
        """Make `client` the member numbered `index`, and receive its messages."""
        self.mesh = mesh
        self.index = index
        self.client = client
        self.incoming: dict[int, Stream] = {}
        self.outgoing: dict[int, Stream] = {}
        client.receive = self.receive

    def stream_to(self, receiver: int) -> Stream:
        """Return the stream to a member. It is made on first use."""
        stream = self.outgoing.get(receiver)
        if stream is None:
            size = len(self.mesh.index)
            stream = Stream(self.mesh.ledger, self.index * size + receiver)
            self.outgoing[receiver] = self.mesh.peers[receiver].incoming[self.index] = stream
        return stream

    def make(self, receiver: int, kind: str, template: Template) -> bytes:
        """Return a frame for a member and count it as sent."""
        number = self.stream_to(receiver).send()
        self.mesh.sent[kind] += 1
        self.mesh.under_way[number] = (kind, time.perf_counter())
        return template.fill(number)

    def receive(self, data: bytes, start: int, end: int) -> None:
        """Handle a relayed message, or greet the newcomer that is announced."""
        number = number_in(data, start, end)
        if number >= 0:
            self.receive_relayed(number)
            return
        message = json.loads(data[start:end])
        if message["type"] == "new-client":
            self.greet(self.mesh.index[message["payload"]["client_id"]])
        else:
            self.client.receive_other(data, start, end)

    def greet(self, newcomer: int) -> None:
        """Send an offer and a burst of candidates to a newcomer."""
        mesh = self.mesh
        mesh.announced += 1
        mesh.last = time.perf_counter()
        frames = [self.make(newcomer, "offer", mesh.offers[newcomer])]
        for _ in range(mesh.burst):
            frames.append(self.make(newcomer, "candidate", mesh.candidates[newcomer]))
        self.client.write(b"".join(frames))

    def receive_relayed(self, number: int) -> None:
        """Count a message that arrived, and answer it if it is an offer."""
        mesh = self.mesh
        sender, receiver = divmod(number // STREAM_SPAN, len(mesh.peers))
        stream = self.incoming.get(sender)
        if receiver != self.index or stream is None:
            mesh.ledger.strays += 1
            return
        if not stream.arrive(number):
            return
        kind, sent_at = mesh.under_way.pop(number)
        mesh.last = time.perf_counter()
        mesh.ledger.latencies.append(mesh.last - sent_at)
        if kind == "offer":
            self.client.write(self.make(sender, "answer", mesh.answers[sender]))


async def mesh(context: Context) -> None:
    """Let 60 members join at once and meet: each pair sends an offer, 10 candidates and an answer.

    It is over when everything has arrived, or when nothing has for `settings.drain` seconds. The
    time measured ends with the last arrival. Every message is counted.
    """
    settings = context.settings
    clients = [await context.open() for _ in range(settings.mesh_members)]
    room = Mesh(context, clients)
    measurement = Measurement("mesh")
    meter = context.meter()
    start = room.last = time.perf_counter()
    for client in clients:
        client.write(join("mesh"))
    while not room.complete and time.perf_counter() - room.last < settings.drain:
        await context.sleep(0.02)
    meter.close(measurement)
    measurement.wall_s = max(room.last - start, 1e-9)
    measurement.units = room.ledger.arrived
    measurement.count(room.ledger)
    lost = Counter(kind for kind, _ in room.under_way.values())
    measurement.extra = {
        "announced": room.announced,
        "announced_expected": room.pairs,
        **{f"{kind}s_sent": room.sent[kind] for kind in ("offer", "candidate", "answer")},
        **{f"{kind}s_lost": lost[kind] for kind in ("offer", "candidate", "answer")},
    }
    if lost:
        measurement.notes.append("lost " + ", ".join(f"{lost[kind]} {kind}s" for kind in lost))
    if room.announced != room.pairs:
        measurement.notes.append(f"{room.announced} of {room.pairs} new-client")
    context.finish(measurement)

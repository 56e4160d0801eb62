"""What a server makes of the entries in its inbox, whatever the order in which they come."""

from contextlib import nullcontext
from typing import Any, cast

from model.message import MessageType
from model.room import Client, new_id
from repository.mem.room import RoomRepository
from services.clustering import ClusteringService
from services.redis_bus import RedisBus


class Bus:
    """Answers each call at once, as Redis does in the end."""

    last = b"0"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.sent_to: list[str] = []

    def begin(self, memory: str, server: str) -> None:
        self.server = server

    def call(self, args: tuple[Any, ...], on_reply: Any) -> None:
        self.calls.append(args)
        on_reply(b"OK")

    def deliver(self, server: str, fields: object, on_reply: Any) -> None:
        self.sent_to.append(server)


async def test_a_client_that_comes_from_another_worker_before_it_is_seen_to_leave() -> None:
    """What comes late from the former worker is about the former membership alone."""
    bus, told = Bus(), list[bytes]()
    service = ClusteringService(
        RoomRepository(),
        cast(RedisBus, bus),
        lease=3,
        max_room_size=0,
        undelivered=lambda client, message_type: told.append(message_type.encode()),
        telling=lambda members: nullcontext(),
    )

    async def enter(kind: str, *values: object) -> None:
        fields = [
            b"e",
            kind.encode(),
            *(it for value in values for it in (b"", str(value).encode())),
        ]
        await service._on_entry(bus.server, fields)

    service._on_connected("memory")
    here, moving = Client(told.append), new_id()
    service.join_room(here, "two")
    await enter("joined", "two", here.id, "1", bus.calls[-1][2], "")
    await enter("new", "one", moving, "old", "2")
    await enter("new", "two", moving, "new", "3")
    for late in ("left", "gone"):
        await enter(late, *((moving, "old") if late == "left" else ("old",)))
        room = service.get_room_by_client_id(here.id)
        assert list(room.clients) == [here.id, moving]
        room.clients[moving].send(b"{}")
        service._flush()
        assert bus.sent_to.pop() == "new"
    assert [MessageType.NEW_CLIENT.encode() in text for text in told] == [True]
    await enter("left", moving, "new")
    assert list(service.get_room_by_client_id(here.id).clients) == [here.id]

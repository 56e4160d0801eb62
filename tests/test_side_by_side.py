"""docs/side_by_side.md: every Go name is in it, and each Python name that it lists is there."""

import importlib
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent / "docs" / "side_by_side.md"
ROW = re.compile(r"^\| (?P<file>[^|]*)\| (?P<original>[^|]*) \| (?P<python>[^|]*) \|", re.MULTILINE)
NAME = re.compile(r"`([\w.-]+)`")

# By file: the types, functions, globals and constants of gosignaling.
GOSIGNALING = {
    "main.go": "main run",
    "server.go": "serve",
    "config/config.go": "Ctx Rdb InitEnv InitRedis",
    "model/room.go": "Room NewRoom Client NewClient",
    "model/message.go": """
        MessageType
        MessageTypeNotifyClientID MessageTypeNewClient MessageTypeLeaveClient
        MessageTypeSDPOffer MessageTypeSDPAnswer MessageTypeIceCandidate MessageTypeError
        Message SDP IceCandidate
        RedisMessageType
        RedisMessageTypeSDPOffer RedisMessageTypeSDPAnswer RedisMessageTypeIceCandidate
        RedisMessageTypeNewClient RedisMessageTypeLeaveClient
        RedisMessage
    """,
    "repository/room.go": """
        Room Room.Get Room.Create Room.Update Room.Delete Room.GetByClientID ErrNotFound
    """,
    "repository/mem/room.go": """
        roomRepository NewRoomRepository
        roomRepository.Get roomRepository.Create roomRepository.Update roomRepository.Delete
        roomRepository.GetByClientID
    """,
    "manager/room.go": """
        RoomManager NewRoomManager JoinRoom LeaveRoom notifyNewClient notifyLeaveClient
        GetClientByID GetRoomByClientID TransferSDPOffer TransferSDPAnswer TransferIceCandidate
        publishSDPOfferToRedis publishSDPAnswerToRedis publishIceCandidateToRedis
    """,
    "handler/handler.go": """
        upgrader Handler NewHandler CreateConnection HandleSendMessage HandleReceiveMessage
        ReceiveMessage JoinRoomPayload SDPOfferPayload SDPAnswerPayload IceCandidatePayload
        handleJoinRoom handleSDPOffer handleSDPAnswer handleIceCandidate sendMessage
    """,
    "services/clustering.go": """
        ClusteringService RoomManagerInterface NewClusteringService InitializeRedisSubscriptions
        handleRedisMessage handleSDPOffer handleSDPAnswer handleIceCandidate
        handleNewClient handleLeaveClient PublishToRedis
    """,
}
# And what singo calls otherwise, or has and gosignaling has not.
SINGO = {
    "main.go": "-demo",
    "server.go": "serveWithDemo",
    "manager/room.go": "Room",
    "handler/create_connection.go": "CreateConnection",
    "handler/receive_message.go": "HandleReceiveMessage",
    "handler/send_message.go": "HandleSendMessage",
    "handler/message.go": "ReceiveMessageType ErrorMessage newErrorMessage",
    "sdk/src/client.ts": """
        SingoClient joinRoom onTrack onLeave createNewPeer createOffer sendOffer createAnswer
        changeAudioTrackEnabled changeVideoTrackEnabled close
    """,
}


def names() -> list[str]:
    """The names in the third column of the tables."""
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    return sorted({name for *_, cell in rows for name in NAME.findall(cell)})


def originals(heading: str) -> dict[str, list[str]]:
    """The names in the second column of the table under a heading, by the file in the first.

    An empty first column stands for the file above it.
    """
    section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found: dict[str, list[str]] = {}
    file = ""
    for first, second, _ in ROW.findall(section.partition("\n## ")[0]):
        file = first.strip(" `") or file
        found.setdefault(file, []).extend(NAME.findall(second))
    return found


def resolve(name: str) -> object:
    """The object of that dotted name: a module's attribute, or an attribute of that."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", names())
def test_a_listed_name_exists(name: str) -> None:
    assert resolve(name)


@pytest.mark.parametrize(
    ("heading", "file", "listed"),
    [("gosignaling", *item) for item in GOSIGNALING.items()]
    + [("singo", *item) for item in SINGO.items()],
    ids=lambda it: "" if " " in it.strip() else it,
)
def test_an_original_name_is_listed(heading: str, file: str, listed: str) -> None:
    """Whoever looks for a name of the original finds it, beside its file."""
    missing = set(listed.split()) - set(originals(heading).get(file, []))
    assert not missing


def test_the_table_is_read() -> None:
    assert {"main.run", "handler.handler.Handler._handle_sdp_offer"} <= set(names())

"""The errors that a client is told when the server cannot read its message."""

import json

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.peer import (
    INVALID_MESSAGE,
    INVALID_PAYLOAD,
    KINDS,
    UNKNOWN_TYPE,
    message,
    new_client,
    offer,
)

JOIN = '{"type":"join","payload":{"room_id":"%s"}}'
BOM = "\ufeff"

# Each would be a join of the room %s but for one fault in its JSON.
FAULTY_JSON = {
    "truncated": JOIN[:-1],
    "single-quotes": JOIN.replace('"', "'"),
    "trailing-garbage": JOIN + "x",
    "second-object": JOIN * 2 % ("%s", "%s"),
    "trailing-comma": JOIN[:-1] + ",}",
    "trailing-nbsp": JOIN + "\u00a0",
    "trailing-nul": JOIN + "\0",
    "leading-bom": BOM + JOIN,
    "comment": "/*x*/" + JOIN,
    "bad-escape-in-payload": JOIN.replace("%s", r"%s\x41"),
    "short-escape-in-payload": JOIN.replace("%s", r"%s\u12"),
    "quote-escape-in-payload": JOIN.replace("%s", r"%s\'"),
    "raw-control-in-payload": JOIN.replace("%s", "%s\x01"),
    "raw-newline-in-payload": JOIN.replace("%s", "%s\n"),
    **{
        f"{name}-in-unknown-field": JOIN[:-1] + f',"x":{value}}}'
        for name, value in {
            "nan": "NaN",
            "infinity": "Infinity",
            "minus-infinity": "-Infinity",
            "leading-zero": "01",
            "plus": "+1",
            "no-integer": ".5",
            "no-fraction": "1.",
            "no-exponent": "1e",
            "python-true": "True",
            "bad-escape": r'"\x41"',
            "short-escape": r'"\u12"',
            "raw-control": '"\x01"',
            "raw-newline": '"\n"',
            "unclosed": "[",
            "mismatched": "[1}",
            "no-comma": "[1 2]",
            "no-colon": '{"a" 1}',
            "number-key": "{1:2}",
        }.items()
    },
}

UNKNOWN_TYPES = ["", "Join", "JOIN", "join ", "leave", "candidate", "x" * 10_000, "\u0000"]
UNKNOWN_TYPES += ["notify-client-id", "new-client", "leave-client", "error"]

NOT_OBJECTS = ["", "   ", "hello", "[]", f"[{JOIN}]", "5", '"join"', "null", "true", "-0.1e-5"]


@pytest.mark.differ
@pytest.mark.parametrize("text", FAULTY_JSON.values(), ids=FAULTY_JSON)
async def test_faulty_json(members: Members, connect: Connect, room: str, text: str) -> None:
    """A message that is not valid JSON, wherever the fault, gets just `invalid message`."""
    (member,) = await members(room, 1)
    peer = await connect()
    await peer.send_text(text.replace("%s", room))
    assert await peer.received() == [INVALID_MESSAGE]
    assert await member.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("text", NOT_OBJECTS)
async def test_no_object(connect: Connect, text: str) -> None:
    """A message that is not a JSON object gets `invalid message`."""
    peer = await connect()
    await peer.send_text(text)
    assert await peer.received() == [INVALID_MESSAGE]


@pytest.mark.differ
@pytest.mark.parametrize("value", ["5", "true", "[]", "{}", '["join"]'])
async def test_type_is_no_string(connect: Connect, room: str, value: str) -> None:
    """A message whose type is not a string gets `invalid message`."""
    peer = await connect()
    await peer.send_text(JOIN.replace('"join"', value) % room)
    assert await peer.received() == [INVALID_MESSAGE]


@pytest.mark.differ
@pytest.mark.parametrize("kind", UNKNOWN_TYPES)
async def test_unknown_type(members: Members, connect: Connect, room: str, kind: str) -> None:
    """A type that clients do not send is unknown, even if the server sends it."""
    (member,) = await members(room, 1)
    peer = await connect()
    await peer.say(kind, room_id=room, client_id=member.id, sdp="x", candidate="x")
    assert await peer.received() == [UNKNOWN_TYPE]
    assert await member.received() == []


@pytest.mark.differ
@pytest.mark.parametrize(
    "text", ["{}", '{"payload":{"room_id":"%s"}}', '{"type":null,"payload":{"room_id":"%s"}}']
)
async def test_missing_type(connect: Connect, room: str, text: str) -> None:
    """A message without a type gets `unknown message type`."""
    peer = await connect()
    await peer.send_text(text.replace("%s", room))
    assert await peer.received() == [UNKNOWN_TYPE]


@pytest.mark.parametrize("kind", ["join", *KINDS])
@pytest.mark.parametrize("payload", ["5", "0.5", "true", "[]", '"text"', '["room_id"]'])
async def test_payload_is_no_object(members: Members, room: str, kind: str, payload: str) -> None:
    """A payload that is not an object gets `invalid payload`."""
    first, second = await members(room)
    await first.send_text(f'{{"type":"{kind}","payload":{payload}}}')
    assert await first.received() == [INVALID_PAYLOAD]
    assert await second.received() == []


FIELDS = {
    "join": ["room_id"],
    "offer": ["client_id", "sdp"],
    "answer": ["client_id", "sdp"],
    "ice-candidate": ["client_id", "candidate"],
}
KIND_AND_FIELD = [(kind, field) for kind, fields in FIELDS.items() for field in fields]
# A missing candidate means the end of candidates.
REQUIRED = [pair for pair in KIND_AND_FIELD if pair[1] != "candidate"]


@pytest.mark.parametrize(("kind", "field"), KIND_AND_FIELD)
@pytest.mark.parametrize("value", [5, 0.5, True, [], {}, ["x"], {"x": "y"}], ids=str)
async def test_field_is_no_string(
    members: Members, room: str, kind: str, field: str, value: object
) -> None:
    """A field that should be a string but is not gets `invalid payload`."""
    first, second = await members(room)
    payload = dict.fromkeys(FIELDS[kind], second.id) | {field: value}
    await first.say(kind, **payload)
    assert await first.received() == [INVALID_PAYLOAD]
    assert await second.received() == []


@pytest.mark.differ
@pytest.mark.parametrize(("kind", "field"), REQUIRED)
async def test_field_is_missing(members: Members, room: str, kind: str, field: str) -> None:
    """A field that is missing or null gets `invalid payload`."""
    first, second = await members(room)
    payload: dict[str, str | None] = dict.fromkeys(FIELDS[kind], second.id)
    await first.say(kind, **payload | {field: None})
    del payload[field]
    await first.say(kind, **payload)
    assert await first.received() == [INVALID_PAYLOAD, INVALID_PAYLOAD]
    assert await second.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("kind", ["join", *KINDS])
@pytest.mark.parametrize("rest", ["", ',"payload":null', ',"payload":{}'])
async def test_payload_is_missing(members: Members, room: str, kind: str, rest: str) -> None:
    """A payload that is missing, null or empty gets `invalid payload`."""
    first, second = await members(room)
    await first.send_text(f'{{"type":"{kind}"{rest}}}')
    assert await first.received() == [INVALID_PAYLOAD]
    assert await second.received() == []


@pytest.mark.differ
async def test_duplicate_keys(members: Members, room: str) -> None:
    """Of a key that comes twice the last value counts, and the others are ignored."""
    first, second = await members(room)
    await first.send_text(
        '{"type":"join","type":"offer","payload":{"client_id":"%s","sdp":"lost"},'
        '"payload":{"sdp":"a","client_id":"x","sdp":"b","client_id":"%s"}}' % (second.id, second.id)
    )
    assert await second.receive() == offer(first, "b")
    await first.send_text(
        '{"type":"offer","payload":{"client_id":"%s"},"payload":{"sdp":"x"}}' % second.id
    )
    assert await first.received() == [INVALID_PAYLOAD]


@pytest.mark.differ
async def test_half_a_surrogate_pair(members: Members, room: str) -> None:
    """In a message longer than 64 KiB, half a surrogate pair makes it an invalid message."""
    first, second = await members(room)
    for size in (1000, 1 << 16):
        sdp = "x" * size + r"\ud83d"
        payload = f'{{"client_id":"{second.id}","sdp":"{sdp}"}}'
        await first.send_text(f'{{"type":"offer","payload":{payload}}}')
    assert await first.received() == [INVALID_MESSAGE]
    assert await second.receive() == offer(first, "x" * 1000 + "\ufffd")
    assert await second.received() == []


@pytest.mark.parametrize("kind", ["ping", "pong"])
@pytest.mark.parametrize("rest", ["", ',"payload":null', ',"payload":{"x":1}', ',"payload":5'])
async def test_keepalive_answers(members: Members, room: str, kind: str, rest: str) -> None:
    """Messages of type `ping` and `pong`, with whatever payload, are ignored silently."""
    first, second = await members(room)
    await first.send_text(f'{{"type":"{kind}"{rest}}}')
    assert await first.received() == []
    assert await second.received() == []


async def test_after_errors(members: Members, connect: Connect, room: str) -> None:
    """A client that has made mistakes is served like any other afterwards."""
    (member,) = await members(room, 1)
    peer = await connect()
    for _ in range(10):
        await peer.send_text(json.dumps({"type": "join", "payload": []}))
        assert await peer.receive() == INVALID_PAYLOAD
    await peer.send_text(message("join", room_id=room))
    assert await member.receive() == new_client(peer)

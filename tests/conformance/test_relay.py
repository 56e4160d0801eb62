"""The relay of offers, answers and candidates."""

import json
from typing import Any

import pytest

from tests.conformance.conftest import Connect, Members
from tests.support.peer import (
    INVALID_PAYLOAD,
    KINDS,
    answer,
    failed,
    ice_candidate,
    leave_client,
    message,
    new_client,
    offer,
)

CANDIDATE = "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host generation 0 ufrag x"
# Without trickling, the candidates are in the description.
SDP = f"v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na={CANDIDATE}\r\n"


def content(kind: str) -> dict[str, str]:
    """Return the fields that a message of this kind needs besides its addressee."""
    return {"candidate": "x"} if kind == "ice-candidate" else {"sdp": "x"}


async def test_offer_and_answer(members: Members, room: str) -> None:
    """Offers and answers go to the member they name, with their sender's id, and to nobody else."""
    caller, callee, other = await members(room, 3)
    await caller.say("offer", client_id=callee.id, sdp=SDP)
    assert await callee.receive() == offer(caller, SDP)
    await callee.say("answer", client_id=caller.id, sdp=SDP)
    assert await caller.receive() == answer(callee, SDP)
    for peer in (caller, callee, other):
        assert await peer.received() == []


async def test_key_order_does_not_matter(members: Members, room: str) -> None:
    """Keys may come in any order, with spaces in between; they go out compact, in one order."""
    first, second = await members(room)
    await first.send_text(
        ' { "payload" : {\n"sdp" : "x",\t"client_id" : "%s" } ,"type":"offer"}\r\n' % second.id
    )
    assert await second.receive_text() == offer(first, "x")


async def test_to_oneself(members: Members, room: str) -> None:
    """A message to oneself is delivered to oneself."""
    (peer,) = await members(room, 1)
    await peer.say("offer", client_id=peer.id, sdp="x")
    assert await peer.receive() == offer(peer, "x")
    await peer.say("answer", client_id=peer.id, sdp="y")
    assert await peer.receive() == answer(peer, "y")
    await peer.say("ice-candidate", client_id=peer.id, candidate="z")
    assert await peer.receive() == ice_candidate(peer, "z")


async def test_order(members: Members, room: str) -> None:
    """What one client sends to another arrives in that order, whatever the kinds."""
    first, second = await members(room)
    for number in range(4):
        await first.say("offer", client_id=second.id, sdp=f"{number}")
        await first.say("ice-candidate", client_id=second.id, candidate=f"{number}")
        await first.say("answer", client_id=second.id, sdp=f"{number}")
    for number in range(4):
        assert await second.receive() == offer(first, f"{number}")
        assert await second.receive() == ice_candidate(first, f"{number}")
        assert await second.receive() == answer(first, f"{number}")


async def test_unknown_fields_are_dropped(members: Members, room: str) -> None:
    """Unknown fields, of any value, are neither an error nor passed on."""
    first, second = await members(room)
    for kind in KINDS:
        payload = {
            "extra": {"deep": [1, None, True]},
            "client_id": second.id,
            **content(kind),
            "type": "offer",
        }
        await first.send_text(json.dumps({"id": 1e300, "type": kind, "payload": payload, "x": []}))
    assert await second.receive() == offer(first, "x")
    assert await second.receive() == answer(first, "x")
    assert await second.receive() == ice_candidate(first, "x")


async def test_escaped_keys(members: Members, room: str) -> None:
    """Keys and types may contain escapes."""
    first, second = await members(room)
    await first.send_text(
        r'{"t\u0079pe":"off\u0065r","payload":{"\u0073dp":"x","client\u005Fid":"%s"}}' % second.id
    )
    assert await second.receive() == offer(first, "x")


# Keys in any case


def spelled(text: str, **others: str) -> str:
    """Return the text with its keys spelled differently."""
    for key, other in others.items():
        assert f'"{key}":' in text
        text = text.replace(f'"{key}":', f'"{other}":')
    return text


ANY_CASE = [
    {"type": "Type"},
    {"type": "TYPE", "payload": "PayLoad"},
    {"client_id": "Client_ID"},
    {"client_id": "CLIENT_ID", "sdp": "SDP"},
    {"client_id": "Client_Id", "sdp": "Sdp", "type": "tYPE", "payload": "PAYLOAD"},
    {"sdp": "\u017fdp"},
    {"sdp": r"\u017FDP"},
    {"sdp": r"\u0053dp"},
]


@pytest.mark.parametrize("others", ANY_CASE, ids=str)
@pytest.mark.parametrize("kind", ["offer", "answer"])
async def test_keys_match_in_any_case(
    members: Members, room: str, kind: str, others: dict[str, str]
) -> None:
    """Keys match in any case, and a long s is an s, in the message and in its payload."""
    first, second = await members(room)
    await first.send_text(spelled(message(kind, client_id=second.id, sdp="x"), **others))
    assert await second.receive() == message(kind, client_id=first.id, sdp="x")


@pytest.mark.parametrize(
    "others",
    [
        {"candidate": "Candidate"},
        {"sdpMLineIndex": "sdpMlineIndex"},
        {"sdpMLineIndex": "SdpMLineIndex", "sdpMid": "SdpMid"},
        {"sdpMLineIndex": "sdpmlineindex", "sdpMid": "sdpmid", "candidate": "CANDIDATE"},
        {"sdpMLineIndex": "SDPMLINEINDEX", "sdpMid": "\u017fdpMID", "client_id": "client_ID"},
    ],
    ids=str,
)
async def test_keys_of_candidates_match_in_any_case(
    members: Members, room: str, others: dict[str, str]
) -> None:
    """The same holds for the keys of a candidate, which goes out with its keys spelled exactly."""
    first, second = await members(room)
    text = message(
        "ice-candidate", candidate=CANDIDATE, client_id=second.id, sdpMLineIndex=1, sdpMid="audio"
    )
    await first.send_text(spelled(text, **others))
    assert await second.receive() == ice_candidate(first, CANDIDATE, "audio", 1)


@pytest.mark.parametrize("key", ["room_ID", "ROOM_ID", "Room_Id"])
async def test_joining_in_any_case(members: Members, connect: Connect, room: str, key: str) -> None:
    """The key of a room's name may be in any case."""
    (member,) = await members(room, 1)
    peer = await connect()
    await peer.send_text(spelled(message("join", room_id=room), room_id=key))
    assert await member.receive() == new_client(peer)


@pytest.mark.parametrize("key", ["clientid", "client-id", "client_id ", "sd", "sdpp", "\ufb06p"])
async def test_other_keys_do_not_match(members: Members, room: str, key: str) -> None:
    """Keys that differ in anything but case do not match."""
    first, second = await members(room)
    await first.send_text(
        '{"%s":"y","type":"offer","payload":{"%s":"y","client_id":"%s","sdp":"x"}}'
        % (key, key, second.id)
    )
    assert await second.receive() == offer(first, "x")


@pytest.mark.parametrize(
    ("keys", "relayed"),
    [
        ('"SDP":"other","sdp":"exact"', "exact"),
        ('"SDP":"first","Sdp":"last"', "last"),
        ('"Sdp":"first","SDP":"second","Sdp":"last"', "last"),
        pytest.param('"sdp":"exact","SDP":"other"', "exact", marks=pytest.mark.differ),
        pytest.param('"sdp":"exact","SDP":5', "exact", marks=pytest.mark.differ),
        pytest.param('"SDP":[],"sdp":"exact"', "exact", marks=pytest.mark.differ),
    ],
)
async def test_which_key_counts(members: Members, room: str, keys: str, relayed: str) -> None:
    """An exact key takes precedence over one in another case; of equal keys the last one counts."""
    first, second = await members(room)
    await first.send_text(f'{{"type":"offer","payload":{{"client_id":"{second.id}",{keys}}}}}')
    assert await second.receive() == offer(first, relayed)


@pytest.mark.differ
async def test_which_envelope_counts(members: Members, room: str) -> None:
    """The same holds for `type` and `payload`."""
    first, second = await members(room)
    await first.send_text(
        '{"TYPE":5,"Payload":7,"type":"offer","payload":{"client_id":"%s","sdp":"x"},'
        '"PAYLOAD":{},"Type":"answer"}' % second.id
    )
    assert await second.receive() == offer(first, "x")


@pytest.mark.parametrize("size", [1 << 10, 1 << 16, 1 << 18])
async def test_large_messages(members: Members, room: str, size: int) -> None:
    """Large messages are relayed like small ones."""
    first, second = await members(room)
    await first.say("offer", client_id=second.id, sdp="x" * size)
    assert await second.receive() == offer(first, "x" * size)


# Trickle ICE


@pytest.mark.parametrize(
    ("given", "relayed"),
    [
        ({}, {}),
        ({"sdpMid": None, "sdpMLineIndex": None}, {}),
        ({"sdpMid": "0"}, {"mid": "0"}),
        ({"sdpMid": ""}, {"mid": ""}),
        ({"sdpMLineIndex": 0}, {"index": 0}),
        ({"sdpMLineIndex": 65535}, {"index": 65535}),
        ({"sdpMid": "audio", "sdpMLineIndex": 1}, {"mid": "audio", "index": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("candidate", [CANDIDATE, ""], ids=["candidate", "end-of-candidates"])
async def test_candidates(
    members: Members, room: str, candidate: str, given: dict[str, Any], relayed: dict[str, Any]
) -> None:
    """`sdpMid` and `sdpMLineIndex` go out as `null` when absent or null; a candidate may be ""."""
    first, second = await members(room)
    await first.say("ice-candidate", client_id=second.id, candidate=candidate, **given)
    assert await second.receive() == ice_candidate(first, candidate, **relayed)


@pytest.mark.parametrize("end", ["", '"candidate":null,', '"Candidate":null,'], ids=str)
@pytest.mark.parametrize(
    ("given", "relayed"),
    [("", {}), (',"sdpMid":"0","sdpMLineIndex":0', {"mid": "0", "index": 0})],
    ids=["alone", "with-line"],
)
async def test_end_of_candidates(
    members: Members, room: str, end: str, given: str, relayed: dict[str, Any]
) -> None:
    """A candidate that is absent or null, as browsers end them, goes out as ""."""
    first, second = await members(room)
    payload = f'{{{end}"client_id":"{second.id}"{given}}}'
    await first.send_text(f'{{"type":"ice-candidate","payload":{payload}}}')
    assert await second.receive() == ice_candidate(first, "", **relayed)


@pytest.mark.differ
@pytest.mark.parametrize("value", ["Zx8k", "", None])
async def test_username_fragment(members: Members, room: str, value: str | None) -> None:
    """`usernameFragment` is relayed when present, also when it is null, and stays absent if not."""
    first, second = await members(room)
    await first.say("ice-candidate", usernameFragment=value, client_id=second.id, candidate="x")
    await first.say("ice-candidate", client_id=second.id, candidate="y")
    await first.say("ice-candidate", USERNAMEFRAGMENT=value, client_id=second.id, candidate="z")
    assert await second.receive() == ice_candidate(first, "x", usernameFragment=value)
    assert await second.receive() == ice_candidate(first, "y")
    assert await second.receive() == ice_candidate(first, "z", usernameFragment=value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sdpMLineIndex", "-1"),
        ("sdpMLineIndex", "65536"),
        ("sdpMLineIndex", "1.5"),
        ("sdpMLineIndex", "1.0"),
        ("sdpMLineIndex", "1e2"),
        ("sdpMLineIndex", "1e999"),
        ("sdpMLineIndex", "1" * 400),
        ("sdpMLineIndex", '"0"'),
        ("sdpMLineIndex", "true"),
        ("sdpMid", "0"),
        ("sdpMid", '["0"]'),
        pytest.param("usernameFragment", "1", marks=pytest.mark.differ),
    ],
)
async def test_invalid_candidates(members: Members, room: str, key: str, value: str) -> None:
    """`sdpMLineIndex` is an integer from 0 to 65535, `sdpMid` and `usernameFragment` strings."""
    first, second = await members(room)
    payload = f'{{"candidate":"x","client_id":"{second.id}","{key}":{value}}}'
    await first.send_text(f'{{"type":"ice-candidate","payload":{payload}}}')
    assert await first.received() == [INVALID_PAYLOAD]
    assert await second.received() == []


# Messages that are not delivered


@pytest.mark.parametrize("kind", KINDS)
async def test_sender_in_no_room(members: Members, connect: Connect, room: str, kind: str) -> None:
    """A client in no room that sends to somebody gets an error, and nobody gets anything."""
    first, second = await members(room)
    outsider = await connect()
    await outsider.say(kind, client_id=first.id, **content(kind))
    assert await outsider.receive() == failed(kind)
    await outsider.say(kind, client_id=outsider.id, **content(kind))
    assert await outsider.receive() == failed(kind)
    for peer in (first, second):
        assert await peer.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["nosuchclient", "", "00000000000000000000", "x" * 1000])
async def test_to_an_unknown_id(members: Members, room: str, kind: str, target: str) -> None:
    """A message to an id that nobody has is answered with an error."""
    first, second = await members(room)
    await first.say(kind, client_id=target, **content(kind))
    assert await first.received() == [failed(kind)]
    assert await second.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("kind", KINDS)
async def test_to_another_room(members: Members, room: str, kind: str) -> None:
    """A message to a member of another room is answered with an error and never delivered."""
    (first,), others = await members(f"{room}-1", 1), await members(f"{room}-2")
    await first.say(kind, client_id=others[0].id, **content(kind))
    assert await first.received() == [failed(kind)]
    for peer in others:
        assert await peer.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("kind", KINDS)
async def test_to_a_client_in_no_room(
    members: Members, connect: Connect, room: str, kind: str
) -> None:
    """A message to a client that has joined no room is answered with an error."""
    (first,) = await members(room, 1)
    outsider = await connect()
    await first.say(kind, client_id=outsider.id, **content(kind))
    assert await first.received() == [failed(kind)]
    assert await outsider.received() == []


@pytest.mark.differ
@pytest.mark.parametrize("kind", KINDS)
async def test_to_the_departed(members: Members, room: str, kind: str) -> None:
    """A late message to a member that has left is answered with an error."""
    first, second = await members(room)
    await second.close()
    assert await first.receive() == leave_client(second)
    await first.say(kind, client_id=second.id, **content(kind))
    assert await first.received() == [failed(kind)]

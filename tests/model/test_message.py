"""Reading what clients send, and writing what they receive."""

import msgspec
import pytest
from msgspec import Raw

from model.message import (
    SDP,
    IceCandidate,
    InvalidMessageError,
    InvalidPayloadError,
    JoinRoomPayload,
    Message,
    MessageType,
    decode_message,
    decode_payload,
    decode_sdp,
)

JOIN_ROOM = msgspec.json.Decoder(JoinRoomPayload)
ICE_CANDIDATE = msgspec.json.Decoder(IceCandidate)


def room_id(text: str | bytes) -> str:
    return decode_payload(JOIN_ROOM, decode_message(text).payload).room_id


def test_the_keepalive_has_no_payload() -> None:
    assert Message(MessageType.PING).encode() == b'{"type":"ping"}'


def test_messages_are_compact_with_their_keys_in_order() -> None:
    assert Message(
        MessageType.SDP_OFFER, SDP("a", Raw('"v=0\\r\\n<é>"'.encode()))
    ).encode().decode() == ('{"type":"offer","payload":{"client_id":"a","sdp":"v=0\\r\\n<é>"}}')
    assert Message(MessageType.ICE_CANDIDATE, IceCandidate("c", "a")).encode() == (
        b'{"type":"ice-candidate","payload":'
        b'{"candidate":"c","client_id":"a","sdpMLineIndex":null,"sdpMid":null}}'
    )
    candidate = IceCandidate("c", "a", 1, "audio", "u")
    assert Message(MessageType.ICE_CANDIDATE, candidate).encode() == (
        b'{"type":"ice-candidate","payload":{"candidate":"c","client_id":"a",'
        b'"sdpMLineIndex":1,"sdpMid":"audio","usernameFragment":"u"}}'
    )


@pytest.mark.parametrize(
    ("escaped", "read"),
    [
        (r"x\ud83dy", "x\ufffdy"),
        (r"x\ude00y", "x\ufffdy"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\\ud83d", r"\ud83d"),
        (r"\ud83d\ude00", "\U0001f600"),
    ],
)
def test_half_a_surrogate_pair_is_read_as_replacement_character(escaped: str, read: str) -> None:
    text = f'{{"type":"join","payload":{{"room_id":"{escaped}"}}}}'
    assert room_id(text) == room_id(text.encode()) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"type":5}',
        "{'type':'join'}",
        '{"type":"join"}x',
        b"\xff",
        b'{"type":"\xff"}',
        b'{"type":"offer","payload":{"client_id":"a","sdp":"\xff"}}',
        b'\xef\xbb\xbf{"type":"join"}',
        '{"type":"join"}'.encode("utf-16"),
        '{"type":"\\ud83d","x":NaN}',
        '{"x":' * 100_000,
        '{"type":"join","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidMessageError):
        decode_message(text)


@pytest.mark.parametrize("text", ['{"payload":{}}', '{"type":null}', "{}"])
def test_a_missing_type_is_none(text: str) -> None:
    assert decode_message(text).type is None


@pytest.mark.parametrize(
    "payload",
    ["null", "[]", '"x"', "{}", '{"room_id":null}', '{"room_id":5}', '{"Room_id":"r"}'],
)
def test_a_payload_of_another_shape_is_refused(payload: str) -> None:
    with pytest.raises(InvalidPayloadError):
        room_id(f'{{"type":"join","payload":{payload}}}')


def test_a_missing_payload_is_refused() -> None:
    with pytest.raises(InvalidPayloadError):
        room_id('{"type":"join"}')


@pytest.mark.parametrize("sdp", ["5", "null", "true", "{}", "[]", '["x"]'])
def test_an_sdp_that_is_no_string_is_refused(sdp: str) -> None:
    payload = Raw(f'{{"client_id":"a","sdp":{sdp}}}'.encode())
    with pytest.raises(InvalidPayloadError):
        decode_sdp(payload)


@pytest.mark.parametrize("index", ["-1", "65536", "1.0", "1e0", '"0"', "true", "99999999999999999"])
def test_a_line_index_that_is_no_unsigned_short_is_refused(index: str) -> None:
    payload = Raw(f'{{"candidate":"","client_id":"a","sdpMLineIndex":{index}}}'.encode())
    with pytest.raises(InvalidPayloadError):
        decode_payload(ICE_CANDIDATE, payload)

"""The messages that clients send, and those that they receive."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec import UNSET, Raw

from model.fold import MAX_MARKS
from model.message import (
    MAX_SURROGATES_SIZE,
    IceCandidatePayload,
    InvalidMessageError,
    InvalidPayloadError,
    Message,
    MessageError,
    MessageType,
    SDPPayload,
    decode_ice_candidate,
    decode_join_room,
    decode_message,
    decode_sdp,
)


def room_id(text: str | bytes) -> str:
    return decode_join_room(decode_message(text).payload).room_id


def test_the_keepalive_has_no_payload() -> None:
    assert Message(MessageType.PING).encode() == b'{"type":"ping"}'


def test_messages_are_compact_with_their_keys_in_order() -> None:
    assert Message(
        MessageType.SDP_OFFER, SDPPayload("a", Raw('"v=0\\r\\n<é>"'.encode()))
    ).encode().decode() == ('{"type":"offer","payload":{"client_id":"a","sdp":"v=0\\r\\n<é>"}}')
    assert Message(MessageType.ICE_CANDIDATE, IceCandidatePayload("c", "a")).encode() == (
        b'{"type":"ice-candidate","payload":'
        b'{"candidate":"c","client_id":"a","sdpMLineIndex":null,"sdpMid":null}}'
    )
    candidate = IceCandidatePayload("c", "a", 1, "audio", "u")
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
        (r"\\\ud83d\\", "\\\ufffd\\"),
        (r"\uDE00\\\uD83D\\uDE00", "\ufffd\\\ufffd\\uDE00"),
        (r"\u005cud83d\ud83d", "\\ud83d\ufffd"),
        (r"\ud83d\ude00\ude00", "\U0001f600\ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
    ],
)
def test_half_a_surrogate_pair_is_read_as_replacement_character(escaped: str, read: str) -> None:
    text = f'{{"type":"join","payload":{{"room_id":"{escaped}"}}}}'
    assert room_id(text) == room_id(text.encode()) == read


def test_half_a_surrogate_pair_is_refused_in_a_long_message() -> None:
    """This holds beyond 64 KiB, whatever the characters. Halves that make a pair are read."""
    rest = '"x":"%s","type":"join","payload":{"room_id":"\\ud83d%s"}}'
    size = MAX_SURROGATES_SIZE - len("{" + rest % ("", ""))
    assert room_id("{" + rest % ("x" * size, "")) == "\ufffd"
    assert room_id("{" + rest % ("é" * (size // 2), "")) == "\ufffd"
    for text in ("{" + rest % ("x" * (size + 1), ""), "{" + rest % ("é" * (size // 2 + 1), "")):
        with pytest.raises(InvalidMessageError):
            decode_message(text)
    assert room_id("{" + rest % ("x" * size, "\\ude00")) == "\U0001f600"


def test_half_a_surrogate_pair_is_read_among_many_keys() -> None:
    """That is so whatever else is in the message, as long as its keys are spelled exactly."""
    rest = '"x":{"y":[]},' * (60_000 // 13)
    assert room_id(f'{{{rest}"type":"join","payload":{{"room_id":"\\ud83d"}}}}') == "\ufffd"


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
    ["null", "[]", '"x"', "{}", '{"room_id":null}', '{"room_id":5}'],
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
        decode_ice_candidate(payload)


# Keys in any case


def candidate(payload: str) -> IceCandidatePayload:
    return decode_ice_candidate(Raw(payload.encode()))


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        ('"room_id":"exact","ROOM_ID":"other"', "exact"),
        ('"ROOM_ID":"other","room_id":"exact"', "exact"),
        ('"ROOM_ID":5,"room_id":"exact","Room_Id":null', "exact"),
        ('"ROOM_ID":"first","Room_Id":"last"', "last"),
        ('"Room_Id":"first","ROOM_ID":"second","Room_Id":"last"', "last"),
        ('"room_id":"first","ROOM_ID":"other","room_id":"last"', "last"),
        ('"room_id":5,"room_id":"last"', "last"),
        (r'"\u0052oom_\u0049d":"escaped"', "escaped"),
        ('"room_ID":"r","x":{"room_id":"deeper"},"room id":1,"roomid":2,"":3', "r"),
    ],
)
def test_an_exact_key_beats_one_in_another_case_and_of_equals_the_last(
    payload: str, read: str
) -> None:
    assert room_id(f'{{"type":"join","payload":{{{payload}}}}}') == read
    envelope = payload.replace("room_id", "type").replace("ROOM_ID", "TYPE")
    envelope = envelope.replace("Room_Id", "Type").replace("room_ID", "tYpe")
    if "Type" in envelope:
        assert decode_message(f"{{{envelope}}}").type == read


@pytest.mark.parametrize("payload", ['"room_id":null,"ROOM_ID":"r"', '"ROOM_ID":"r","room_id":5'])
def test_an_exact_key_with_a_wrong_value_is_not_replaced(payload: str) -> None:
    with pytest.raises(InvalidPayloadError):
        room_id(f'{{"type":"join","payload":{{{payload}}}}}')


WHOLE: dict[str, Any] = {
    "candidate": "c",
    "client_id": "a",
    "sdpMLineIndex": 1,
    "sdpMid": "m",
    "usernameFragment": "u",
}


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.swapcase])
@pytest.mark.parametrize("key", WHOLE)
def test_every_key_of_a_candidate_matches_in_any_case(key: str, change: Any) -> None:
    other = {change(name) if name == key else name: value for name, value in WHOLE.items()}
    assert candidate(json.dumps(other)) == IceCandidatePayload("c", "a", 1, "m", "u")


def test_keys_of_other_messages_are_unknown_to_a_candidate() -> None:
    for more in ('"type":"x"', '"TYPE":"x"', '"sdp":5', '"payload":null', '"room_id":"r"'):
        found = candidate(f'{{"client_id":"a","candidate":"c",{more}}}')
        assert found == IceCandidatePayload("c", "a")
        assert found.usernameFragment is UNSET


def test_only_characters_that_go_folds_match() -> None:
    """Of all of Unicode, only the long s stands for a letter of a key (encoding/json, foldName)."""
    for key in WHOLE:
        rest = {name: value for name, value in WHOLE.items() if name != key}
        # These are the spellings of the key in which some character is not ASCII.
        characters = [chr(code) for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000]
        folding = [it for it in characters if it.casefold().isascii() and it != "ſ"]
        wrong = [
            key[:start] + it + key[end:]
            for it in [*folding, "ı", "İ", "é", "\u0301"]
            for start in range(len(key))
            for end in range(start, len(key) + 1)
        ]
        right = _values(rest | {"client_id": "a"})
        for first in range(0, len(wrong), 500):
            some = dict.fromkeys(wrong[first : first + 500], "wrong")
            assert _values(rest | some | {"client_id": "a"}) == right
        if "s" in key:
            long = rest | {key.replace("s", "ſ"): WHOLE[key]}
            assert candidate(json.dumps(long)) == IceCandidatePayload("c", "a", 1, "m", "u")


def _values(payload: dict[str, Any]) -> IceCandidatePayload:
    return candidate(json.dumps(payload))


@pytest.mark.parametrize("payload", ['{"client_id":"a"}', '{"client_id":"a","candidate":null}'])
def test_a_candidate_that_is_absent_or_null_is_the_end_of_candidates(payload: str) -> None:
    assert candidate(payload) == IceCandidatePayload("", "a")
    assert candidate(payload.replace("candidate", "Candidate")) == IceCandidatePayload("", "a")
    assert candidate(payload.replace("}", ',"CANDIDATE":"c"}')).candidate == (
        "" if "null" in payload else "c"
    )


# In one pass or two


def read(text: str) -> object:
    """Return the payload of a message, or what its client is told."""
    decoders: dict[str | None, Callable[[Any], object]] = {
        "join": decode_join_room,
        "offer": decode_sdp,
        "answer": decode_sdp,
        "ice-candidate": decode_ice_candidate,
    }
    try:
        message = decode_message(text)
        return message.type, decoders.get(message.type, lambda payload: None)(message.payload)
    except MessageError as error:
        return error.wire_text


MEMBERS = {
    "room_id": ['"r"', "5", "null"],
    "client_id": ['"a"', "5", "null"],
    "sdp": ['"v=0"', r'"\ud83d"', "5", "null"],
    "candidate": ['"c"', "5", "null"],
    "sdpMLineIndex": ["1", "-1", "null"],
    "sdpMid": ['"m"', "5", "null"],
    "usernameFragment": ['"u"', "5", "null"],
}


@pytest.mark.parametrize("message_type", ["join", "offer", "answer", "ice-candidate", "ping", "x"])
def test_a_message_is_read_alike_whether_its_own_keys_are_spelled_exactly(
    message_type: str,
) -> None:
    """If they are, message and payload are decoded together; otherwise one after the other."""
    random = Random(message_type)
    refused = 0
    for _ in range(600):
        members = []
        for key, values in MEMBERS.items():
            value = values[0] if random.random() < 0.9 else random.choice(values)
            spelling = key if random.random() < 0.9 else key.upper()
            members += [f'"{spelling}":{value}'] * (random.random() < 0.9)
        random.shuffle(members)
        payload = f"{{{','.join(members)}}}"
        for exact in (
            f'{{"type":"{message_type}","payload":{payload}}}',
            f'{{"payload":{payload},"type":"{message_type}"}}',
            f'{{"type":"x","payload":{payload},"x":"","type":"{message_type}"}}',
            f'{{"type":"{message_type}","payload":null,"payload":{payload}}}',
        ):
            found = read(exact)
            assert found == read(exact.replace('"type"', '"Type"')), exact
            assert found == read(exact.replace('"payload"', '"Payload"')), exact
            refused += isinstance(found, str)
    assert message_type in ("ping", "x") or 200 < refused < 1800


# Objects that would take long

MIB = 1 << 20

DEAR = {
    "unknown keys": '"a":1',
    "empty keys": '"":1',
    "known keys": '"type":null,"room_id":1,"sdp":1,"candidate":1',
    "keys in capitals": '"TYPE":1,"ROOM_ID":1,"SDP":1,"CANDIDATE":1',
    "keys in another case": '"Type":1,"Room_Id":1,"Sdp":1,"Candidate":1',
    "escaped keys": r'"\u0061":1',
    "keys beyond ASCII": '"ſ":1',
    "spaced keys": ' "a" : 1 ',
    "lists": f'"a":{"[" * 500}{"]" * 500}',
    "numbers": f'"a":[{"1," * 500}1]',
}


def decode_offer(text: str) -> SDPPayload:
    return decode_sdp(decode_message(text).payload)


@pytest.mark.parametrize("members", DEAR.values(), ids=DEAR)
def test_an_object_that_would_take_long_is_not_read_in_any_case(members: str) -> None:
    """It is refused before it is searched for keys in another case."""
    text = "{" + ",".join([members] * (MIB // len(members))) + "}"
    with pytest.raises(InvalidMessageError, match="too many"):
        decode_message(text)
    for decode in (decode_join_room, decode_sdp, decode_ice_candidate):
        with pytest.raises(InvalidPayloadError, match="too many"):
            decode(Raw(text.encode()))


def test_what_would_take_long_is_read_if_its_keys_are_spelled_exactly() -> None:
    rest = ",".join(['"a":1'] * 10_000)
    text = f'{{{rest},"type":"offer","payload":{{{rest},"client_id":"a","sdp":"x"}}}}'
    assert decode_offer(text) == SDPPayload("a", Raw(b'"x"'))


@pytest.mark.parametrize("line", [r"a=ice-pwd:x\r\n", r"a=msid:{9} {a}\r\n" + "a=x" * 1000])
def test_a_long_description_is_read_in_any_case(line: str) -> None:
    """Firefox has a few brackets in each media section."""
    sdp = line * (MIB // len(line))
    text = f'{{"Type":"offer","Payload":{{"Client_Id":"a","SDP":"{sdp}"}}}}'
    assert decode_offer(text) == SDPPayload("a", Raw(f'"{sdp}"'.encode()))


def test_an_object_is_read_in_any_case_up_to_a_number_of_marks() -> None:
    """Each mark in its strings counts too: quotation marks, commas and opening brackets."""
    text = '{"Type":"a","":",[{%s","payload":0}'
    rest = "," * (MAX_MARKS - sum(map(text.count, '",[{')))
    assert decode_message(text % rest).type == "a"
    for more in ",[{":
        with pytest.raises(InvalidMessageError, match="too many"):
            decode_message(text % (rest + more))

"""The frames that the load generator builds and reads."""

import json
import struct
from collections.abc import Iterable

import pytest

from bench import frames


def read(chunks: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Return the messages that a reader makes of these chunks."""
    seen: list[tuple[str, bytes]] = []
    reader = frames.FrameReader(
        receive=lambda data, start, end: seen.append(("message", data[start:end])),
        on_ping=lambda payload: seen.append(("ping", payload)),
        on_close=lambda payload: seen.append(("close", payload)),
    )
    for chunk in chunks:
        reader.feed(chunk)
    return seen


def server_frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return an unmasked frame, as servers send it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def test_masking_twice_gives_the_payload_back() -> None:
    payload = bytes(range(256)) + b"rest"
    masked = frames.mask(payload)
    assert masked == bytes(byte ^ frames.MASK[i % 4] for i, byte in enumerate(payload))
    assert frames.mask(masked) == payload
    assert frames.mask(b"") == b""


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x80"),
        (125, b"\x81\xfd"),
        (126, b"\x81\xfe\x00\x7e"),
        (65535, b"\x81\xfe\xff\xff"),
        (65536, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_shortest_header_for_its_length(size: int, header: bytes) -> None:
    payload = b"x" * size
    assert frames.frame(payload) == header + frames.MASK + frames.mask(payload)


@pytest.mark.parametrize("lead", range(5))
def test_a_filled_template_is_the_frame_of_the_numbered_message(lead: int) -> None:
    """This holds wherever in the four bytes of the masking key the number begins."""

    def payload(number: int) -> bytes:
        return b"." * lead + b"bench:%014d and the rest" % number

    template = frames.Template(payload(0))
    for number in (0, 7, 10**13, 10**14 - 1):
        assert template.fill(number) == frames.frame(payload(number))


def test_the_number_of_a_message_is_found_inside_its_bounds_only() -> None:
    data = b'{"sdp":"bench:00000000000042 x"}'
    assert frames.number_in(data, 0, len(data)) == 42
    assert frames.number_in(b'{"type":"ping"}' + data, 0, 15) == -1


@pytest.mark.parametrize("size", [0, 1, 125, 126, 2500, 65535, 65536])
def test_a_message_arrives_whole_however_it_is_cut(size: int) -> None:
    payload = b"x" * size
    data = server_frame(payload)
    cuts = {0, 1, 2, 3, 4, 9, 10, 11, len(data) // 2, len(data) - 1}
    for cut in cuts:
        assert read([data[:cut], data[cut:]]) == [("message", payload)]
    assert read(bytes([byte]) for byte in data[:300]) == read([data[:300]])


def test_messages_in_one_segment_arrive_one_by_one_and_in_order() -> None:
    data = b"".join(server_frame(b"%d" % i) for i in range(20))
    assert read([data]) == [("message", b"%d" % i) for i in range(20)]


def test_fragments_are_joined_and_a_ping_may_come_between_them() -> None:
    chunks = [
        server_frame(b"one ", 0x01),
        server_frame(b"two ", 0x00),
        server_frame(b"?", 0x89),
        server_frame(b"three", 0x80),
        server_frame(b"next"),
    ]
    expected = [("ping", b"?"), ("message", b"one two three"), ("message", b"next")]
    assert read(chunks) == expected
    assert read([b"".join(chunks)]) == expected


def test_a_close_is_told_and_a_pong_is_not() -> None:
    assert read([server_frame(b"", 0x8A) + server_frame(b"\x03\xe8", 0x88)]) == [
        ("close", b"\x03\xe8")
    ]


@pytest.mark.parametrize(
    "data", [frames.frame(b"masked"), server_frame(b"", 0xC1), server_frame(b"", 0x83)]
)
def test_what_no_server_may_send_is_refused(data: bytes) -> None:
    with pytest.raises(frames.ProtocolError):
        read([data])


@pytest.mark.parametrize("size", [300, 1024, 2500, 10_000])
def test_a_description_is_as_long_as_asked_and_addressed(size: int) -> None:
    data = frames.description("offer", "c" * 20, size)
    message = json.loads(data)
    assert len(data) == size
    assert message["type"] == "offer"
    assert message["payload"]["client_id"] == "c" * 20
    assert message["payload"]["sdp"].startswith("v=0\r\n")
    assert message["payload"]["sdp"].endswith("\r\n")
    assert frames.number_in(data, 0, size) == 0


def test_a_description_too_short_for_its_frame_is_as_short_as_can_be() -> None:
    data = frames.description("answer", "c", 0)
    assert json.loads(data)["payload"]["sdp"].endswith("t=0 0\r\n")


def test_a_candidate_has_the_fields_of_one() -> None:
    message = json.loads(frames.candidate("c"))
    assert message["type"] == "ice-candidate"
    assert set(message["payload"]) == {"candidate", "sdpMid", "sdpMLineIndex", "client_id"}

"""The messages on the wire and what they carry (model/message.go).

Every message is one JSON object `{"type": …, "payload": …}` in one WebSocket message. The fields of
the classes are the keys of the JSON, in the order in which they are sent, so their names are those
of the wire and of WebRTC's `RTCIceCandidateInit`. The classes are msgspec's kind of dataclass,
which is made six times faster: passing a message on makes four of them.

Keys of what clients send match in any case, as encoding/json matches them: a key that is spelled
exactly beats one in another case, and of equals the last one counts.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

T = TypeVar("T", bound=Struct)


class MessageType(StrEnum):
    """What a message is about.

    The seven types that the original names, then three that it spells out where it needs them.
    """

    NOTIFY_CLIENT_ID = "notify-client-id"
    NEW_CLIENT = "new-client"
    LEAVE_CLIENT = "leave-client"
    SDP_OFFER = "offer"
    SDP_ANSWER = "answer"
    ICE_CANDIDATE = "ice-candidate"
    ERROR = "error"
    JOIN = "join"
    PING = "ping"
    PONG = "pong"


class MessageError(Exception):
    """A client's message cannot be understood."""


class InvalidMessageError(MessageError):
    """It is no JSON object, or its `type` is no string."""


class UnknownMessageTypeError(MessageError):
    """Its `type` is missing or none that a client sends."""


class InvalidPayloadError(MessageError):
    """Its `payload` is missing or not of the shape that its `type` calls for."""


class ReceiveMessage(Struct, frozen=True):
    """A message from a client, the payload not decoded yet: what it must be depends on the type."""

    type: str | None = None
    payload: Raw | UnsetType = UNSET


class JoinRoomPayload(Struct, frozen=True):
    room_id: str


class SDP(Struct, frozen=True):
    """An offer's or answer's session description (RFC 8829).

    `client_id` is whom it is for when it comes in, and whom it is from when it goes out. `sdp` is a
    JSON string, quotes and escapes included: undoing and redoing the escapes of its many lines
    would be a twelfth of what it costs to pass it on.
    """

    client_id: str
    sdp: Raw


# Unknown fields are forbidden because some of the known ones may be missing: where none is unknown,
# none is spelled otherwise, and there is nothing to look for.
class IceCandidate(Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate as browsers give it (`RTCIceCandidate.toJSON()`); `client_id` as in `SDP`.

    `candidate` is empty at the end of candidates. `sdpMid` and `sdpMLineIndex` are `null` on the
    wire when absent, `usernameFragment` stays absent.
    """

    candidate: str
    client_id: str
    sdpMLineIndex: Annotated[int, Meta(ge=0, le=65535)] | None = None  # noqa: N815
    sdpMid: str | None = None  # noqa: N815
    usernameFragment: str | UnsetType | None = UNSET  # noqa: N815


class ClientID(Struct, frozen=True):
    """Payload of the messages that tell of one client."""

    client_id: str


class Error(Struct, frozen=True):
    """Payload of an error message: a fixed text, never anything that came from a client."""

    error: str


class Message(Struct, frozen=True):
    """A message to a client. The keepalive ping has no payload, and no such key on the wire."""

    type: MessageType
    payload: ClientID | SDP | IceCandidate | Error | UnsetType = UNSET

    def encode(self) -> bytes:
        """Compact JSON in UTF-8."""
        return _ENCODER.encode(self)


_ENCODER = msgspec.json.Encoder()
_RECEIVE_MESSAGE = msgspec.json.Decoder(ReceiveMessage)
_JOIN_ROOM_PAYLOAD = msgspec.json.Decoder(JoinRoomPayload)
_SDP = msgspec.json.Decoder(SDP)
_ICE_CANDIDATE = msgspec.json.Decoder(IceCandidate)

# A candidate that is missing or null, as browsers give it when there are no more.
_END_OF_CANDIDATES = {"candidate": Raw(b'""')}

MAX_SURROGATES_SIZE = 64 * 1024
"""Bytes of a message up to which half a surrogate pair is read as U+FFFD."""


def decode_message(data: str | bytes) -> ReceiveMessage:
    """The message as far as it can be read without knowing its type. Raises InvalidMessageError.

    Half a surrogate pair, which browsers escape as `\\ud83d` where a text was cut inside an emoji,
    is read as U+FFFD like the original reads it, unless the message is long.
    """
    try:
        # Bytes may be no UTF-8, and what is in them is passed on.
        text = data if isinstance(data, str) else data.decode()
        try:
            return _decode_message(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # A second reading takes a hundred times as long as the first.
            if len(text.encode()) > MAX_SURROGATES_SIZE:
                raise
            # msgspec refuses such escapes, also in a payload that it only passes over: hence a
            # second attempt here, and none in decode_payload.
            return _decode_message(_without_lone_surrogates(text))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None


def _decode_message(text: str) -> ReceiveMessage:
    try:
        message = _RECEIVE_MESSAGE.decode(text)
        if message.type is not None and message.payload is not UNSET:
            return message
    except msgspec.ValidationError:
        pass
    return _decode_any_case(_RECEIVE_MESSAGE, text)


def _without_lone_surrogates(text: str) -> str:
    """The same JSON with U+FFFD for each escape of half a pair. Raises ValueError if it is none."""
    unescaped = json.dumps(json.loads(text), ensure_ascii=False)
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_join_room(payload: Raw | UnsetType) -> JoinRoomPayload:
    """What the payload of a join holds. Raises InvalidPayloadError."""
    return decode_payload(_JOIN_ROOM_PAYLOAD, payload)


def decode_sdp(payload: Raw | UnsetType) -> SDP:
    """What the payload of an offer or answer holds. Raises InvalidPayloadError."""
    description = decode_payload(_SDP, payload)
    if memoryview(description.sdp)[0] != ord('"'):
        raise InvalidPayloadError("sdp is no string")
    return description


def decode_ice_candidate(payload: Raw | UnsetType) -> IceCandidate:
    """What the payload of a candidate holds. Raises InvalidPayloadError.

    A `candidate` that is absent or null, as where browsers end their candidates, is read as "".
    """
    return decode_payload(_ICE_CANDIDATE, payload, _END_OF_CANDIDATES)


def decode_payload(
    decoder: msgspec.json.Decoder[T],
    payload: Raw | UnsetType,
    absent: Mapping[str, Raw] | None = None,
) -> T:
    """What the payload holds. Raises InvalidPayloadError.

    `absent` has what is read for keys that are missing or null, though `decoder` wants them.
    """
    if payload is UNSET:
        raise InvalidPayloadError("no payload")
    try:
        try:
            return decoder.decode(payload)
        except msgspec.ValidationError:
            return _decode_any_case(decoder, payload, absent)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidPayloadError(str(error)) from None


# Keys in any case


class _Key(StrEnum):
    """What the key of an object is read as: a name that we know, another case of it, or neither."""

    @classmethod
    def _missing_(cls, value: object) -> "_Key":
        # casefold also makes letters of some ligatures, none of which is in a name. So it matches
        # what Go does: any case, and the long s.
        return _OTHER_CASES.get(str(value).casefold(), _UNKNOWN)


_NAMES = {
    name
    for fields in (ReceiveMessage, JoinRoomPayload, SDP, IceCandidate)
    for name in fields.__struct_fields__
}
# A name in capitals stands for every spelling that differs from it in case.
_SPELLINGS = {"unknown": "", **{key: key for name in _NAMES for key in (name, name.upper())}}
_KEY: Any = _Key("_KEY", _SPELLINGS)  # type: ignore[call-arg]  # It has no members yet.
_UNKNOWN: _Key = _KEY("")
_OTHER_CASES: dict[str, _Key] = {name.casefold(): _KEY(name.upper()) for name in _NAMES}
_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[_KEY, Raw])
_NULL = Raw(b"null")


def _decode_any_case(
    decoder: msgspec.json.Decoder[T], text: str | Raw, absent: Mapping[str, Raw] | None = None
) -> T:
    """What `decoder` makes of the object when its keys are spelled exactly and no others are there.

    Takes some 2 µs longer than `decoder` alone, and up to 35 ms for a MiB of keys. Raises as that.
    """
    found = _OBJECT.decode(text)
    members = dict(absent or {})
    for name in decoder.type.__struct_fields__:
        value = found.get(name, found.get(name.upper()))
        if value is not None and not (name in members and value == _NULL):
            members[name] = value
    return decoder.decode(_ENCODER.encode(members))

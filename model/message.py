"""The messages on the wire and what they carry (model/message.go).

Every message is one JSON object `{"type": …, "payload": …}` in one WebSocket message. The fields of
the classes are the keys of the JSON, in the order in which they are sent, so their names are those
of the wire and of WebRTC's `RTCIceCandidateInit`. The classes are msgspec's kind of dataclass,
which is made six times faster: passing a message on makes four of them.
"""

import json
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

T = TypeVar("T")


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


class IceCandidate(Struct, frozen=True):
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


def decode_message(data: str | bytes) -> ReceiveMessage:
    """The message as far as it can be read without knowing its type. Raises InvalidMessageError.

    Half a surrogate pair, which browsers escape as `\\ud83d` where a text was cut inside an emoji,
    is read as U+FFFD like the original reads it.
    """
    try:
        # Bytes may be no UTF-8, and what is in them is passed on.
        text = data if isinstance(data, str) else data.decode()
        try:
            return _RECEIVE_MESSAGE.decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # msgspec refuses such escapes, also in a payload that it only passes over: hence a
            # second attempt here, and none in decode_payload.
            return _RECEIVE_MESSAGE.decode(_without_lone_surrogates(text))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None


def _without_lone_surrogates(text: str) -> str:
    """The same JSON with U+FFFD for each escape of half a pair. Raises ValueError if it is none."""
    unescaped = json.dumps(json.loads(text), ensure_ascii=False)
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_payload(decoder: msgspec.json.Decoder[T], payload: Raw | UnsetType) -> T:
    """What the payload holds. Raises InvalidPayloadError."""
    if payload is UNSET:
        raise InvalidPayloadError("no payload")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidPayloadError(str(error)) from None


_SDP = msgspec.json.Decoder(SDP)


def decode_sdp(payload: Raw | UnsetType) -> SDP:
    """What the payload of an offer or answer holds. Raises InvalidPayloadError."""
    description = decode_payload(_SDP, payload)
    if memoryview(description.sdp)[0] != ord('"'):
        raise InvalidPayloadError("sdp is no string")
    return description

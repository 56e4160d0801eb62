"""The messages on the wire and what they carry (model/message.go).

Every message is one JSON object `{"type": …, "payload": …}` in one WebSocket message. The fields of
the dataclasses are the keys of the JSON, in the order in which they are sent, so their names are
those of the wire and of WebRTC's `RTCIceCandidateInit`.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

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


@dataclass(frozen=True, slots=True)
class ReceiveMessage:
    """A message from a client, its payload not decoded yet: what that must be depends on the
    type."""

    type: str | None = None
    payload: Raw | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class JoinRoomPayload:
    room_id: str


@dataclass(frozen=True, slots=True)
class SDP:
    """An offer's or answer's session description (RFC 8829), passed on as it is.

    `client_id` is whom it is for when it comes in, and whom it is from when it goes out.
    """

    client_id: str
    sdp: str


@dataclass(frozen=True, slots=True)
class IceCandidate:
    """A candidate as browsers give it (`RTCIceCandidate.toJSON()`); `client_id` as in `SDP`.

    `candidate` is empty at the end of candidates. `sdpMid` and `sdpMLineIndex` are `null` on the
    wire when absent, `usernameFragment` stays absent.
    """

    candidate: str
    client_id: str
    sdpMLineIndex: Annotated[int, Meta(ge=0, le=65535)] | None = None  # noqa: N815
    sdpMid: str | None = None  # noqa: N815
    usernameFragment: str | UnsetType | None = UNSET  # noqa: N815


@dataclass(frozen=True, slots=True)
class ClientID:
    """Payload of the messages that tell of one client."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Error:
    """Payload of an error message: a fixed text, never anything that came from a client."""

    error: str


@dataclass(frozen=True)
class Message:
    """A message to a client. The keepalive ping has no payload, and no such key on the wire."""

    type: MessageType
    payload: ClientID | SDP | IceCandidate | Error | UnsetType = UNSET

    @cached_property
    def encoded(self) -> bytes:
        """Compact JSON in UTF-8, made when first asked for: a message to many clients is encoded
        once."""
        return msgspec.json.encode(self)


_RECEIVE_MESSAGE = msgspec.json.Decoder(ReceiveMessage)


def decode_message(data: str | bytes) -> ReceiveMessage:
    """The message as far as it can be read without knowing its type. Raises InvalidMessageError.

    Half a surrogate pair, which browsers escape as `\\ud83d` where a text was cut inside an emoji,
    is read as U+FFFD like the original reads it.
    """
    try:
        try:
            return _RECEIVE_MESSAGE.decode(data)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # msgspec refuses such escapes, also in a payload that it only passes over: hence a
            # second attempt here, and none in decode_payload.
            return _RECEIVE_MESSAGE.decode(_without_lone_surrogates(data))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None


def _without_lone_surrogates(data: str | bytes) -> str:
    """The same JSON with U+FFFD for each escape of half a pair. Raises ValueError when it is no
    JSON."""
    text = data if isinstance(data, str) else data.decode()
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

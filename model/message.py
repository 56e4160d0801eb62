"""The messages on the wire and their payloads (model/message.go, handler/handler.go).

Every message is one JSON object `{"type": …, "payload": …}` in one WebSocket message. The fields of
each dataclass are the keys of its JSON object, in the order in which they are sent. Their names are
those of the wire and of WebRTC's `RTCIceCandidateInit`, hence the camel case. Encoding and decoding
is msgspec's work; keys of what clients send match in any case (see `model.fold`).
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from model.fold import Decoder, may_have

T = TypeVar("T")

MAX_SURROGATES_SIZE = 64 * 1024
"""Bytes of a message up to which half a surrogate pair is read as U+FFFD."""

MAX_ONE_PASS_SIZE = 64 * 1024
"""Characters of a message up to which it may be decoded together with its payload."""


class MessageType(StrEnum):
    """What a message is about.

    The seven types that the original names, then two that it has as literals, and the `pong` with
    which some clients answer a `ping`.
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
    """A client's message cannot be read. `wire_text` is what the client is told."""

    wire_text: ClassVar[str]


class InvalidMessageError(MessageError):
    """The message is not a JSON object, or its `type` is not a string."""

    wire_text = "invalid message"


class UnknownMessageTypeError(MessageError):
    """The message has no `type`, or one that no client sends."""

    wire_text = "unknown message type"


class InvalidPayloadError(MessageError):
    """The `payload` is missing, or does not have the shape that the `type` calls for."""

    wire_text = "invalid payload"


@dataclass(slots=True)
class JoinRoomPayload:
    room_id: str


@dataclass(slots=True)
class SDPPayload:
    """A session description (RFC 8829), of an offer or an answer.

    `client_id` is the addressee in what a client sends, and the sender in what it receives. `sdp`
    is a JSON string, quotes and escapes included: it is only passed on, and decoding and encoding
    its many escaped line breaks would be a twelfth of the cost of a relay.
    """

    client_id: str
    sdp: Raw


@dataclass(slots=True)
class IceCandidatePayload:
    """A candidate as browsers give it (`RTCIceCandidate.toJSON()`).

    `client_id` is the addressee or the sender, as in `SDPPayload`. An empty `candidate` is the end
    of candidates. Without a value `sdpMLineIndex` and `sdpMid` are sent as `null`; an unset
    `usernameFragment` is not sent.
    """

    candidate: str
    client_id: str
    sdpMLineIndex: Annotated[int, Meta(ge=0, le=65535)] | None = None
    sdpMid: str | None = None
    usernameFragment: str | UnsetType | None = UNSET


EncodedPayload = Raw | UnsetType
"""A payload that is still JSON; UNSET if the message has none."""


@dataclass(slots=True)
class ReceiveMessage:
    """A message from a client. Which payload it must have depends on its type."""

    type: str | None = None
    payload: EncodedPayload = UNSET


class JoinRoom(Struct, tag_field="type", tag=str(MessageType.JOIN)):
    """A message from a client whose keys are spelled exactly, as those of nearly all are.

    Together with its payload it is decoded in one pass, and the other types are likewise.
    """

    payload: JoinRoomPayload
    type: ClassVar = MessageType.JOIN


class SDPOffer(Struct, tag_field="type", tag=str(MessageType.SDP_OFFER)):
    payload: SDPPayload
    type: ClassVar = MessageType.SDP_OFFER


class SDPAnswer(Struct, tag_field="type", tag=str(MessageType.SDP_ANSWER)):
    payload: SDPPayload
    type: ClassVar = MessageType.SDP_ANSWER


class IceCandidate(Struct, tag_field="type", tag=str(MessageType.ICE_CANDIDATE)):
    payload: IceCandidatePayload
    type: ClassVar = MessageType.ICE_CANDIDATE


ExactRequest = JoinRoom | SDPOffer | SDPAnswer | IceCandidate
Request = ExactRequest | ReceiveMessage

ReceivedPayload = EncodedPayload | JoinRoomPayload | SDPPayload | IceCandidatePayload
"""A payload that is still JSON, or the one that the message's type calls for."""


@dataclass(slots=True)
class ClientIDPayload:
    """Payload of the messages that tell of one client."""

    client_id: str


@dataclass(slots=True)
class ErrorPayload:
    """Payload of an error message: a fixed text, never anything that came from a client."""

    error: str


@dataclass(slots=True)
class Message:
    """A message to a client. The keepalive ping has no payload, and no such key on the wire."""

    type: MessageType
    payload: ClientIDPayload | SDPPayload | IceCandidatePayload | ErrorPayload | UnsetType = UNSET

    def encode(self) -> bytes:
        """Return the message as compact JSON in UTF-8."""
        return _ENCODER.encode(self)


_D = r"\\u[dD]"  # The search for it is fast, since all that is searched for begins with it.
_HIGH, _LOW = "[89abAB][0-9a-fA-F]{2}", "[c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATE = re.compile(f"{_D}(?:{_HIGH}(?!{_D}{_LOW})|(?<!{_D}{_HIGH}{_D}){_LOW})")

_ENCODER = msgspec.json.Encoder()
_HAVE_PAYLOAD = frozenset(
    {MessageType.JOIN, MessageType.SDP_OFFER, MessageType.SDP_ANSWER, MessageType.ICE_CANDIDATE}
)
_EXACT: msgspec.json.Decoder[ExactRequest] = msgspec.json.Decoder(ExactRequest)
_RECEIVE_MESSAGE = Decoder(ReceiveMessage)
_JOIN_ROOM_PAYLOAD = Decoder(JoinRoomPayload)
_SDP_PAYLOAD = Decoder(SDPPayload)
# Browsers end their candidates with one that is null or absent.
_ICE_CANDIDATE_PAYLOAD = Decoder(IceCandidatePayload, defaults={"candidate": Raw(b'""')})


def decode_message(data: str | bytes) -> Request:
    r"""Decode a message, and its payload too if that is as it should be.

    Half a surrogate pair, which browsers escape as `\ud83d` where a text was cut inside an emoji,
    is read as U+FFFD like the original reads it, unless the message is long. Raises
    InvalidMessageError; what is wrong with a payload is found by the decoder for its type.
    """
    try:
        # Bytes may not be UTF-8, and what they hold is passed on.
        text = data if isinstance(data, str) else data.decode()
        try:
            return _decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if len(text.encode()) > MAX_SURROGATES_SIZE:
                raise
            # msgspec refuses such escapes even in a payload that it does not decode: hence a
            # second attempt here, and none for payloads.
            whole = _without_lone_surrogates(text)
            if whole == text:
                raise
            return _decode(whole)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None


def _decode(text: str) -> Request:
    # In one pass if that can be: two take 4 µs longer for an offer of 7.3 kB. For what is long and
    # can then not be read, it would be another pass of milliseconds.
    if len(text) <= MAX_ONE_PASS_SIZE:
        try:
            request = _EXACT.decode(text)
        except msgspec.ValidationError:
            pass
        else:
            if not isinstance(request, IceCandidate) or not _may_lack(request.payload, text):
                return request
    try:
        message = _RECEIVE_MESSAGE.decode_exact(text)
    except msgspec.ValidationError:
        return _RECEIVE_MESSAGE.decode_folded(text)
    if message.type is None or (message.payload is UNSET and message.type in _HAVE_PAYLOAD):
        return _RECEIVE_MESSAGE.decode_folded(text)
    return message


def _may_lack(found: IceCandidatePayload, text: str) -> bool:
    """Return whether a member that is not found may be there under a key in another case."""
    return (
        (found.usernameFragment is UNSET and may_have(text, "usernamefragment"))
        or (found.sdpMid is None and may_have(text, "sdpmid"))
        or (found.sdpMLineIndex is None and may_have(text, "sdpmlineindex"))
    )


def _without_lone_surrogates(text: str) -> str:
    r"""Return the same JSON with U+FFFD for each half of a surrogate pair.

    Meanwhile `\u005c` stands for an escaped backslash, so that every other one begins an escape.
    """
    text = _LONE_SURROGATE.sub(r"\\ufffd", text.replace(r"\\", r"\u005c"))
    return text.replace(r"\u005c", r"\\")


def decode_join_room(payload: ReceivedPayload) -> JoinRoomPayload:
    """Return the payload of a join. Raises InvalidPayloadError."""
    return _decode_payload(_JOIN_ROOM_PAYLOAD, payload)


def decode_sdp(payload: ReceivedPayload) -> SDPPayload:
    """Return the payload of an offer or an answer. Raises InvalidPayloadError."""
    description = _decode_payload(_SDP_PAYLOAD, payload)
    if memoryview(description.sdp)[0] != ord('"'):
        raise InvalidPayloadError("sdp is not a string")
    return description


def decode_ice_candidate(payload: ReceivedPayload) -> IceCandidatePayload:
    """Return the payload of a candidate. Raises InvalidPayloadError.

    A `candidate` that is absent or null, with which browsers end their candidates, is read as "".
    """
    # Not if its keys are spelled exactly: some that it may lack could be there in another case.
    return _decode_payload(_ICE_CANDIDATE_PAYLOAD, payload, folded=True)


def _decode_payload(decoder: Decoder[T], payload: ReceivedPayload, folded: bool = False) -> T:
    if isinstance(payload, decoder.cls):
        return payload
    if not isinstance(payload, Raw):
        raise InvalidPayloadError("no payload")
    try:
        if not folded:
            with suppress(msgspec.ValidationError):
                return decoder.decode_exact(payload)
        return decoder.decode_folded(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidPayloadError(str(error)) from None

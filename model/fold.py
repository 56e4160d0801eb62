"""JSON objects whose keys may be spelled in any case, like those that Go reads (encoding/json).

A key that is spelled exactly beats one in another case, and of equals the last one counts. In Go
the last one counts in any case.
"""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

T = TypeVar("T")

MAX_MARKS = 4000
"""Quotation marks, commas and opening brackets up to which an object is read in any case.

A key takes at least three of them, and a session description has hardly any in a MiB.
"""

_MARKS = b'",[{'
_UNKNOWN = ""
_NULL = Raw(b"null")
_ENCODER = msgspec.json.Encoder()


class Decoder(Generic[T]):
    """Decodes a JSON object into a dataclass whose fields are named like the keys.

    `defaults` has what is read for keys that are missing or null. All methods raise
    msgspec.ValidationError for an object of another shape, and msgspec.DecodeError, ValueError or
    RecursionError for what is not JSON.
    """

    def __init__(self, cls: type[T], defaults: Mapping[str, Raw] | None = None) -> None:
        self.cls = cls
        self._names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        self._defaults = dict(defaults or {})
        self._members: msgspec.json.Decoder[dict[str, Raw]] = _members_decoder(self._names)
        self.decode_exact = msgspec.json.Decoder(cls).decode
        """Decode an object whose keys are spelled exactly, and ignore all others."""

    def decode_folded(self, text: str | Raw) -> T:
        """Decode an object whose keys are spelled in any case.

        It takes some 2 µs longer than `decode_exact`, and 0.5 µs for each unknown key. An object
        with more than `MAX_MARKS` is refused with ValueError: a MiB has room for 200,000 keys.
        """
        data = text.encode() if isinstance(text, str) else bytes(text)
        if len(data) > MAX_MARKS and sum(map(data.count, _MARKS)) > MAX_MARKS:
            raise ValueError("too many keys and values")
        found = self._members.decode(text)
        members = dict(self._defaults)
        for name in self._names:
            value = found.get(name, found.get(name.upper()))
            if value is not None and not (name in members and value == _NULL):
                members[name] = value
        return self.decode_exact(_ENCODER.encode(members))


def may_have(text: str, name: str) -> bool:
    """Return whether JSON may have a key that folds to `name`, which is in lower case.

    That is also so if escapes or letters beyond ASCII could hide the key.
    """
    return not text.isascii() or "\\" in text or name in text.lower()


def _members_decoder(names: list[str]) -> msgspec.json.Decoder[dict[str, Raw]]:
    """Return a decoder of the members of an object whose keys are among `names`, in any case.

    It returns a member under its name if that is spelled exactly, and under the name in capitals if
    it is spelled in any other case. All other keys become "".
    """
    other_cases = {name.casefold(): name.upper() for name in names}

    class Key(StrEnum):
        @classmethod
        def _missing_(cls, value: object) -> "Key":
            # casefold also makes letters of some ligatures, none of which is in a name. So it
            # matches what Go does: any case, and the long s.
            # To look the key up in `cls` would take longer than all of this.
            return keys[other_cases.get(str(value).casefold(), _UNKNOWN)]

    spellings = {key: key for name in names for key in (name, name.upper())}
    key: Any = Key("Key", {"unknown": _UNKNOWN, **spellings})  # type: ignore[call-arg]
    keys: dict[str, Key] = {str(it): it for it in key}
    return msgspec.json.Decoder(dict[key, Raw])

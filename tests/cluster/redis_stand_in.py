"""As much of Redis as the script and the bus use, in memory, with a clock that the world owns.

A command in a form that is not used raises an error.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]

Value = bytes | int | float | str
Reply = Any
"""None, int, bytes or a list of them."""


class Hash(dict[bytes, bytes]):
    pass


class SortedSet(dict[bytes, float]):
    pass


class Text(dict[None, bytes]):
    pass


class Stream(dict[tuple[int, int], list[bytes]]):
    """Entries by their ids, in order."""

    last = (0, 0)


Kind = TypeVar("Kind", Hash, SortedSet, Text, Stream)


class RedisStandIn:
    def __init__(self, time: Callable[[], float], script: bytes) -> None:
        self._now = time
        self._keys: dict[bytes, Hash | SortedSet | Text | Stream] = {}
        self._expires: dict[bytes, float] = {}
        self._readers: dict[bytes, list[Callable[[], None]]] = {}
        self._written: set[bytes] = set()
        lua = LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._table = lua.table_from
        call = lua.eval(
            b"function(call) return function(...) local reply = call(...)"
            b" if reply == nil then return false end return reply end end"
        )(lambda *parts: self._lua(self._command(*map(_bytes, parts))))
        redis = {b"call": call, b"error_reply": self._refuse}
        lua.globals()[b"redis"] = self._table(redis)
        self._script = lua.eval(b"function(KEYS, ARGV) " + script + b"\nend")
        self.run_id = "1"

    # What the world calls

    def execute(self, command: Sequence[Value]) -> Reply:
        """Carry out a command; XREAD returns None if there is nothing yet."""
        reply = self._command(*map(_bytes, command))
        for key in sorted(self._written):
            for read in self._readers.pop(key, ()):
                read()
        self._written.clear()
        return reply

    def wait(self, key: Value, read: Callable[[], None]) -> None:
        """Call `read` when something has been written into the stream."""
        self._readers.setdefault(_bytes(key), []).append(read)

    def forget(self) -> None:
        """Lose all keys."""
        self._keys.clear()
        self._expires.clear()

    def keys(self) -> dict[str, Any]:
        """Return all keys with their values."""
        for key in tuple(self._keys):
            self._expire(key)
        return {key.decode(): value for key, value in self._keys.items()}

    def lasting(self) -> list[str]:
        """Return the keys that are kept for ever."""
        return [key.decode() for key in self._keys if key not in self._expires]

    # The machinery

    def _command(self, name: bytes, *arguments: bytes) -> Reply:
        return getattr(self, f"_{name.decode().lower()}")(*arguments)

    def _lua(self, reply: Reply) -> Any:
        if isinstance(reply, list):
            return self._table([self._lua(each) for each in reply])
        return reply

    def _refuse(self, error: bytes) -> None:
        raise ValueError(error.decode())

    def _expire(self, key: bytes) -> None:
        if self._expires.get(key, self._now()) < self._now():
            del self._keys[key], self._expires[key]

    def _value(self, key: bytes, kind: type[Kind]) -> Kind:
        """Return the value of a key, or an empty one."""
        self._expire(key)
        value = self._keys.get(key)
        if value is None:
            return kind()
        if not isinstance(value, kind):
            raise TypeError(f"{key!r} is no {kind}")
        return value

    def _put(self, key: bytes, value: Hash | SortedSet | Text | Stream) -> None:
        """Keep a value, unless it is empty."""
        if value or isinstance(value, Stream):
            self._keys[key] = value
        else:
            self._del(key)

    # Commands

    def _info(self, section: bytes) -> Reply:
        return self.run_id

    def _evalsha(self, sha: bytes, keys: bytes, key: bytes, *arguments: bytes) -> Reply:
        if keys != b"1":
            raise ValueError("several keys")
        reply = self._script(self._table([key]), self._table(arguments))
        return None if reply is False else reply

    def _time(self) -> Reply:
        seconds = self._now()
        return [b"%d" % seconds, b"%d" % (seconds % 1 * 1_000_000)]

    def _pexpire(self, key: bytes, milliseconds: bytes) -> Reply:
        self._expire(key)
        if key not in self._keys:
            return 0
        self._expires[key] = self._now() + int(milliseconds) / 1000
        return 1

    def _pttl(self, key: bytes) -> Reply:
        self._expire(key)
        if key not in self._keys:
            return -2
        return int((self._expires[key] - self._now()) * 1000) if key in self._expires else -1

    def _del(self, *keys: bytes) -> Reply:
        for key in keys:
            self._expires.pop(key, None)
        return sum(self._keys.pop(key, None) is not None for key in keys)

    def _set(self, key: bytes, value: bytes, unit: bytes, milliseconds: bytes) -> Reply:
        if unit != b"PX":
            raise ValueError("another form of SET")
        self._del(key)
        self._put(key, Text({None: value}))
        return self._pexpire(key, milliseconds)

    def _get(self, key: bytes) -> Reply:
        return self._value(key, Text).get(None)

    def _exists(self, key: bytes) -> Reply:
        self._expire(key)
        return int(key in self._keys)

    def _hget(self, key: bytes, field: bytes) -> Reply:
        return self._value(key, Hash).get(field)

    def _hset(self, key: bytes, field: bytes, value: bytes) -> Reply:
        fields = self._value(key, Hash)
        new = field not in fields
        fields[field] = value
        self._put(key, fields)
        return int(new)

    def _hdel(self, key: bytes, *names: bytes) -> Reply:
        fields = self._value(key, Hash)
        deleted = sum(fields.pop(name, None) is not None for name in names)
        self._put(key, fields)
        return deleted

    def _hlen(self, key: bytes) -> Reply:
        return len(self._value(key, Hash))

    def _hvals(self, key: bytes) -> Reply:
        return list(self._value(key, Hash).values())

    def _hgetall(self, key: bytes) -> Reply:
        return [part for pair in self._value(key, Hash).items() for part in pair]

    def _zadd(self, key: bytes, score: bytes, member: bytes) -> Reply:
        members = self._value(key, SortedSet)
        new = member not in members
        members[member] = float(score)
        self._put(key, members)
        return int(new)

    def _zscore(self, key: bytes, member: bytes) -> Reply:
        score = self._value(key, SortedSet).get(member)
        return None if score is None else b"%.17g" % score

    def _zrem(self, key: bytes, member: bytes) -> Reply:
        members = self._value(key, SortedSet)
        deleted = members.pop(member, None) is not None
        self._put(key, members)
        return int(deleted)

    def _zrange(self, key: bytes, first: bytes, last: bytes) -> Reply:
        if (first, last) != (b"0", b"-1"):
            raise ValueError("not all")
        members = self._value(key, SortedSet)
        return sorted(members, key=lambda member: (members[member], member))

    def _zrangebyscore(self, key: bytes, least: bytes, below: bytes) -> Reply:
        if least != b"-inf" or below[:1] != b"(":
            raise ValueError("another range")
        members = self._value(key, SortedSet)
        return [
            member
            for member in self._zrange(key, b"0", b"-1")
            if members[member] < float(below[1:])
        ]

    def _xadd(self, key: bytes, *arguments: bytes) -> Reply:
        if arguments[0] == b"NOMKSTREAM":
            self._expire(key)
            if key not in self._keys:
                return None
            arguments = arguments[1:]
        if arguments[0] != b"*" or len(arguments) % 2 != 1:
            raise ValueError("another form of XADD")
        stream = self._value(key, Stream)
        stream.last = max((int(self._now() * 1000), 0), (stream.last[0], stream.last[1] + 1))
        stream[stream.last] = list(arguments[1:])
        self._put(key, stream)
        self._written.add(key)
        return b"%d-%d" % stream.last

    def _xlen(self, key: bytes) -> Reply:
        return len(self._value(key, Stream))

    def _xtrim(self, key: bytes, by: bytes, first: bytes) -> Reply:
        if by != b"MINID":
            raise ValueError("another form of XTRIM")
        stream = self._value(key, Stream)
        read = _entry_id(first)
        trimmed = [entry_id for entry_id in stream if entry_id < read]
        for entry_id in trimmed:
            del stream[entry_id]
        return len(trimmed)

    def _xread(self, *arguments: bytes) -> Reply:
        match arguments:
            case (b"COUNT", count, b"BLOCK", _, b"STREAMS", key, after):
                read, stream = _entry_id(after), self._value(key, Stream)
                if stream.last <= read:
                    return None
                entries = [(entry, fields) for entry, fields in stream.items() if entry > read]
                return [
                    [key, [[b"%d-%d" % entry, fields] for entry, fields in entries[: int(count)]]]
                ]
        raise ValueError("another form of XREAD")


def _bytes(value: Value) -> bytes:
    """Return an argument as Redis does: a number of Lua's as C's %.17g writes it."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else b"%.17g" % value


def _entry_id(text: bytes) -> tuple[int, int]:
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number or 0)

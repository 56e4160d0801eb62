"""What the connections of one event loop share, so that none takes it from the others."""

from dataclasses import dataclass, field

from transport.buffers import Buffers
from transport.turns import Turns
from transport.writes import Writes


@dataclass(frozen=True, slots=True)
class Shared:
    """Time, system calls and memory."""

    buffers: Buffers
    turns: Turns = field(default_factory=Turns)
    writes: Writes = field(default_factory=Writes)

"""Who has to go when files become scarce: those who came and have done nothing yet."""

from typing import Protocol


class Newcomer(Protocol):
    """A connection that may have to go."""

    def drop(self) -> None:
        """End the connection; its file is free an iteration or two of the event loop later."""


class Newcomers:
    """The connections that may have to go, in the order in which they came."""

    def __init__(self) -> None:
        self._newcomers: dict[Newcomer, None] = {}

    def __len__(self) -> int:
        return len(self._newcomers)

    def add(self, newcomer: Newcomer) -> None:
        """Add a connection, or count one that is there as the youngest."""
        self._newcomers.pop(newcomer, None)
        self._newcomers[newcomer] = None

    def discard(self, newcomer: Newcomer) -> None:
        """Let a connection stay, or forget one that is gone; do nothing if it is not there."""
        self._newcomers.pop(newcomer, None)

    def drop_oldest(self) -> None:
        """End the connection that has been here for the longest; do nothing if there is none."""
        newcomer = next(iter(self._newcomers), None)
        if newcomer is not None:
            self.discard(newcomer)
            newcomer.drop()

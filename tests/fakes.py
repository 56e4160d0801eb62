"""Stand-ins for what is at the other side of an interface."""

from model.room import Client


class FakeConnection:
    """A client's connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.client = Client(self.send)
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.messages.append(message)

    def received(self) -> list[bytes]:
        """What has come since the last call."""
        messages, self.messages = self.messages, []
        return messages

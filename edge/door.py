"""The door: which requests become clients, and what those may do.

A request has to pass every check that is configured. Without any there is no door, and everybody is
let in. A page cannot see why it was turned away, since browsers report every handshake that fails
as 1006; so `/ice-servers` has the same door, and answers with the same status and the reason.
"""

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Protocol

from tornado.httputil import HTTPServerRequest


class Refused(Exception):
    """A request is turned away.

    `reason` is a word for the client's program, which docs/sdk.md lists, and `headers` belong into
    the response.
    """

    def __init__(
        self, status: HTTPStatus, reason: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


class Grant(Protocol):
    """What a client was granted, for as long as it is connected."""

    subject: str | None
    """For whom it is, if that is known."""

    def allows(self, room_id: str) -> bool:
        """Return whether the client may join the room now."""


class Check(Protocol):
    """A check of requests."""

    def check(self, request: HTTPServerRequest) -> None:
        """Raise Refused if such a request would be turned away now. Change nothing."""


class Limits(Check, Protocol):
    """A check that counts."""

    def enter(self, request: HTTPServerRequest) -> None:
        """Count an attempt to connect. Raise Refused if that is one too many."""

    def opened(self, address: str) -> None:
        """Count a connection from an address that is open now."""

    def closed(self, address: str) -> None:
        """Count a connection no more."""


class Tokens(Protocol):
    """A check that says what the client may do."""

    def check(self, request: HTTPServerRequest) -> Grant:
        """Return what the request is granted. Raise Refused if it has no valid token."""


@dataclass(slots=True)
class Visitor:
    """A client that was let in."""

    address: str
    grant: Grant | None
    limits: Limits | None
    _is_counted: bool = False

    def opened(self) -> None:
        """Count the client: its connection is open."""
        if self.limits is not None:
            self.limits.opened(self.address)
            self._is_counted = True

    def closed(self) -> None:
        """Count the client no more: its connection is over, if it was ever open."""
        if self.limits is not None and self._is_counted:
            self.limits.closed(self.address)
            self._is_counted = False

    def moving(self) -> "Visitor":
        """Return what another worker has to know of the client."""
        return replace(self, limits=None)

    def may_join(self, room_id: str) -> bool:
        """Return whether the client may join the room now."""
        return self.grant is None or self.grant.allows(room_id)


class Door:
    """Lets in who passes the checks, which are made in this order."""

    def __init__(
        self,
        origins: Check | None = None,
        limits: Limits | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._origins = origins
        self._limits = limits
        self._tokens = tokens

    def check(self, request: HTTPServerRequest, *, limits: bool = True) -> Grant | None:
        """Return what a client with such a request would be granted; None for everything.

        Raises Refused if it would be turned away now. Nothing is counted. Without `limits`, those
        do not matter: for a client that is in already, or about to be.
        """
        if self._origins is not None:
            self._origins.check(request)
        if limits and self._limits is not None:
            self._limits.check(request)
        return None if self._tokens is None else self._tokens.check(request)

    def enter(self, request: HTTPServerRequest) -> Visitor:
        """Let a client in. Raises Refused if it is turned away; that counts as an attempt too."""
        if self._origins is not None:
            self._origins.check(request)
        if self._limits is not None:
            self._limits.enter(request)
        grant = None if self._tokens is None else self._tokens.check(request)
        return Visitor(request.remote_ip or "", grant, self._limits)

    def enter_again(self, visitor: Visitor) -> Visitor:
        """Let a client in that another worker has let in."""
        return replace(visitor, limits=self._limits)

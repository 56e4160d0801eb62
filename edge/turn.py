"""Passwords for a TURN server, which expire, as coturn checks them with `use-auth-secret`.

The TURN server needs no list of users: the user name says until when it may be used and for whom it
is, and the password proves with the secret that both servers have that this one has made it
(draft-uberti-behave-turn-rest-00).
"""

import hmac
import json
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from urllib.parse import quote

from edge.door import Grant

MAX_USERNAME = 509
"""Bytes of a user name (RFC 8489, section 14.3). Browsers refuse a longer one."""


class Turn:
    """Gives each client the TURN server, with a user name and a password of its own."""

    def __init__(
        self,
        urls: Sequence[str],
        secret: str,
        ttl: int,
        ice_servers: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ttl` is in seconds, and `ice_servers` are the other servers to give, in JSON."""
        self._urls = urls
        self._secret = secret.encode()
        self._ttl = ttl
        self._others = json.loads(ice_servers)
        self._clock = clock

    def ice_servers(self, grant: Grant | None, client_id: str | None = None) -> str:
        """Return what a client is answered that was granted that, in JSON.

        The TURN server counts and limits what each user does by the user name, which has the
        grant's subject. If that is not known, it has the client's id, if that is, and something
        random: anybody can say to have an id, and would use up what its owner may do.
        """
        subject = grant and grant.subject
        if not subject:
            subject = "-".join(filter(None, (client_id, secrets.token_hex(8))))
        username, credential = self.credentials(subject)
        server = {"urls": self._urls, "username": username, "credential": credential}
        return json.dumps({"iceServers": [*self._others, server], "ttl": self._ttl})

    def credentials(self, subject: str) -> tuple[str, str]:
        """Return a user name and a password that can be used from now on."""
        # coturn takes no blanks, quotes or backslashes in a name.
        name = f"{int(self._clock()) + self._ttl}:{quote(subject, safe='@:+', errors='replace')}"[
            :MAX_USERNAME
        ]
        return name, b64encode(hmac.digest(self._secret, name.encode(), "sha1")).decode()

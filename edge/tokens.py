"""Checks tokens, which say what rooms a client may join, and until when.

A token is a JSON Web Token (RFC 7519). Whoever hands them out signs them, with a secret that the
server has too or with the private key of a public one. docs/tokens.md says what is in them. No
token is ever logged, and the text of no exception quotes one.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from math import ceil, isfinite
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tornado.httputil import HTTPServerRequest

from edge.door import Refused

SKEW = 10.0
"""Seconds by which the clock of whoever signs tokens may differ from the one here."""

MAX_SIZE = 4096
"""Characters of a token. Each takes 0.05 µs for each key that it may be signed with."""

MIN_RSA_BITS = 2048
"""The shortest key for RS256 (RFC 7518, section 3.3)."""

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Key(NamedTuple):
    """What signatures are checked with. It is for one algorithm, whatever a token says it has."""

    algorithm: str
    value: Any


def read_public_keys(path: str) -> list[Key]:
    """Return the keys in a PEM file. Raises ValueError if it has anything but keys for tokens."""
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path!r}: {error.strerror}") from None
    keys = []
    for number, block in enumerate(_PEM.finditer(pem), 1):
        try:
            key = load_pem_public_key(block[0])
        except (ValueError, UnsupportedAlgorithm):
            key = None
        match key:
            case RSAPublicKey(key_size=bits) if bits >= MIN_RSA_BITS:
                algorithm = "RS256"
            case EllipticCurvePublicKey(curve=SECP256R1()):
                algorithm = "ES256"
            case Ed25519PublicKey() | Ed448PublicKey():
                algorithm = "EdDSA"
            case _:
                raise ValueError(
                    f"{path!r}: key {number} is not a public key of RSA (of {MIN_RSA_BITS} bits or"
                    " more), P-256, Ed25519 or Ed448"
                )
        keys.append(Key(algorithm, key))
    if not keys:
        raise ValueError(f"{path!r}: it has no public key in PEM")
    return keys


class TokenGrant:
    """What a token says that its client may do."""

    __slots__ = ("_expiry", "_names", "_prefixes", "subject")

    def __init__(self, expiry: float, rooms: Sequence[str], subject: str | None) -> None:
        """Grant the rooms until then, in seconds since 1970; `name*` are all that begin so."""
        self._expiry = expiry
        self._names = frozenset(rooms)
        self._prefixes = tuple(name[:-1] for name in rooms if name.endswith("*"))
        self.subject = subject

    @property
    def is_valid(self) -> bool:
        """Whether the token has not expired."""
        return time() < self._expiry + SKEW

    def allows(self, room_id: str) -> bool:
        """Return whether the client may join the room now."""
        return self.is_valid and (room_id in self._names or room_id.startswith(self._prefixes))


class _Header(msgspec.Struct):
    """What is read of a token before its signature is checked."""

    alg: str


class _Claims(msgspec.Struct):
    """What is read of a token once its signature is checked. It may have other claims too."""

    exp: float
    rooms: list[str]
    sub: str | None = None


class Tokens:
    """Lets in who has a valid token."""

    def __init__(
        self,
        secrets: Sequence[str],
        public_keys: Sequence[Key] = (),
        issuer: str = "",
        audience: str = "",
    ) -> None:
        """Check the issuer unless that is empty, and the audience.

        A token that names an audience is for nobody else (RFC 7519, section 4.1.3). So if the
        audience is empty, tokens must not name any.
        """
        self._secrets = secrets
        self._keys = [*(Key("HS256", secret) for secret in secrets), *public_keys]
        self._issuer = issuer
        self._audience = audience

    def check(self, request: HTTPServerRequest) -> TokenGrant:
        """Return what the request's token grants. Raises Refused if it has no valid one."""
        claims = self._claims(next(_tokens(request), ""))
        if claims is None:
            raise _refused("unauthorized")
        grant = TokenGrant(claims.exp, claims.rooms, claims.sub)
        if not grant.is_valid:
            raise _refused("token-expired")
        return grant

    def mint(self, room_id: str, ttl: float) -> str:
        """Return a token for the room, valid for so many seconds, signed with the first secret."""
        claims = {"rooms": [room_id], "exp": ceil(time() + ttl)}
        claims |= {"iss": self._issuer} if self._issuer else {}
        claims |= {"aud": self._audience} if self._audience else {}
        return jwt.encode(claims, self._secrets[0], "HS256")

    def _claims(self, token: str) -> _Claims | None:
        """Return the claims of a token, perhaps an expired one; None if it is not valid."""
        if len(token) > MAX_SIZE:
            return None
        try:
            header = urlsafe_b64decode(token.partition(".")[0] + "==")
            algorithm = msgspec.json.decode(header, type=_Header).alg
            for key in self._keys:
                # What a token says of itself spares the other keys, which would take time.
                if key.algorithm == algorithm:
                    with suppress(jwt.InvalidSignatureError):
                        return self._claims_signed_with(key, token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            pass
        return None

    def _claims_signed_with(self, key: Key, token: str) -> _Claims:
        """Return the claims of a token. Raises InvalidTokenError or ValueError."""
        claims = jwt.decode(
            token,
            key.value,
            [key.algorithm],
            # Whether it has expired matters only if nothing else is wrong, and it does not matter
            # when it was issued.
            {"verify_exp": False, "verify_iat": False, "verify_jti": False, "verify_sub": False},
            issuer=self._issuer or None,
            audience=self._audience or None,
            leeway=SKEW,
        )
        found = msgspec.convert(claims, _Claims)
        if not isfinite(found.exp):
            raise ValueError("not a time")
        return found


def _tokens(request: HTTPServerRequest) -> Iterator[str]:
    """Yield the request's tokens. The first one counts."""
    # Browsers let a page set no other field of a handshake than this.
    for line in request.headers.get_list("Sec-WebSocket-Protocol"):
        for name in line.split(","):
            if name.strip().startswith("bearer."):
                yield name.strip().removeprefix("bearer.")
    for line in request.headers.get_list("Authorization"):
        scheme, _, token = line.partition(" ")
        if scheme.lower() == "bearer":
            yield token.strip()
    for value in request.query_arguments.get("token", []):
        yield value.decode(errors="replace")


def _refused(reason: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, reason, {"WWW-Authenticate": "Bearer"})

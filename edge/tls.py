"""The certificate with which the server speaks TLS, and its renewal."""

import asyncio
import logging
import os
import ssl
from ssl import SSLContext, SSLError

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 60.0
"""Seconds between two looks at the files. Certificates are renewed weeks before they expire."""

KEY_EXCHANGE = "prime256v1"
"""The only group for exchanging keys. OpenSSL permits others with which an answer to a client's
first message takes up to 0.2 s (ffdhe8192), and Python can name but one. This is the one that every
client has (RFC 8446, 9.1); one that has guessed another is asked again, for a round trip more."""

_CERT = "SIGNALING_TLS_CERT"
_KEY = "SIGNALING_TLS_KEY"

# What OpenSSL calls a key that is another one, or one of another kind.
_MISMATCH = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


class CertificateError(Exception):
    """The certificate cannot be used. The text is one line that names the setting and the file."""


class Certificate:
    """A certificate and its key, from two files in PEM that may be replaced at any time."""

    def __init__(self, cert: str, key: str) -> None:
        """Load them. Raises CertificateError."""
        self._cert = cert
        self._key = key
        self._seen = self._look()
        self._context = _load(cert, key)
        self._fault = ""
        """Why the files could not be used when they were loaded last; empty if they could."""
        self._timer: asyncio.TimerHandle | None = None

    def context(self) -> SSLContext:
        """Return what a new connection needs. Those that are there keep what they have."""
        return self._context

    def reload(self) -> None:
        """Load the files again. If they cannot be used, log why and keep what there is."""
        self._fault = ""
        self._load_again()

    def watch(self, interval: float = LOOK_INTERVAL) -> None:
        """Reload when a file has changed, which is looked at every `interval` seconds.

        Files that could not be used are loaded again each time: it may be that they are permitted
        to be read now, or that there are not too many others open.
        """
        self._timer = asyncio.get_running_loop().call_later(interval, self._look_again, interval)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self, interval: float) -> None:
        if self._fault or self._look() != self._seen:
            self._load_again()
        self.watch(interval)

    def _load_again(self) -> None:
        self._seen = self._look()
        try:
            self._context = _load(self._cert, self._key)
        except (CertificateError, OSError) as error:  # OSError if a file vanishes meanwhile.
            if self._fault != str(error):
                self._fault = str(error)
                logger.error("the certificate stays as it is: %s", error)
        else:
            self._fault = ""
            logger.info("the certificate was loaded again")

    def _look(self) -> list[tuple[int, int] | None]:
        """Return what changes with the files: their numbers and times, or None if one is away."""
        return [_stamp(self._cert), _stamp(self._key)]


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns


def _load(cert: str, key: str) -> SSLContext:
    for setting, path in ((_CERT, cert), (_KEY, key)):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            raise CertificateError(f"{setting}={path!r} cannot be read: {error.strerror}") from None
    try:
        SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
    except SSLError:
        raise CertificateError(f"{_CERT}={cert!r} is not a certificate in PEM") from None
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.set_ecdh_curve(KEY_EXCHANGE)
    try:
        # Without a passphrase, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(cert, key, password="")
    except SSLError as error:
        if error.reason in _MISMATCH:
            text = f"{_KEY}={key!r} is not the key of {_CERT}={cert!r}"
        elif error.reason:
            text = f"{_CERT}={cert!r} cannot be used: {error.reason.lower().replace('_', ' ')}"
        else:
            text = f"{_KEY}={key!r} is not a key in PEM, without a passphrase"
        raise CertificateError(text) from None
    return context

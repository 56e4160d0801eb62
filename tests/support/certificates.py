"""Certificates for this machine, and the authority that the clients of the tests trust."""

import atexit
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import trustme

from edge.tls import Certificate


class Files(NamedTuple):
    """A certificate and its key, in PEM."""

    cert: Path
    key: Path

    @property
    def env(self) -> dict[str, str]:
        """The settings for a server that has them."""
        return {"SIGNALING_TLS_CERT": str(self.cert), "SIGNALING_TLS_KEY": str(self.key)}

    def write(self, made: trustme.LeafCert) -> None:
        """Write the certificate and its key. Files that are there are replaced, as certbot does."""
        for path, blobs in ((self.key, [made.private_key_pem]), (self.cert, made.cert_chain_pems)):
            new = path.with_suffix(".new")
            new.write_bytes(b"".join(blob.bytes() for blob in blobs))
            new.replace(path)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def make(*names: str) -> trustme.LeafCert:
    """Return a new certificate for these names, which the tests' clients trust."""
    return authority().issue_cert(*(names or ("127.0.0.1", "localhost")))


@cache
def files() -> Files:
    """Return the files of a certificate, which are there until the tests end."""
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    found = Files(Path(directory.name, "cert.pem"), Path(directory.name, "key.pem"))
    found.write(make())
    return found


@cache
def server_context() -> ssl.SSLContext:
    """Return the context of a server with that certificate, for one in the test's own process."""
    return Certificate(*map(str, files())).context()


@cache
def client_context() -> ssl.SSLContext:
    """Return a context that trusts the authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context

"""The demo page over TLS, for a phone: `python -m tests.support.https_demo [FLAG ...]`.

Browsers give camera and microphone only to pages from `localhost` or over TLS. So this makes a
certificate for this machine's address in its network, prints a QR code of the page's URL, and runs
the server; the flags are the server's. Nobody vouches for the certificate: the phone warns of it
and has to be told to go on. It is gone with the server.
"""

import sys
import tempfile
from pathlib import Path

import process

if __name__ == "__main__":
    process.begin()

import socket
from collections.abc import Sequence

import segno
import trustme

from config.config import Config, ConfigError, init_env
from config.flags import FlagError, parse_flags
from main import run
from transport.listen import host_port, is_every_address

ELSEWHERE = "192.0.2.1", 9
"""An address for documentation (RFC 5737). Nothing is sent to it."""


def own_address() -> str:
    """Return the address by which this machine is known in its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(ELSEWHERE)
        except OSError:
            return "127.0.0.1"  # There is no network.
        address: str = sock.getsockname()[0]
        return address


def main(argv: Sequence[str]) -> int:
    """Run the server until a signal comes, and return the exit code."""
    try:
        flags = parse_flags(argv)
        flags.pop("version", None)
        config = Config.from_environ(init_env(), **flags)
    except (FlagError, ConfigError):
        return run(argv)  # It says what is wrong.
    host = own_address() if is_every_address(config.addr) else config.addr
    url = f"https://{host_port(host, config.port)}/"
    made = trustme.CA().issue_cert("localhost", "127.0.0.1", "::1", host)
    with tempfile.TemporaryDirectory() as directory:
        cert, key = Path(directory, "cert.pem"), Path(directory, "key.pem")
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        segno.make(url).terminal(compact=True)
        print(url, flush=True)
        return run(["-demo", "-tls-cert", str(cert), "-tls-key", str(key), *argv])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        process.ignore_stop_signals()

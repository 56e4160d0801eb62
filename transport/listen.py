"""Listening on an address, as Go's `net.Listen` does."""

import errno
import os
import socket
from contextlib import suppress
from ipaddress import ip_address

from tornado.netutil import bind_sockets

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel has the last word. Tornado's 128 are too few
for a crowd that reconnects at once."""

# Which flag chooses another address or port where the given one cannot be had.
_FLAGS = {errno.EADDRINUSE: "-port", errno.EACCES: "-port", errno.EADDRNOTAVAIL: "-addr"}


class ListenError(Exception):
    """The address cannot be listened on. The text is one line that names it."""


def listen(addr: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on the address. Raises ListenError.

    An IPv6 address may stand in brackets, as Go wants it. Every address, `0.0.0.0`, `::` or an
    empty one, is one socket for IPv6 and IPv4.
    """
    host = addr[1:-1] if addr.startswith("[") and addr.endswith("]") else addr
    try:
        if is_every_address(host):
            with suppress(ValueError):  # There is no IPv6, or not for IPv4 as well.
                return [_listen_on_every_address(port)]
            host = "0.0.0.0"
        return bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = str(error)
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
            if flag := _FLAGS.get(error.errno or 0):
                reason += f" (choose another with {flag})"
        raise ListenError(f"cannot listen on {host_port(addr, port)!r}: {reason}") from None


def _listen_on_every_address(port: int) -> socket.socket:
    """Listen on IPv6 and IPv4. Raises ValueError if there is no IPv6, and OSError."""
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise ValueError("no IPv6") from error
        # Without what Python adds to the text.
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None


def is_every_address(host: str) -> bool:
    """Return whether a server that listens on `host` is reached at every address of its machine."""
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return host == ""


def host_port(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address (`net.JoinHostPort`)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"

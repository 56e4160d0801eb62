"""Finds out from which address a client comes whose connection is made by a proxy."""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from tornado.httputil import HTTPServerRequest

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f.:]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = networks
        self._warned = False

    def trusts(self, address: str) -> bool:
        """Return whether a proxy has the address."""
        ip = _parse(address)
        return ip is not None and any(ip in network for network in self._networks)

    def client_address(self, request: HTTPServerRequest) -> str:
        """Return the address of the client whose request this is.

        Each proxy appends to X-Forwarded-For from whom it has the request. So the client is the
        rightmost one there that is no proxy: what stands further left can be anything. If there is
        something else than an address before that, it is the proxy which wrote it.
        """
        peer = request.remote_ip or ""
        lines = request.headers.get_list("X-Forwarded-For")
        if not lines:
            return peer
        if not self.trusts(peer):
            self._warn(peer)
            return peer
        client = peer
        for entry in reversed(",".join(lines).split(",")):
            ip = _parse_entry(entry.strip(" \t"))
            if ip is None:
                break
            client = str(ip)
            if not self.trusts(client):
                break
        return client

    def _warn(self, peer: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "X-Forwarded-For from %s is ignored, which is none of the trusted proxies;"
                " this is logged once",
                peer,
            )


def _parse_entry(entry: str) -> IPv4Address | IPv6Address | None:
    """Return the address in X-Forwarded-For; some proxies add its port. None for anything else."""
    if match := _WITH_PORT.fullmatch(entry):
        entry = match[1] or match[2]
    # Without a zone, which could be any text.
    return _parse(entry) if _ADDRESS.fullmatch(entry) else None


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """Return the address; one of IPv4 that is written as one of IPv6, as one of IPv4."""
    with suppress(ValueError):
        ip = ip_address(address)
        return (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip
    return None

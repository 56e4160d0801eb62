"""Asks a server for a handshake and, as a page does that was turned away, for the reason."""

import json
from typing import Any
from urllib.parse import urlsplit

from tests.support.client import Response, http, upgrade_request


async def handshake(url: str, path: str = "/connect", **headers: str) -> Response:
    """Return the response to a handshake; an underscore in a header's name stands for a dash.

    The connection is closed then.
    """
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http(url, upgrade_request(urlsplit(url).netloc, path, fields))


async def ice_servers(
    url: str, path: str = "/ice-servers", method: str = "GET", **headers: str
) -> Response:
    """Return the response to a request for the ICE servers."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return await http(url, "\r\n".join([*lines, "", ""]).encode())


async def answers(url: str, query: str = "", **headers: str) -> tuple[int, Any]:
    """Return the status of both requests, which is the same, and the reason if they are refused."""
    first = await handshake(url, f"/connect{query}", **headers)
    second = await ice_servers(url, f"/ice-servers{query}", **headers)
    assert second.headers["access-control-allow-origin"] == "*"
    assert second.headers["cache-control"] == "no-store"
    body = json.loads(second.body)
    if first.status == 101:
        assert second.status == 200
        assert list(body) == ["iceServers"]
        return 101, None
    assert (first.status, first.body.decode()) == (second.status, f"{body['reason']}\n")
    return first.status, body["reason"]

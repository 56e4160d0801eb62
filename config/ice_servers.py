"""Checks ICE servers, in JSON, as `new RTCPeerConnection({iceServers})` does.

The rules are those of "set the configuration" in the WebRTC specification, after the conversions of
Web IDL: a number or null is a string where a string is wanted, and unknown members do not matter.
Where browsers differ, Chromium's answer counts, unless both Firefox and the grammars of RFC 7064
and RFC 7065 are against it. So `stuns:` is taken, which Firefox lacks, and an empty user name is
not. `url` is an old name of `urls`, which the specification has dropped and both still take.
"""

import json
import re
from ipaddress import IPv6Address
from typing import Any, NoReturn

URL = re.compile(
    r"(?ai:stuns?|(?P<turn>turns?))"
    r':(?:\[(?P<ipv6>[^\]]+)\]|(?:%[0-9A-Fa-f]{2}|[^\s\x00-\x1f\x7f%:/?#@[\]\\"<>^`{|}])+)'
    r"(?::0*(?P<port>[0-9]{1,5}))?"
    r"(?(turn)(?:\?transport=(?ai:udp|tcp))?)"
)
C0_OR_SPACE = "".join(map(chr, range(0x21)))

MAX_USERNAME = 509  # Bytes: RFC 8489, section 14.3.


def read_ice_servers(text: str) -> str:
    """Return the text as it is.

    Raises ValueError if the constructor would throw. The message quotes nothing of the text, which
    may have credentials.
    """
    try:
        text.encode()
        _check_servers(json.loads(text, parse_constant=_refuse_constant))
    except RecursionError:
        raise ValueError("... is not a list of ICE servers in JSON: too deep") from None
    except UnicodeEncodeError:
        raise ValueError("... is not a list of ICE servers in JSON: not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"... is not a list of ICE servers in JSON: {error}") from None
    return text


def read_turn_urls(text: str) -> tuple[str, ...]:
    """Return the URLs of a TURN server, which commas separate.

    Raises ValueError. The message quotes nothing of the text, into which somebody may have written
    credentials.
    """
    urls = tuple(url.strip() for url in text.split(","))
    try:
        if all(_is_turn(url) for url in urls):
            return urls
    except ValueError:
        pass
    raise ValueError(
        "... is not a list of URLs with commas between them, each HOST or HOST:PORT after turn: or"
        " turns:, with ?transport=udp or ?transport=tcp if need be"
    )


def _refuse_constant(_: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads though they are not JSON."""
    raise ValueError("NaN and Infinity are not JSON")


def _check_servers(servers: Any) -> None:
    if not isinstance(servers, list):
        raise ValueError("it is not a list")
    for number, server in enumerate(servers, 1):
        try:
            _check_server(server)
        except ValueError as error:
            raise ValueError(f"server {number}: {error}") from None


def _check_server(server: Any) -> None:
    if not isinstance(server, dict):
        raise ValueError("it is not an object")
    if "urls" not in server and "url" not in server:
        raise ValueError("`urls` is missing")
    urls = server.get("urls", server.get("url"))
    urls = urls if isinstance(urls, list) else [urls]
    if not urls:
        raise ValueError("`urls` is empty")
    turn = [_is_turn(_string(url)) for url in urls]
    if any(turn):
        if not (_given(server, "username") and _given(server, "credential")):
            raise ValueError("a turn: or turns: URL needs `username` and `credential`")
        if len(_string(server["username"]).encode(errors="surrogatepass")) > MAX_USERNAME:
            raise ValueError(f"`username` is longer than {MAX_USERNAME} bytes")


def _is_turn(url: str) -> bool:
    """Return whether it is a TURN server's; raise ValueError if not a STUN server's either."""
    # As the URL standard has it, before anything else is looked at.
    url = re.sub(r"[\t\n\r]", "", url.strip(C0_OR_SPACE))
    match = URL.fullmatch(url)
    try:
        if not match or not 0 < int(match["port"] or 3478) < 65536:
            raise ValueError
        if match["ipv6"]:
            IPv6Address(match["ipv6"])
    except ValueError:  # AddressValueError is one.
        raise ValueError(
            "a URL is not HOST or HOST:PORT after stun:, stuns:, turn: or turns:,"
            " the last two with ?transport=udp or ?transport=tcp if need be"
        ) from None
    return bool(match["turn"])


def _given(server: dict[str, Any], member: str) -> bool:
    return member in server and _string(server[member]) != ""


def _string(value: Any) -> str:
    """Return the string that JavaScript makes of a value."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join("" if each is None else _string(each) for each in value)
    return "[object Object]" if isinstance(value, dict) else json.dumps(value)

"""`SIGNALING_BYTE_RATE`: how much a client may send."""

from time import monotonic

import pytest

from config.config import Config, ConfigError
from tests.support.peer import Peer, offer
from tests.support.server_process import server_process


async def test_byte_rate() -> None:
    """Who sends more is read slower. Nothing is lost, and it makes nobody else wait."""
    rate, number, size = 100_000, 50, 5000
    with server_process(env={"SIGNALING_BYTE_RATE": str(rate)}) as server:
        one, two, other = [await Peer.connect(server.url) for _ in range(3)]
        await one.join("room")
        await two.join("room")
        await one.receive()
        begin = monotonic()
        sdps = [f"{number:04}" * (size // 4) for number in range(number)]
        for sdp in sdps:
            await one.say("offer", client_id=two.id, sdp=sdp)
        for sdp in sdps:
            assert await two.receive() == offer(one, sdp)
            assert await other.received() == []
        assert monotonic() - begin > (number * size - 2 * 128 * 1024) / rate
        for peer in (one, two, other):
            peer.abort()


def byte_rate(text: str) -> int:
    return Config.from_environ({"SIGNALING_BYTE_RATE": text}).byte_rate


def test_setting() -> None:
    assert byte_rate("0") == 0
    assert byte_rate("10000") == 10_000
    with pytest.raises(
        ConfigError, match=r"^SIGNALING_BYTE_RATE='9999' .* from 10000 to .*, or 0$"
    ):
        byte_rate("9999")


def test_a_byte_rate_takes_our_own_transport() -> None:
    with pytest.raises(ConfigError, match=r"SIGNALING_BYTE_RATE .* SIGNALING_TRANSPORT"):
        Config.from_environ({"SIGNALING_BYTE_RATE": "10000", "SIGNALING_TRANSPORT": "tornado"})

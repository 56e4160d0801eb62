"""`/ice-servers` without TURN: what `SIGNALING_ICE_SERVERS` says."""

import pytest

from tests.edge.asking import ice_servers
from tests.support.server_process import TRANSPORTS, server_process

ICE_SERVERS = (
    ' [ {"urls": "stun:stun.\\u00e9xample", "note": 1.0},\n'
    ' {"urls":["turn:a.é","TURNS:b"], "username":"alice","credential":"secret"}]'
)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_setting_is_told_byte_for_byte(transport: str) -> None:
    """There is nothing more: these hold for ever. A program need not come from any page."""
    env = {"SIGNALING_ICE_SERVERS": ICE_SERVERS, "SIGNALING_TRANSPORT": transport}
    with server_process(env=env) as server:
        response = await ice_servers(server.url)
    assert response.status == 200
    assert response.body == f'{{"iceServers":{ICE_SERVERS}}}'.encode()
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["access-control-allow-origin"] == "*"

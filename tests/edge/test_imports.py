"""What is off is not imported, and so costs nothing."""

import sys
from pathlib import Path

import pytest

from tests.support.peer import Peer
from tests.support.server_process import server_process

PROGRAM = """if True:
    import sys
    import main
    try:
        main.main()
    finally:
        print("modules:", *sorted(sys.modules), file=sys.stderr)
"""

MODULES = {
    "": "",
    "ALLOWED_ORIGINS=https://app.example": "edge.origins",
    "MAX_CONNECTIONS=1": "edge.limits",
    "MAX_CONNECTIONS_PER_ADDRESS=1": "edge.limits",
    "CONNECTION_RATE=1": "edge.limits",
    "BYTE_RATE=10000": "transport.throttle",
    "TRUSTED_PROXIES=::1": "edge.proxies transport.proxy_protocol",
}
"""Settings, and the modules that are there for each."""


@pytest.mark.parametrize("setting", MODULES)
async def test_what_is_imported(setting: str) -> None:
    """A server that has had a client has imported what its setting needs, and no more."""
    root = Path(__file__).parents[2]
    name, _, value = setting.partition("=")
    env = {"PYTHONPATH": str(root)} | ({f"SIGNALING_{name}": value} if name else {})
    with server_process(env=env, command=(sys.executable, "-P", "-c", PROGRAM)) as server:
        peer = await Peer.connect(server.url)
        await peer.close()
    modules = set(server.wait_for_line("modules: .*")[0].split())
    of_a_setting = {module for modules in MODULES.values() for module in modules.split()}
    assert modules & of_a_setting == set(MODULES[setting].split())

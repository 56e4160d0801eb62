from collections.abc import Iterator

import pytest

from tests.support.server_process import TRANSPORTS, ServerProcess, server_process


@pytest.fixture(scope="package", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Run a server on each of its two protocols."""
    with server_process(env={"SIGNALING_TRANSPORT": request.param}) as server:
        yield server


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the peers reach each other without a network. aioice leaves out the loopback address."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])

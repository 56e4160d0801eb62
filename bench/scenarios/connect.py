"""Measures clients that come and go."""

from __future__ import annotations

import asyncio
import time

from bench.client import Client, StepFailed
from bench.measure import Measurement, percentile
from bench.readings import ServerGone
from bench.scenarios.context import Context

_SETTLE = 0.5
"""How long after the last close the window stays open for a server's leaves, in seconds."""


async def connect(context: Context) -> None:
    """Connect, join and leave, as fast as 20 clients side by side can.

    For one unit, a client connects, upgrades, receives its id, joins a room, receives an offer that
    it has sent to itself, closes with 1000 and sees the server's close frame. The window ends half
    a second after the last unit.
    """
    settings = context.settings
    times: list[float] = []
    failures: list[str] = []
    started = 0
    before = context.tree.footprint()
    measurement = Measurement("connect", unit="connection")
    meter = context.meter()
    begin = time.perf_counter()
    end = begin + settings.seconds

    async def churn(worker: int) -> None:
        nonlocal started
        while time.perf_counter() < end and started < settings.connect_cycles:
            started += 1
            since = time.perf_counter()
            client: Client | None = None
            try:
                client = await Client.open(
                    *(context.host, context.port, settings.step_timeout, context.tls),
                    settings.token,
                )
                await client.join(f"connect-{worker}")
                await client.leave()
            except StepFailed as error:
                failures.append(str(error))
                if client is not None:
                    client.abort()
                # Otherwise a server that refuses at once would be asked thousands of times a
                # second.
                await asyncio.sleep(0.1)
                continue
            times.append(time.perf_counter() - since)

    await asyncio.gather(*(churn(worker) for worker in range(settings.connect_clients)))
    busy = time.perf_counter() - begin
    if not times:
        raise ServerGone(failures[0] if failures else "no connection was made")
    await asyncio.sleep(_SETTLE)
    meter.close(measurement)
    after = context.tree.footprint()
    measurement.wall_s = busy
    measurement.units = len(times)
    for share, name in ((0.5, "p50_ms"), (0.99, "p99_ms")):
        value = percentile(times, share)
        setattr(measurement, name, None if value is None else value * 1e3)
    measurement.extra = {
        "failed": len(failures),
        "descriptors_left": after.descriptors - before.descriptors,
    }
    if failures:
        measurement.notes.append(f"{len(failures)} failed, first: {failures[0]}")
    context.finish(measurement)

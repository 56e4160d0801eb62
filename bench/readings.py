"""Reads from the operating system what a server and its descendants use: CPU, memory, files."""

from __future__ import annotations

from dataclasses import dataclass

import psutil  # type: ignore[import-untyped, import-not-found, unused-ignore]


class ServerGone(Exception):
    """The server process has ended, or every connection to it has."""


@dataclass(frozen=True)
class Footprint:
    """Memory and descriptors at one moment."""

    rss: int
    """Resident bytes, summed over the processes. Pages that they share count once for each."""
    descriptors: int
    """Open file descriptors."""


class Tree:
    """Processes and their descendants.

    Descendants are looked up for each reading, as workers come and go. One that detaches itself
    from its parent (a daemon) is missing in the readings.
    """

    def __init__(self, *pids: int) -> None:
        """Watch `pids`; raise ServerGone if there is no such process."""
        try:
            self._roots = [psutil.Process(pid) for pid in pids]
        except psutil.NoSuchProcess as error:
            raise ServerGone(f"process {error.pid} has ended") from error

    def processes(self) -> list[psutil.Process]:
        """Return the living processes; raise ServerGone if one of those named has ended."""
        found: list[psutil.Process] = []
        for root in self._roots:
            try:
                if root.status() == psutil.STATUS_ZOMBIE:
                    raise ServerGone("the server process has ended")
                found += [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess as error:
                raise ServerGone("the server process has ended") from error
        return found

    def cpu_seconds(self) -> float:
        """Return the user and system time so far, in steps of the kernel's clock (Linux: 10 ms)."""
        total = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            # The time of workers that have ended is credited to the parent that waited for them.
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def footprint(self) -> Footprint:
        """Return the memory and the descriptors in use now."""
        rss = descriptors = 0
        for process in self.processes():
            try:
                rss += process.memory_info().rss
                descriptors += process.num_fds()
            except psutil.NoSuchProcess:
                continue
        return Footprint(rss, descriptors)

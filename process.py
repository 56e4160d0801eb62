"""What a server has to arrange with its operating system: signals, files, event loop and memory.

Importing this module takes no time, for `begin` has to come before every other import of main.py.
So at the top are only modules that Python itself has imported when it starts (`signal` alone would
take as long as that start), and what else is needed is imported where it is used.
"""

import _signal as signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

CROWD = 1000
"""Clients that make a crowd."""

REST = 1 / 8
"""The part of a crowd that may be left when it counts as gone."""

SCAVENGE_DELAY = 1.0
"""Seconds to wait: the crowd may come back, and the objects of the last clients are freed."""


# Signals


def begin() -> None:
    """Make SIGTERM and SIGINT end the process with 0 while there is nothing to be closed yet.

    By default these signals do not end the first process of a container, nor one that was started
    by a thread which blocks them.

    Standard descriptors that are closed are opened on the null device. Otherwise the next socket
    would get the number of stderr, and its peer the log.
    """
    on_stop_signal(lambda: os._exit(0))
    unblock_stop_signals()
    try:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    except OSError:
        pass  # There is no null device, as in a bare chroot.


def on_stop_signal(stop: "Callable[[], object]") -> None:
    """Call `stop` for each SIGTERM and SIGINT, between any two steps of the main thread."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop())


def stop_event() -> "asyncio.Event":
    """Return an event of the running loop that SIGTERM and SIGINT set.

    `loop.add_signal_handler` would not do: when it ends, the loop restores the default actions,
    with which a second signal ends the process while there is still something to close.
    """
    import asyncio

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def set_stop() -> None:
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:
            pass  # The loop is closed already.

    on_stop_signal(set_stop)
    return stop


def on_hangup(reload: "Callable[[], object]") -> None:
    """Call `reload` in the running loop for each SIGHUP, which would end the process otherwise."""
    import asyncio

    loop = asyncio.get_running_loop()

    def schedule() -> None:
        try:
            loop.call_soon_threadsafe(reload)
        except RuntimeError:
            pass  # The loop is closed already.

    signal.signal(signal.SIGHUP, lambda *_: schedule())


def ignore_stop_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on: at its end Python restores the default actions."""
    # One that comes while its handler is taken away would be reported as an error.
    block_stop_signals()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def block_stop_signals() -> None:
    """Leave SIGTERM and SIGINT to the other threads, or for later if there are none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def unblock_stop_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


# Processors


def processors() -> int:
    """Return how many processors this process may use, at least one.

    A container may have the time of fewer than there are (`docker run --cpus`), which its control
    group says. A part of one counts as one.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # Only some systems tell.
        count = os.cpu_count() or 1
    quotas = _cgroup_limits("cpu", ["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"])
    # Version 1 says -1 where there is no quota.
    return min([count, *(-(-quota // period) for quota, period in quotas if quota > 0)])


# Files


def raise_file_limit() -> None:
    """Allow as many open files, hence clients, as the system permits; Go programs do so too."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        pass  # macOS names a hard limit that it does not grant.


# Event loop


def new_event_loop() -> "asyncio.AbstractEventLoop":
    """Return uvloop's event loop, or asyncio's own, a slower one, where uvloop is missing."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop  # type: ignore[assignment]
    return new_event_loop()


# Memory


class Scavenger:
    """Gives memory back when it is not used any more, like the scavenger in Go's runtime.

    That is a second after most of a crowd of clients has gone, unless it has come back by then.
    `call_later` is the event loop's.
    """

    def __init__(self, call_later: "Callable[..., asyncio.TimerHandle]") -> None:
        self._call_later = call_later
        self._clients = 0
        self._most = 0  # since a crowd has gone
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def count(self, clients: int) -> None:
        """Take note of how many clients there are now."""
        self._clients = clients
        self._most = max(self._most, clients)
        if self._timer is None and not self._stopped and self._has_gone():
            self._timer = self._call_later(SCAVENGE_DELAY, self._look_again)

    def stop(self) -> None:
        """Do nothing from now on: when a server stops, everybody goes."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _has_gone(self) -> bool:
        return self._most >= CROWD and self._clients <= self._most * REST

    def _look_again(self) -> None:
        self._timer = None
        if self._has_gone():
            self._most = self._clients
            release_memory()


def keep_what_is_there() -> None:
    """Leave out of garbage collections what is there now: the modules, which stay to the end.

    Looking at all of that takes a full collection 15 ms, in which nothing else runs.
    """
    import gc

    gc.freeze()


def release_memory() -> None:
    """Give back what a crowd of clients has used.

    Nothing else runs meanwhile: for some 30 ms, or 700 ms after 8,000 clients on Tornado's own
    protocol, which leaves reference cycles.

    Freed memory is kept twice. The interpreter keeps freed objects for the next of their kind, a
    few in each of many blocks that are empty otherwise; only a full collection gives them up. And
    glibc keeps what is freed below anything that is still in use, until it is told to look.
    """
    import ctypes
    import gc

    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return  # Only glibc has it.
    trim.argtypes = [ctypes.c_size_t]
    trim(0)


def memory_granted() -> int:
    """Return the bytes of memory that the system has, or its control group if that has less.

    Go looks no further than the system. A container has its limit in its control group, or in a
    group that contains it (cgroups(7), both versions).
    """
    granted = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = _cgroup_limits("memory", ["memory.max"], ["memory.limit_in_bytes"])
    return min([granted, *(limit for (limit,) in limits)])


def _cgroup_limits(
    controller: str,
    names: "list[str]",
    names_in_1: "list[str]",
    proc: str = "/proc/self/cgroup",
    mounted: str = "/sys/fs/cgroup",
) -> "list[list[int]]":
    """Return the numbers in these files of this process's control group and all that contain it.

    The files are those of version 2 and of version 1. A group without a limit is left out.
    """
    limits = []
    try:
        with open(proc, errors="surrogateescape") as lines:
            groups = [line.rstrip("\n").split(":", 2) for line in lines]
    except OSError:
        return []  # Not Linux.
    for _, controllers, group in groups:
        if controllers == "":
            root, files = mounted, names
        elif controller in controllers.split(","):
            root, files = f"{mounted}/{controller}", names_in_1
        else:
            continue
        # In a container, the path may be that outside of it, and its own group is the root.
        parts = group.strip("/").split("/")
        for length in range(len(parts) + 1):
            numbers: list[int] = []
            try:
                for name in files:
                    with open(os.path.join(root, *parts[:length], name)) as file:
                        numbers += map(int, file.read().split())
            except (OSError, ValueError):
                continue  # There is no such group here, or it has no limit: "max".
            if numbers:
                limits.append(numbers)
    return limits

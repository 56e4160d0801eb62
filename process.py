"""What the operating system wants of a server from its first moment to its last.

Imports only what Python itself has imported when it starts: `begin` has to come before everything
else, and `signal` alone takes as long as Python's own start.
"""

import _signal as signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def begin() -> None:
    """Makes SIGTERM and SIGINT end the process with 0 while there is nothing to be closed yet.

    As the first process of a container it would not be ended by them at all, nor as one that was
    started by a thread which blocks them.

    Opens the standard descriptors that are closed on the null device. Otherwise the next socket
    would get the number of stderr, and its peer the log.
    """
    on_stop_signal(lambda: os._exit(0))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    except OSError:
        pass  # There is no null device, as in a bare chroot.


def on_stop_signal(stop: "Callable[[], object]") -> None:
    """Calls `stop` for each SIGTERM and SIGINT, between any two steps of the main thread."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop())


def ignore_stop_signals() -> None:
    """From now to the process's end, for which Python would restore what ends it with a signal."""
    # One that comes while its handler is taken away would be reported as an error.
    block_stop_signals()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def block_stop_signals() -> None:
    """Leaves them to the other threads. Does nothing on Windows, which has no threads' signals."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

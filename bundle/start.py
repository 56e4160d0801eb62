"""Runs first in the one file that `make build` makes.

Its process is a child: the parent unpacks the file into a directory, passes signals on, waits for
the end and removes the directory.
"""

import process

process.begin()  # Before PyInstaller's own preparations, which take a while too.

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

# SIGKILL cannot be passed on, and without its parent the server would run on unseen.
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

# systemd-tmpfiles removes what has been in /tmp for ten days, but not from a locked directory.
fcntl.flock(os.open(sys._MEIPASS, os.O_RDONLY), fcntl.LOCK_SH)  # type: ignore[attr-defined]

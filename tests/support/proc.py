"""Reads facts about another process from Linux's `/proc` (proc(5))."""

import os
import re
import resource
import signal
from pathlib import Path

import pytest

PROC = Path("/proc")

needs_proc = pytest.mark.skipif(not PROC.joinpath("self").exists(), reason="run it on Linux")


def open_files(pid: int) -> set[int]:
    """Return the numbers of the file descriptors that a process has open."""
    return {int(name) for name in os.listdir(PROC / str(pid) / "fd")}


def most_files() -> int:
    """Return how many files a process of this user may open, if it raises its limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def cpu_time(pid: int) -> float:
    """Return the CPU time that a process has used so far, in seconds."""
    # After the name in parentheses come the other fields: 14 and 15 are times in ticks.
    numbers = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = (PROC / str(pid) / "status").read_text()
    mask = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(mask and int(mask[1], 16) >> (number - 1) & 1)

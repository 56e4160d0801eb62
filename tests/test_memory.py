"""What is given back, by whichever C library there is."""

import gc
import platform
import weakref
from mmap import PAGESIZE
from pathlib import Path

import pytest

import memory

PAGES = Path("/proc/self/statm")


class Knot:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("trims", [True, False])
def test_garbage_is_collected(trims: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not trims:
        monkeypatch.setattr(memory, "_trim", None)
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        assert knot()
        memory.release()
        assert not knot()
    finally:
        gc.enable()


def resident() -> int:
    """MiB of memory that this process has."""
    return int(PAGES.read_text().split()[1]) * PAGESIZE >> 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
@pytest.mark.skipif(not PAGES.exists(), reason="needs /proc")
def test_what_was_freed_goes_back_to_the_system() -> None:
    """Though something behind it is in use."""
    before = resident()
    much: list[bytes | None] = [bytes(1000) for _ in range(64 * 1024)]
    last = much[-1]
    assert resident() > before + 50
    much.clear()
    memory.release()
    assert last
    assert resident() < before + 20

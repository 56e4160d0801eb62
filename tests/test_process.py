"""The server as the system sees it: its addresses, descriptors, log and signals."""

import asyncio
import errno
import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from websockets.asyncio.client import connect

from process import _cgroup_limits, memory_granted, processors
from tests.support.proc import catches, needs_proc
from tests.support.server_process import MAIN, TESTS, server_process
from transport.listen import listen

needs_ipv6 = pytest.mark.skipif(
    not socket.has_dualstack_ipv6(), reason="needs IPv6: enable it on this machine"
)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHORT_PIPE = 4096


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def is_healthy(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=2) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as response:
            return response.read().endswith(b"\r\n\r\nOK")
    return False


@contextmanager
def running(command: list[str] | None = None, **options: object) -> Iterator[tuple[int, int]]:
    """Run a server whose output is not read; yield its process id and its port."""
    port = free_port()
    command = [*(command or []), sys.executable, str(MAIN), "-addr", "127.0.0.1"]
    with subprocess.Popen([*command, "-port", str(port)], cwd=TESTS, **options) as process:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 10
            while not is_healthy("127.0.0.1", port):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            yield process.pid, port
            process.terminate()
            assert process.wait(5) == 0
        finally:
            process.kill()


# Its addresses


@needs_ipv6
@pytest.mark.parametrize(
    ("addr", "shown"),
    [
        ("0.0.0.0", "0.0.0.0"),
        *((addr, "[::]") for addr in ("[::]", "::", "", "0:0:0:0:0:0:0:0")),
    ],
)
def test_every_address_is_of_ipv6_and_ipv4(addr: str, shown: str) -> None:
    """As in Go, one port serves IPv6 and IPv4, whichever address stands for every address."""
    with server_process("-addr", addr) as process:
        assert process.host == shown
        assert is_healthy("127.0.0.1", process.port)
        assert is_healthy("::1", process.port)
        assert sum("listening" in line for line in process.lines) == 1


@needs_ipv6
def test_an_address_is_of_its_family_alone() -> None:
    with server_process("-addr", "[::1]") as process:
        assert is_healthy("::1", process.port)
        assert not is_healthy("127.0.0.1", process.port)
    with server_process("-addr", "127.0.0.1") as process:
        assert not is_healthy("::1", process.port)


def no_ipv6(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EADDRNOTAVAIL, "as where IPv6 is switched off")


@pytest.mark.parametrize(
    "without", [("has_dualstack_ipv6", lambda: False), ("create_server", no_ipv6)]
)
@pytest.mark.parametrize("addr", ["0.0.0.0", "[::]", ""])
def test_without_ipv6_every_address_is_of_ipv4(
    addr: str, without: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, *without)
    (listening,) = listen(addr, 0)
    with listening:
        assert listening.getsockname()[0] == "0.0.0.0"


# Its descriptors


def test_standard_descriptors_may_be_closed() -> None:
    """No connection gets their numbers; otherwise its client would be sent the log."""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with running(closed) as (pid, port), socket.create_connection(("127.0.0.1", port)) as client:
        asyncio.run(join_and_leave(port))
        if Path("/proc").exists():
            assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize("path", ["/dev/full", os.devnull])
def test_stderr_may_refuse_what_is_written(path: str) -> None:
    """It can be on a full disk, or open for reading only."""
    mode = "rb" if path == os.devnull else "wb"
    with open(path, mode) as stderr, running(stderr=stderr) as (_, port):
        asyncio.run(join_and_leave(port))


@pytest.mark.parametrize(
    ("args", "code"), [(["-h"], 0), (["-port", "x"], 2), (["-addr", "192.0.2.1"], 1)]
)
def test_the_exit_code_is_the_same_if_nobody_can_be_told(args: list[str], code: int) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, str(MAIN), *args]
        assert subprocess.run(command, cwd=TESTS, stderr=full, stdout=full).returncode == code


# Its log


async def join_and_leave(port: int, times: int = 1) -> str:
    """Join this many rooms in turn, each of which leaves a record; return the client's id."""
    async with connect(f"ws://127.0.0.1:{port}/connect") as client, asyncio.timeout(10):
        client_id = str(json.loads(await client.recv())["payload"]["client_id"])
        for number in range(times):
            room = {"type": "join", "payload": {"room_id": f"room {number}"}}
            await client.send(json.dumps(room))
        payload = {"client_id": client_id, "sdp": "to myself"}
        await client.send(json.dumps({"type": "offer", "payload": payload}))
        assert json.loads(await client.recv())["payload"] == payload
        return client_id


@contextmanager
def unread_pipe(blocking: bool) -> Iterator[tuple[int, int]]:
    """Return a pipe that is full already, like the log of a server that nobody reads."""
    read, write = os.pipe()
    try:
        if sys.platform == "linux":
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SHORT_PIPE)
        os.set_blocking(write, False)
        with suppress(BlockingIOError):
            while True:
                os.write(write, b"x" * SHORT_PIPE)
        os.set_blocking(write, blocking)
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_log_that_nobody_reads_stops_nothing(blocking: bool) -> None:
    """Clients, `/health` and the end of the server are not held up."""
    with unread_pipe(blocking) as (_, write), running(stderr=write) as (_, port):
        asyncio.run(join_and_leave(port, 3000))
        assert is_healthy("127.0.0.1", port)


@needs_proc
def test_a_log_that_nobody_reads_stops_no_workers() -> None:
    """Nor is the process held up that has started them, when one has to be started anew."""
    env = {**os.environ, "SIGNALING_WORKERS": "2"}
    with unread_pipe(blocking=True) as (_, write), running(stderr=write, env=env) as (pid, port):
        workers = Path(f"/proc/{pid}/task/{pid}/children")
        deadline = time.monotonic() + 10
        while len(before := workers.read_text().split()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(int(before[1]), signal.SIGKILL)
        while len(now := workers.read_text().split()) < 2 or now == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        asyncio.run(join_and_leave(port, 30))
        assert is_healthy("127.0.0.1", port)


def test_records_left_out_are_counted() -> None:
    """Once the log is read again, it says how many records are missing."""
    with unread_pipe(blocking=True) as (read, write):
        with running(stderr=write) as (_, port):
            asyncio.run(join_and_leave(port, 3000))
            time.sleep(1)  # Records that clients cause are counted by the second.
            asyncio.run(join_and_leave(port, 3000))
            text = b""
            while not (found := re.search(rb"WARNING (\d+) log records were left out\n", text)):
                assert select.select([read], [], [], 5)[0]
                text += os.read(read, SHORT_PIPE)
        joined = text.count(b"joined")
        assert joined + int(found[1]) > 6000


def test_clients_cause_a_bounded_number_of_records() -> None:
    """In each second there are at most a hundred, and one that counts those left out before it."""
    started = time.monotonic()
    with server_process() as process:
        asyncio.run(join_and_leave(process.port, 3000))
        process.wait_for_line("left out")
    seconds = time.monotonic() - started
    records = [line for line in process.lines if "joined" in line or "left room" in line]
    assert 90 <= len(records) <= 90 * (seconds + 2)  # Of seconds that have begun.
    missing = re.findall(r"WARNING (\d+) log records were left out", "\n".join(process.lines))
    assert len(missing) <= seconds + 2  # The end of the server is one reason more to report.
    assert len(records) + sum(map(int, missing)) == 2 * 3000


# Its memory

V2 = "0::/pods/server\n"
V1 = "5:cpu,cpuacct:/elsewhere\n4:cpu,memory:/pods/server\n1:name=in-memory:/elsewhere\n"
MEMORY = ["memory.max"], ["memory.limit_in_bytes"]
CPU = ["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]


def cgroup_limits(
    controller: str,
    names: list[str],
    names_in_1: list[str],
    groups: str,
    files: dict[str, str],
    path: Path,
) -> list[list[int]]:
    """Return the limits that a process finds which is in these groups, with these files."""
    (path / "cgroup").write_text(groups)
    for name, limit in files.items():
        file = path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return _cgroup_limits(controller, names, names_in_1, str(path / "cgroup"), str(path / "fs"))


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        (V2, {"pods/server/memory.max": "1000"}, [1000]),
        (V2, {"pods/memory.max": "2000"}, [2000]),
        (V2, {"memory.max": "3000"}, [3000]),
        (V2, {"pods/memory.max": "2000", "pods/server/memory.max": "1000"}, [1000, 2000]),
        (V2, {"pods/memory.max": "2000", "pods/server/memory.max": "max"}, [2000]),
        (V2, {"pods/server/memory.max": "max"}, []),
        (V2, {"pods/server/memory.max": ""}, []),
        (V2, {"pods/other/memory.max": "1000", "other/memory.max": "1000"}, []),
        ("0::/\n", {"memory.max": "1000"}, [1000]),
        ("0::/../../pods\n", {"memory.max": "1000"}, [1000]),
        (V2, {}, []),
        ("", {"memory.max": "1000"}, []),
        (V1, {"memory/pods/server/memory.limit_in_bytes": "1000"}, [1000]),
        (V1, {"memory/pods/memory.limit_in_bytes": "2000"}, [2000]),
        (V1, {"memory/memory.limit_in_bytes": "3000"}, [3000]),
        (V1, {"memory/elsewhere/memory.limit_in_bytes": "1000"}, []),
        (V1, {"memory/pods/server/memory.max": "1000"}, []),
        (
            V1 + V2,
            {"memory/memory.limit_in_bytes": "1000", "pods/memory.max": "2000"},
            [1000, 2000],
        ),
    ],
)
def test_memory_limits_of_control_groups(
    groups: str, files: dict[str, str], limits: list[int], tmp_path: Path
) -> None:
    """They are those of the process's group and of all that contain it, in either version."""
    found = cgroup_limits("memory", *MEMORY, groups, files, tmp_path)
    assert {limit for (limit,) in found} == set(limits)  # It does not matter how often.


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    assert _cgroup_limits("memory", *MEMORY, str(tmp_path / "missing"), str(tmp_path)) == []


def test_the_memory_granted_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group without a limit may have one all the same, which is more than any machine has."""
    monkeypatch.setattr("process._cgroup_limits", lambda *names: [])
    physical = memory_granted()
    assert physical == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limits, granted in (
        ([(1 << 63) - 4096], physical),
        ([physical + 1], physical),
        ([physical // 2, physical // 4, 1 << 62], physical // 4),
    ):
        found = [[limit] for limit in limits]
        monkeypatch.setattr("process._cgroup_limits", lambda *names, found=found: found)
        assert memory_granted() == granted


# Its processors


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        (V2, {"pods/server/cpu.max": "150000 100000"}, [[150000, 100000]]),
        (V2, {"pods/server/cpu.max": "max 100000", "pods/cpu.max": "5 10"}, [[5, 10]]),
        (V2, {"pods/server/cpu.max": "max 100000"}, []),
        (
            V1,
            {"cpu/elsewhere/cpu.cfs_quota_us": "5", "cpu/elsewhere/cpu.cfs_period_us": "10"},
            [[5, 10]],
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "10"}, [[-1, 10]]),
        (V1, {"cpu/cpu.cfs_quota_us": "5"}, []),
    ],
)
def test_quotas_of_control_groups(
    groups: str, files: dict[str, str], quotas: list[list[int]], tmp_path: Path
) -> None:
    """They are microseconds of processor time in each of so many microseconds."""
    found = cgroup_limits("cpu", *CPU, groups, files, tmp_path)
    assert {*map(tuple, found)} == {*map(tuple, quotas)}


@pytest.mark.parametrize(
    ("quotas", "granted"),
    [
        ([], 4),
        ([[-1, 100000]], 4),
        ([[100000, 100000]], 1),
        ([[250000, 100000]], 3),
        ([[1000, 100000]], 1),
        ([[800000, 100000]], 4),
        ([[800000, 100000], [200000, 100000]], 2),
    ],
)
def test_processors(quotas: list[list[int]], granted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that it may run on, or what its quota is enough for, rounded up."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr("process._cgroup_limits", lambda *names: quotas)
    assert processors() == granted


# Its signals


def test_nothing_is_imported_before_signals_are_caught() -> None:
    """What Python has not imported by itself takes time, in which a signal would be lost."""
    code = "import sys; had = set(sys.modules); import process; print(set(sys.modules) - had)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=MAIN.parent, capture_output=True, text=True)
    assert ended.stdout == "{'process'}\n"


@needs_proc
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda it: it.name)
@pytest.mark.parametrize("delay", [0, 0.05, 0.1, 0.2])
def test_stop_from_the_first_moment(number: signal.Signals, delay: float) -> None:
    """A signal ends the server with 0 as soon as Python runs its first lines."""
    command = [sys.executable, str(MAIN), "-addr", "127.0.0.1", "-port", "0"]
    with subprocess.Popen(command, cwd=TESTS, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 10
            while not all(catches(process.pid, each) for each in STOP_SIGNALS):
                assert time.monotonic() < deadline
            if not delay:
                assert "tornado" not in Path(f"/proc/{process.pid}/maps").read_text()
            time.sleep(delay)
            process.send_signal(number)
            _, told = process.communicate(timeout=5)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in told


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda it: it.name)
def test_whoever_starts_it_may_block_signals(number: signal.Signals) -> None:
    """From its start on, the server decides on its signals itself."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        with server_process() as process:
            process.send_signal(number)
            assert process.wait() == 0
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def test_both_signals_at_once() -> None:
    """In any order and number, they end the server once, without another word."""
    for _ in range(5):
        with server_process() as process:
            for _ in range(10):
                for number in STOP_SIGNALS:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, number)
            assert process.wait() == 0
        assert all(re.match(r"\d{4}-.* INFO ", line) for line in process.lines)

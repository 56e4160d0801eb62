"""Peers that use more than their share of the time take turns."""

import asyncio
from time import perf_counter, sleep

import pytest

from transport import turns
from transport.turns import FEW, LONG_QUANTUM, QUANTUM, SHARE, Turns


@pytest.fixture(autouse=True)
def _a_step_is_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN", 0.0)


async def iterations(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_all_together_have_one_turn_in_an_iteration() -> None:
    """They have it in the order in which they came."""
    queue, taken = Turns(), list[str]()
    for name in "abc":
        queue.wait(1.0, 0, lambda _, name=name: taken.append(name))  # type: ignore[misc]
    for number in (1, 2, 3):
        await iterations(1)
        assert taken == list("abc"[:number])


async def test_who_has_used_too_much_comes_later() -> None:
    """That is as much later as its account needs to recover; otherwise, who came first is first."""
    queue, taken = Turns(), list[str]()

    def wait(name: str, account: float) -> None:
        queue.wait(account, 0, lambda _: taken.append(name))

    wait("most", -0.1)
    wait("more", -0.02)
    wait("something left", 0.001)
    wait("much left", 1.0)
    wait("a little more", -0.01 * SHARE)
    sleep(0.02)  # noqa: ASYNC251 - No turn is taken meanwhile.
    wait("late", 0.0)
    await iterations(6)
    assert taken == ["something left", "much left", "a little more", "late", "more", "most"]


async def test_who_has_much_to_say_comes_later() -> None:
    """An offer, a candidate and a keepalive are all little."""
    queue, taken = Turns(), list[int]()
    for size in (65536, FEW, 0, FEW):
        queue.wait(0.0, size, lambda _, size=size: taken.append(size))  # type: ignore[misc]
    await iterations(4)
    assert taken == [FEW, 0, FEW, 65536]


async def test_reading_more_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop does it after the turn, for a peer that has much to say."""
    monkeypatch.setattr(turns, "TURN", 1.0)
    monkeypatch.setattr(turns, "READ", 0.4)
    queue, taken = Turns(), list[int]()
    for size in [FEW + 1] * 5:
        queue.wait(0.0, size, lambda _, size=size: taken.append(size))  # type: ignore[misc]
    await iterations(1)
    assert len(taken) == 3
    await iterations(1)
    assert len(taken) == 5
    for _ in range(5):
        queue.wait(0.0, FEW, lambda _: taken.append(FEW))
    await iterations(1)
    assert len(taken) == 10


async def test_a_step_is_taken_at_once_while_there_is_time() -> None:
    """The time that it takes is taken from all that are served at once."""
    queue, taken = Turns(), list[str]()
    queue.left = 1e-9
    queue.once(lambda: taken.append("at once"))
    assert taken == ["at once"]
    assert queue.left < 0
    queue.once(lambda: taken.append("in a turn"))
    assert taken == ["at once"]
    await iterations(1)
    assert taken == ["at once", "in a turn"]


async def test_turns_leave_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN", 1.0)
    queue = Turns()
    queue.left = -1.0
    queue.wait(0.0, 0, lambda _: None)
    await iterations(1)
    assert queue.left == 1.0


@pytest.mark.parametrize(("account", "quantum"), [(0.0, QUANTUM), (-1e-9, LONG_QUANTUM)])
async def test_a_turn_ends_after_a_quantum(account: float, quantum: float) -> None:
    """It is a longer one for who comes after all others anyway."""
    queue, ends = Turns(), list[float]()
    start = perf_counter()
    queue.wait(account, 0, ends.append)
    await iterations(1)
    assert start + quantum <= ends[0] <= perf_counter() + quantum


async def test_who_waits_again_in_its_turn_has_another() -> None:
    queue, taken = Turns(), list[float]()

    def take(end: float) -> None:
        taken.append(end)
        if len(taken) < 3:
            queue.wait(0.0, 0, take)

    queue.wait(0.0, 0, take)
    await iterations(3)
    assert len(taken) == 3
    assert taken == sorted(taken)


async def test_a_turn_that_fails_is_the_only_one_that_does() -> None:
    """The event loop reports it, and the next one is given."""
    queue, taken, reported = Turns(), list[str](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail(_: float) -> None:
        raise RuntimeError("a mistake")

    queue.wait(0.0, 0, fail)
    queue.wait(1.0, 0, lambda _: taken.append("next"))
    await iterations(2)
    assert taken == ["next"]
    assert len(reported) == 1

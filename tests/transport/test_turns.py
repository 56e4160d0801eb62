"""Peers that use more than their share of the time take turns."""

import asyncio

import pytest

from transport import turns
from transport.turns import Turns


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
        queue.wait(1.0, lambda _, name=name: taken.append(name))  # type: ignore[misc]
    for number in (1, 2, 3):
        await iterations(1)
        assert taken == list("abc"[:number])


async def test_the_least_debt_comes_first() -> None:
    queue, taken = Turns(), list[float]()
    for debt in (0.1, 0.003, 0.1, 0.02):
        queue.wait(debt, lambda _, debt=debt: taken.append(debt))  # type: ignore[misc]
    await iterations(4)
    assert taken == [0.003, 0.02, 0.1, 0.1]


async def test_who_waits_again_in_its_turn_has_another() -> None:
    queue, taken = Turns(), list[float]()

    def take(end: float) -> None:
        taken.append(end)
        if len(taken) < 3:
            queue.wait(0.0, take)

    queue.wait(0.0, take)
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

    queue.wait(0.0, fail)
    queue.wait(1.0, lambda _: taken.append("next"))
    await iterations(2)
    assert taken == ["next"]
    assert len(reported) == 1

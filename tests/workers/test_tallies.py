"""What workers count together."""

import os

from workers.tallies import CELLS, Tallies


def test_counts() -> None:
    tallies = Tallies(2)
    for number in range(1000):
        tallies.add(f"{number}", number + 1)
    tallies.begin(1)
    for number in range(1000):
        tallies.add(f"{number}", -1)
    assert [tallies.count(f"{number}") for number in range(1000)] == list(range(1000))
    assert tallies.count("unknown") == 0


def test_times() -> None:
    tallies = Tallies(1)
    assert tallies.time("a") == 0.0
    tallies.put("a", 2.5)
    tallies.put("b", 1.5)
    tallies.put("a", 2.0)
    assert (tallies.time("a"), tallies.time("b"), tallies.time("c")) == (2.5, 1.5, 0.0)


def test_another_process_sees_them() -> None:
    tallies = Tallies(2)
    tallies.add("here", 1)
    if (pid := os.fork()) == 0:
        tallies.begin(1)
        tallies.add("here", 2)
        tallies.put("here", 5.0)
        os._exit(0 if tallies.count("here") == 3 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert (tallies.count("here"), tallies.time("here")) == (3, 5.0)


def test_the_successor_of_a_worker_begins_with_nothing() -> None:
    tallies = Tallies(2)
    tallies.add("a", 5)
    tallies.begin(1)
    tallies.add("a", 1)
    tallies.begin(0)
    assert tallies.count("a") == 1


def test_its_size_is_that_of_its_cells() -> None:
    """Four bytes a cell for each worker: a megabyte."""
    assert Tallies(3)._counts.nbytes == 3 * CELLS * 4 == 3 << 20

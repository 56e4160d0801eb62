"""Those who came and have done nothing yet go in the order in which they came."""

from transport.newcomers import Newcomers


class Guest:
    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_the_oldest_goes() -> None:
    """That is the one which was added first, unless it has been added again since."""
    newcomers, guests = Newcomers(), [Guest() for _ in range(4)]
    for guest in (*guests, guests[0]):
        newcomers.add(guest)
    newcomers.drop_oldest()
    assert [guest.dropped for guest in guests] == [False, True, False, False]
    newcomers.discard(guests[2])
    newcomers.discard(guests[2])
    newcomers.drop_oldest()
    assert [guest.dropped for guest in guests] == [False, True, False, True]
    newcomers.drop_oldest()
    assert guests[0].dropped
    assert not newcomers


def test_nobody_goes_when_nobody_has_come() -> None:
    newcomers = Newcomers()
    newcomers.drop_oldest()
    assert len(newcomers) == 0

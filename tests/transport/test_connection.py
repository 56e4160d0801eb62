"""How a connection ends and which peers count as there, without socket, event loop or clock."""

import pytest

from transport.connection import Connection, Liveness, State
from transport.frames import Close, Opcode, close_payload, frame

CLOSE_1001 = frame(Opcode.CLOSE, b"\x03\xe9")


@pytest.fixture
def sent() -> list[bytes]:
    return []


@pytest.fixture
def connection(sent: list[bytes]) -> Connection:
    return Connection(sent.append)


def test_what_is_sent_while_open(connection: Connection, sent: list[bytes]) -> None:
    connection.send_text(b"text")
    connection.send_binary(b"binary")
    connection.send_ping(b"ping")
    connection.send_pong(b"pong")
    assert sent == [
        frame(Opcode.TEXT, b"text"),
        frame(Opcode.BINARY, b"binary"),
        frame(Opcode.PING, b"ping"),
        frame(Opcode.PONG, b"pong"),
    ]
    assert connection.state is State.OPEN


def test_a_close_is_sent_once(connection: Connection, sent: list[bytes]) -> None:
    assert connection.close(1001)
    assert not connection.close(1000)
    assert sent == [CLOSE_1001]
    assert connection.state is State.CLOSING
    assert connection.is_reading


def test_a_lost_connection_stays_lost(connection: Connection, sent: list[bytes]) -> None:
    connection.lose()
    assert not connection.close(1000)
    connection.refuse(1002, "broken")
    connection.receive_close(Close(1000, None))
    connection.receive_end()
    assert connection.state is State.CLOSED
    assert sent == []


def test_only_the_end_of_the_stream_ends_the_discarding(connection: Connection) -> None:
    connection.refuse(1002, "broken")
    connection.receive_close(Close(1000, None))
    states = [connection.state]
    connection.receive_end()
    states.append(connection.state)
    connection.refuse(1002, "broken")
    states.append(connection.state)
    assert states == [State.DISCARDING, State.FLUSHING, State.FLUSHING]


def test_a_close_of_the_peer_is_answered_with_its_code(
    connection: Connection, sent: list[bytes]
) -> None:
    connection.receive_close(Close(1001, "bye"))
    assert sent == [CLOSE_1001]
    assert connection.state is State.FLUSHING
    assert connection.peer_close == (1001, "bye")


def test_a_close_without_a_code_is_answered_with_none(
    connection: Connection, sent: list[bytes]
) -> None:
    connection.receive_close(Close(None, None))
    assert sent == [frame(Opcode.CLOSE, b"")]


def test_an_answer_to_our_close_is_not_answered(connection: Connection, sent: list[bytes]) -> None:
    connection.close(1001)
    connection.receive_close(Close(1000, None))
    assert sent == [CLOSE_1001]
    assert connection.peer_close == (1000, None)


@pytest.mark.parametrize("closed_before", [False, True])
def test_what_a_refused_peer_sends_is_not_read(
    connection: Connection, sent: list[bytes], closed_before: bool
) -> None:
    """The peer is told why, unless our close has been sent already."""
    if closed_before:
        connection.close(1001)
    connection.refuse(1002, "unknown opcode")
    assert sent == [
        CLOSE_1001 if closed_before else frame(Opcode.CLOSE, close_payload(1002, "unknown opcode"))
    ]
    assert connection.state is State.DISCARDING
    assert not connection.is_reading


@pytest.mark.parametrize("end", ["close", "receive_end", "lose"])
def test_nothing_is_sent_after_the_end(connection: Connection, sent: list[bytes], end: str) -> None:
    getattr(connection, end)()
    sent.clear()
    connection.send_text(b"x")
    connection.send_binary(b"x")
    connection.send_ping(b"x")
    connection.send_pong(b"x")
    assert not connection.close(1000)
    assert sent == []


def test_what_is_too_long_changes_nothing(connection: Connection, sent: list[bytes]) -> None:
    with pytest.raises(ValueError, match="125"):
        connection.close(4000, "x" * 124)
    with pytest.raises(ValueError, match="125"):
        connection.send_ping(b"x" * 126)
    assert sent == []
    assert connection.state is State.OPEN


SILENCE = 50.0
STALL = 30.0


def pinged(backlog: int = 0) -> Liveness:
    """Return a liveness that was heard at 100 and pinged at 130."""
    liveness = Liveness()
    liveness.heard = 100.0
    liveness.ping_sent(130.0, backlog)
    return liveness


def test_who_was_heard_since_the_ping_is_there() -> None:
    liveness = pinged()
    liveness.heard = 130.0
    assert liveness.time_left(200.0, 0, reads=True, silence=SILENCE, stall=STALL) is None


@pytest.mark.parametrize(("now", "left"), [(140.0, 10.0), (150.0, 0.0), (151.0, -1.0)])
def test_who_is_silent_has_the_rest_of_its_time(now: float, left: float) -> None:
    """The time counts from when the peer was heard, not from the ping."""
    assert pinged().time_left(now, 0, reads=True, silence=SILENCE, stall=STALL) == left


def test_silence_is_no_sign_while_nothing_is_read() -> None:
    assert pinged().time_left(200.0, 0, reads=False, silence=SILENCE, stall=STALL) is None


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("untaken", [1000, 2000])
def test_who_takes_nothing_of_a_backlog_is_gone(untaken: int, heard: bool, reads: bool) -> None:
    """This holds whatever the peer sends, and whether or not that is read."""
    liveness = pinged(backlog=1000)
    if heard:
        liveness.heard = 140.0
    assert liveness.time_left(140.0, untaken, reads=reads, silence=SILENCE, stall=STALL) == 0.0


def test_who_takes_something_of_a_backlog_is_as_others() -> None:
    assert pinged(1000).time_left(140.0, 999, reads=True, silence=SILENCE, stall=STALL) == 10.0
    assert pinged(1000).time_left(140.0, 999, reads=False, silence=SILENCE, stall=STALL) is None
    liveness = pinged(1000)
    liveness.backlog_taken()
    assert liveness.time_left(140.0, 1000, reads=True, silence=SILENCE, stall=STALL) == 10.0


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("heard", [120.0, 158.0])
@pytest.mark.parametrize(("now", "left"), [(150.0, 10.0), (160.0, 0.0), (161.0, -1.0)])
def test_whose_system_acknowledges_nothing_is_gone(
    now: float, left: float, heard: float, reads: bool
) -> None:
    """The time counts from the first look that found the same, whatever the peer sends."""
    liveness = pinged()
    liveness.looked(130.0, 1000)
    liveness.heard = heard
    liveness.looked(now, 1000)
    assert liveness.time_left(now, 5, reads=reads, silence=SILENCE, stall=STALL) == left


def test_whose_system_acknowledges_something_is_as_others() -> None:
    """It does not matter that there is always something left to acknowledge."""
    liveness = pinged()
    for now in range(130, 160):
        liveness.looked(now, 1000 + now)
        assert liveness.time_left(now, 5, reads=False, silence=SILENCE, stall=STALL) is None
    assert liveness.time_left(159, 5, reads=True, silence=SILENCE, stall=STALL) == -9.0


def test_who_had_nothing_left_to_acknowledge_begins_anew() -> None:
    liveness = pinged()
    liveness.heard = 130.0
    liveness.looked(130.0, 1000)
    liveness.looked(150.0, None)
    assert liveness.time_left(150.0, 0, reads=True, silence=SILENCE, stall=STALL) is None
    liveness.looked(170.0, 1000)
    assert liveness.time_left(170.0, 5, reads=True, silence=SILENCE, stall=STALL) is None
    liveness.looked(180.0, 1000)
    assert liveness.time_left(180.0, 5, reads=True, silence=SILENCE, stall=STALL) == 20.0


def test_who_is_forgiven_has_all_of_its_time_again() -> None:
    liveness = pinged(1000)
    liveness.looked(130.0, 1000)
    liveness.forgive(200.0)
    liveness.looked(210.0, 1000)
    assert liveness.time_left(210.0, 1000, reads=True, silence=SILENCE, stall=STALL) is None
    liveness.looked(210.0, None)
    liveness.ping_sent(210.0, 0)
    assert liveness.time_left(220.0, 0, reads=True, silence=SILENCE, stall=STALL) == 30.0

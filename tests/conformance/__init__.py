"""The wire contract as tests: black box, by URL, over real sockets.

    python -m pytest tests/conformance                                        main.py, started here
    python -m pytest tests/conformance --server ws://HOST:PORT/connect        any server
    python -m pytest tests/conformance --server URL --reference               the Go original

With --slow, tests that take a minute run too.

Nothing here knows how a server is made. Every test has rooms of its own, so that all share one
server, and waits for messages, never for time. That something does *not* arrive is shown by a
marker sent after it: see :meth:`tests.support.peer.Peer.received`.

The original dies of a message to an unknown id and of two joins of one room at once, and loses
what goes beyond 16 messages that wait for one client. What provokes that is marked ``differ``.
"""

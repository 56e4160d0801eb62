"""The wire contract as tests, which know a server only by its URL, over real sockets.

    python -m pytest tests/conformance                                        main.py, started here
    python -m pytest tests/conformance --server ws://HOST:PORT/connect        any server
    python -m pytest tests/conformance --server URL --reference               the Go original

With --slow, tests that take a minute run too.

Every test has rooms of its own, so that all tests share one server. Tests wait for messages, never
for time. To show that something does *not* arrive, they send a marker after it: see
:meth:`tests.support.peer.Peer.received`.

The original dies of a message to an unknown id and of two concurrent joins of one room, and loses
messages for a client for which 16 are waiting. Tests that provoke this are marked ``differ``.
"""

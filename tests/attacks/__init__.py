"""Attacks on a server from one address, and what an honest client in another room has to bear.

    python -m pytest tests/attacks               the quick ones
    python -m pytest tests/attacks --attacks     all
    python -m tests.attacks [ROW ...]            the same as a table; --help lists the rows

Each attack runs for a few seconds against a server of its own, on loopback, in a process of its own
(`attacker`), so that its Python holds up no honest client. Meanwhile `measure` sends offers between
two honest clients and lets newcomers in. What counts is the CPU time that the server uses between
sending and receipt: unlike wall time, it is not longer because the machine is busy with something
else. `row` has the bounds that must hold.

With SIGNALING_TRANSPORT=tornado in the environment, the servers use Tornado's protocol. It has no
fair turns, no ceiling on memory and no care for newcomers: only the log and the order of messages
are checked, and an attack is given up when an honest client has waited for half a minute.
"""

"""Servers that share their rooms.

Most of what can go wrong between them is a matter of order, so a simulation looks for it: the real
service and the real script run through random histories, in one process and in no time.

- virtual.py: event loops whose time is a number
- redis_stand_in.py: Redis
- network.py: connections to it that delay, freeze and break
- world.py: servers and clients
- faults.py: what befalls them
- simulation.py: histories
- checks.py: what must hold at their ends

`make simulate SEEDS="0 1000"` runs more of it than `make test`.
"""

"""Measures signaling servers: what a unit of work costs in CPU time, and what is lost on the way.

`python -m bench --help` is the way in. The parts, from the outside in:

- `__main__`: the command line;
- `runner`: the order of rounds, one server and one load process at a time;
- `server`: a server command, started and ended; `guard`: nothing stays behind;
- `load`: the load process, which runs one of `scenarios` over connections (`client`, `frames`);
- `readings`, `measure`: what is read from the operating system, and the arithmetic on it;
- `report`, `plot`, `machine`: what the reader gets.
"""

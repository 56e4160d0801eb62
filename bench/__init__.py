"""Measures signaling servers: the CPU time that a unit of work costs, and the messages lost.

Start with `python -m bench --help`. The parts, from the outside in:

- `__main__`: the command line;
- `cluster`: a command of its own, for servers that share their rooms over Redis;
- `runner`: the order of rounds, with one server and one load process at a time;
- `server`: starts and ends a server's command; `guard`: sees to it that no process stays behind;
- `load`: the load process, which runs one of `scenarios` over connections (`client`, `frames`);
- `readings`, `measure`: the figures read from the operating system, and the arithmetic on them;
- `report`, `plot`, `machine`: the tables, the picture and the description of the machine.
"""

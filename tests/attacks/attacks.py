"""All attacks by name, in the order of the table."""

from tests.attacks import memory, messages, requests, rooms
from tests.attacks.attack import Attack

ATTACKS = {
    each.name: each
    for module in (messages, rooms, requests, memory)
    for each in vars(module).values()
    if isinstance(each, Attack)
}

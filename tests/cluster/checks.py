"""What must hold when a history is over and nothing has happened for a while."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

from tests.cluster.world import PREFIX, Server, SimulatedClient, World

Rooms = dict[str, list[SimulatedClient]]


def violations(world: World) -> Iterator[str]:
    """Yield a line for each thing that does not hold."""
    rooms: Rooms = {}
    for client in world.clients:
        if client.lives and client.room is not None:
            rooms.setdefault(client.room, []).append(client)
    for server in world.servers:
        yield from server.loop.failures
    yield from world.loop.failures
    for server in world.live_servers:
        yield from _is_idle(server)
        yield from _knows_the_members(server, rooms)
    for room, members in rooms.items():
        for one, other in combinations(members, 2):
            yield from _one_was_told(room, one, other)
    yield from _redis_holds_the_rooms(world, rooms)
    by_id = {client.id: client for client in world.clients}
    for client in world.clients:
        yield from _hears_of_who_left_no_more(client, by_id)
        yield from _hears_of_who_came_once(client, by_id)
        yield from _gets_messages_in_order(client)
        yield from _gets_nothing_when_taken_for_dead(client, by_id)
        yield from _knows_what_was_lost(client, by_id)


def _is_idle(server: Server) -> Iterator[str]:
    """I0: each server is in the cluster, and nothing waits."""
    service, bus = server.service, server.bus
    if not service.ready:
        yield f"I0 {server.name} is not ready"
    if service._asks:
        yield f"I0 {server.name} waits for joins: {service._asks}"
    if service._waiting or len(bus._queue) > 1:  # A beat may be on its way.
        yield f"I0 {server.name} waits for Redis with {service._waiting} bytes: {bus._queue}"


def _knows_the_members(server: Server, rooms: Rooms) -> Iterator[str]:
    """I1: each server with a member in a room knows just the members."""
    expected = {
        room: {member.id for member in members}
        for room, members in rooms.items()
        if any(member.server is server for member in members)
    }
    known = {room.id: set(room.clients) for room in server.repo._rooms.values()}
    if known != expected:
        yield f"I1 {server.name} knows {known} instead of {expected}"
    service = server.service
    members = {member.id: member.server for room in expected for member in rooms[room]}
    local = {member for member, where in members.items() if where is server}
    if service._members.keys() != local or not all(service._members.values()):
        yield f"I1 {server.name} keeps {service._members} instead of {local}"
    if service._remotes.keys() != members.keys() - local:
        yield f"I1 {server.name} keeps {list(service._remotes)} instead of {members.keys() - local}"


def _was_told(client: SimulatedClient, of: SimulatedClient) -> bool:
    """Return whether a member was told that another has come, and not that it has left again."""
    told = False
    for event in client.events:
        if event.kind == "in" or (event.kind == "left" and event.who == of.id):
            told = False
        elif event.kind == "new" and event.who == of.id:
            told = True
    return told


def _one_was_told(room: str, one: SimulatedClient, other: SimulatedClient) -> Iterator[str]:
    """I2: of each two members, exactly one was told of the other since the last leave.

    If one has joined again the room in which it is, it may be both.
    """
    told = (_was_told(one, other), _was_told(other, one))
    if not any(told):
        yield f"I2 {room}: neither of {one}, {other} was told of the other"
    if all(told) and not (one.has_rejoined or other.has_rejoined):
        yield f"I2 {room}: both of {one}, {other} were told of the other"


def _hears_of_who_left_no_more(
    client: SimulatedClient, by_id: dict[str, SimulatedClient]
) -> Iterator[str]:
    """I3: nobody is told twice that somebody left, or gets a message from who has left.

    In between, one of the two must have been told of the other; or the server of the client has
    entered anew and knows the other as one who was there before.
    """
    left: dict[str, float] = {}
    for event in client.events:
        match event.kind:
            case "in" | "anew":
                left.clear()
            case "new":
                left.pop(event.who, None)
            case "left" | "message":
                since = left.get(event.who)
                if since is not None and not any(
                    back.kind == "new" and back.who == client.id and since <= back.time
                    for back in by_id[event.who].events
                ):
                    yield f"I3 {client} was told that {event.who} left, and then {event}"
                if event.kind == "left":
                    left[event.who] = event.time


def _hears_of_who_came_once(
    client: SimulatedClient, by_id: dict[str, SimulatedClient]
) -> Iterator[str]:
    """I3: nobody is told twice of the same newcomer, unless it has asked for the room again."""
    known: set[str] = set()
    for event in client.events:
        match event.kind:
            case "in":
                known.clear()
            case "left":
                known.discard(event.who)
            case "new":
                if event.who in known and not by_id[event.who].has_rejoined:
                    yield f"I3 {client} was told again of {event}"
                known.add(event.who)


def _gets_messages_in_order(client: SimulatedClient) -> Iterator[str]:
    """I4: messages come in order, once, and from the room in which the client is."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for event in client.events:
        if event.kind == "message":
            numbers[event.who].append(event.number)
            if len(set(event.rooms)) != 1:
                yield f"I4 {client} got a message across rooms: {event}"
    for sender, got in numbers.items():
        if got != sorted(set(got)):
            yield f"I4 {client} got from {sender} {got}"


def _gets_nothing_when_taken_for_dead(
    client: SimulatedClient, by_id: dict[str, SimulatedClient]
) -> Iterator[str]:
    """I4: a server whose lease has run out delivers nothing to its clients."""
    for place, event in enumerate(client.events):
        if event.kind != "message" or by_id[event.who].server is client.server:
            continue
        ends = (e.kind for e in client.events[place:] if e.kind in ("in", "anew", "close"))
        if next(ends, "") != "anew":
            continue
        sender = by_id[event.who].events
        sent = next(e for e in sender if e.kind == "sent" and e.number == event.number)
        told = [e for e in sender if sent.time < e.time < event.time]
        if any(e.kind == "left" and e.who == client.id for e in told) and not any(
            e.kind in ("in", "anew") for e in told
        ):
            yield f"I4 {client} got a message when {event.who} was told that it had left: {event}"


def _knows_what_was_lost(
    client: SimulatedClient, by_id: dict[str, SimulatedClient]
) -> Iterator[str]:
    """I4: nothing is lost in silence.

    For each message that did not arrive, its sender is told that, or that who should have got it
    has left; or one of the two is gone. And where no server was fenced, there is no other error.
    """
    if not client.lives:
        return
    fenced = any(len(server.names) > 1 for server in client.world.servers)
    lost: Counter[str] = Counter()
    unexplained: Counter[str] = Counter()
    for event in client.events:
        if event.kind == "sent" and not _has_got(by_id[event.who], client, event.number):
            lost[event.what] += 1
            unexplained[event.what] += not _knows_why(client, by_id[event.who], event.time)
    for kind in ("offer", "answer", "ice candidate"):
        errors = sum(
            event.kind == "error" and event.who == f"failed to transfer {kind}"
            for event in client.events
        )
        if errors < unexplained[kind]:
            yield f"I4 {client} was told of {errors} of {unexplained[kind]} lost messages ({kind})"
        if errors > lost[kind] and not fenced:
            yield f"I4 {client} was told of {errors} lost messages of {lost[kind]} ({kind})"


def _knows_why(client: SimulatedClient, addressee: SimulatedClient, sent: float) -> bool:
    """Return whether a client needs no error for a message that did not arrive."""
    later = [event for event in client.events if event.time >= sent]
    if not addressee.lives or any(e.kind == "left" and e.who == addressee.id for e in later):
        return True
    if any(event.kind == "in" and not event.who for event in later):
        return True  # It was told that a join has failed, and was in no room.
    # When one of the two servers is fenced, the other's members are told that its members have
    # left: but not those who have left that room themselves.
    return any(event.kind == "in" for event in later) and any(
        event.kind == "anew" and event.time >= sent for event in (*client.events, *addressee.events)
    )


def _has_got(client: SimulatedClient, sender: SimulatedClient, number: int) -> bool:
    return any(
        event.kind == "message" and event.who == sender.id and event.number == number
        for event in client.events
    )


def _membership(client: SimulatedClient) -> str:
    return f"{client.server.names[-1]} {client.server.service._members.get(client.id)}"


def _redis_holds_the_rooms(world: World, rooms: Rooms) -> Iterator[str]:
    """I5: Redis holds the servers, the rooms and the members, and nothing for ever."""
    base = f"{{{PREFIX}}}:{world.redis.run_id}:"
    keys = {
        key.removeprefix(base): value
        for key, value in world.redis.keys().items()
        if key.startswith(base) and not key.startswith((f"{base}last:", f"{base}late:"))
    }
    servers = {server.names[-1]: server for server in world.live_servers if server.names}
    expected = {"servers"} if servers else set()
    expected |= {f"inbox:{name}" for name in servers}
    for room, members in rooms.items():
        expected.add(f"room:{room}")
        held = {client.decode(): value for client, value in keys.get(f"room:{room}", {}).items()}
        wanted = {member.id: _membership(member).encode() for member in members}
        if held != wanted:
            yield f"I5 Redis has {held} in {room} instead of {wanted}"
    for name, server in servers.items():
        wanted = {c.id: c.room.encode() for c in server.clients if c.lives and c.room is not None}
        held = {client.decode(): room for client, room in keys.get(f"members:{name}", {}).items()}
        if wanted:
            expected.add(f"members:{name}")
        if held != wanted:
            yield f"I5 Redis has {held} on {name} instead of {wanted}"
    names = {name.decode() for name in keys.get("servers", ())}
    if names != set(servers):
        yield f"I5 Redis has the servers {names} instead of {set(servers)}"
    if keys.keys() != expected:
        yield f"I5 Redis has the keys {sorted(keys)} instead of {sorted(expected)}"
    for key in world.redis.lasting():
        yield f"I5 Redis keeps {key} for ever"

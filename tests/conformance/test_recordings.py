"""Clients receive what clients of the Go original were recorded to receive, within the contract.

``recordings.jsonl`` has a scenario a line. A step says what one client does, and what each client
has received by then. ``<A>`` stands for the id of client A, ``<room>`` for the start of a room's
name. Of HTTP, only the parts of the contract are compared. The recorded answers to single frames
are in ``test_frames.py``.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.conformance.conftest import Connect
from tests.support.client import http
from tests.support.peer import Peer, canonical

Step = dict[str, Any]

RECORDINGS = Path(__file__).with_name("recordings.jsonl")
SCENARIOS = [json.loads(line) for line in RECORDINGS.read_text().splitlines()]
REQUESTS: list[Step] = [step for scenario in SCENARIOS for step in scenario.get("http", [])]
REPLAYS: dict[str, list[Step]] = {
    scenario["scenario"]: scenario["steps"] for scenario in SCENARIOS if "steps" in scenario
}


def substitute(text: str, peers: dict[str, Peer], room: str) -> str:
    """Return recorded text with the ids and room names of this run."""
    for name, peer in peers.items():
        text = text.replace(f"<{name}>", peer.id)
    return text.replace("<room>", room)


@pytest.mark.parametrize("steps", REPLAYS.values(), ids=REPLAYS)
async def test_replay(url: str, connect: Connect, room: str, steps: list[Step]) -> None:
    """After each step each client has received what was recorded, and nothing else."""
    peers: dict[str, Peer] = {}
    for step in steps:
        actor = step["client"]
        if step["do"] == "connect":
            # `Peer.connect` checks that the first message is the id.
            peers[actor] = await connect(url=urljoin(url, step.get("path", "")))
            continue
        text = substitute(step["text"], peers, room)
        await peers[actor].send_text(text)
        if '"join"' in text:
            peers[actor].in_room = True
        # The actor comes first: when it has its answer, those on the same server have theirs. Those
        # on another one are waited for.
        for name in sorted(peers, key=lambda name: name != actor):
            expected = [
                canonical(substitute(text, peers, room)) for text in step["recv"].get(name, [])
            ]
            received = [] if name == actor else [await peers[name].receive() for _ in expected]
            assert received + await peers[name].received() == expected, step


@pytest.mark.parametrize("step", REQUESTS, ids=lambda step: step["note"])
async def test_http(url: str, step: Step) -> None:
    """A request gets the recorded status, and `/health` also the content type and body."""
    request = step["request"].replace("{port}", str(urlsplit(url).port))
    response = await http(url, request.encode())
    assert response.status == step["status"]
    if response.status == 200:
        assert response.headers["content-type"] == step["content_type"]
        assert response.body.decode() == step["body"]

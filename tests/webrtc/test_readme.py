"""The Python client in the README does what the README says."""

import asyncio
import re
import sys
from pathlib import Path

from tests.server_process import ServerProcess

README = Path(__file__).parent.parent.parent / "README.md"


async def test_two_of_the_clients_talk(server: ServerProcess, tmp_path: Path) -> None:
    """The one that is there first offers, and says hello over the data channel."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    # No STUN server is to be asked for addresses that loopback has no use for.
    source = (
        blocks[0]
        .replace("ws://localhost:5000/connect", server.url)
        .replace("RTCPeerConnection()", "RTCPeerConnection(RTCConfiguration(iceServers=[]))")
        .replace("import RTCPeer", "import RTCConfiguration, RTCPeer")
    )
    client = tmp_path / "client.py"
    client.write_text(source, encoding="utf-8")

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(client), stdout=asyncio.subprocess.PIPE
        )

    first = await start()
    await asyncio.to_thread(server.wait_for_line, "joined room 'room'")
    second = await start()
    try:
        assert second.stdout
        async with asyncio.timeout(20):
            assert await second.stdout.readline() == b"hello\n"
    finally:
        for process in (first, second):
            process.kill()
            await process.communicate()

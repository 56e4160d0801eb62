"""The TURN server coturn in a process of its own, on 127.0.0.1."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.valkey import free_port

COTURN = shutil.which("turnserver")

needs_coturn = pytest.mark.skipif(
    COTURN is None and os.environ.get("CI") != "true", reason="needs coturn: apt install coturn"
)
"""Marks a test that is skipped without coturn, but not in CI."""


@contextmanager
def running_coturn(secret: str) -> Iterator[str]:
    """Run coturn with a secret, yield `127.0.0.1:PORT`, and end it on leaving.

    It relays only between addresses of this machine, over UDP.
    """
    if COTURN is None:
        pytest.fail("coturn is missing, and CI needs it: apt install coturn")
    port = free_port()
    with TemporaryDirectory(prefix="coturn-") as directory:
        command = [
            *(COTURN, "-n", "--log-file=stdout", "--no-tls", "--no-dtls", "--no-cli"),
            *("--use-auth-secret", f"--static-auth-secret={secret}", "--realm=example.com"),
            *("--listening-ip=127.0.0.1", f"--listening-port={port}"),
            *("--relay-ip=127.0.0.1", "--allow-loopback-peers"),
            *(f"--pidfile={Path(directory) / 'pid'}", f"--userdb={Path(directory) / 'db'}"),
        ]
        with subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                # It listens before it starts the thread that knows the secret.
                for line in process.stdout:
                    if re.search(r"DB connection success", line):
                        break
                else:
                    pytest.fail("coturn has ended")
                yield f"127.0.0.1:{port}"
            finally:
                process.kill()

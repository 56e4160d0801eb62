"""The image: the files that get into it are enough to run, and its health check works."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.certificates import files
from tests.support.client import http
from tests.support.server_process import NO_VARIABLES, server_process

ROOT = Path(__file__).parent.parent


def copy_for_the_image(target: Path) -> None:
    """Copy the files that .dockerignore lets in."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        for path in ROOT.glob(line[1:]) if line.startswith("!") else []:
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".env")
                shutil.copytree(path, target / path.name, ignore=ignored)
            else:
                shutil.copy(path, target)


def test_what_gets_in_is_enough(tmp_path: Path) -> None:
    """The server and its demo run on the files that .dockerignore lets in."""
    copy_for_the_image(tmp_path)
    command = [sys.executable, str(tmp_path / "main.py")]
    with server_process("-demo", command=command, cwd=tmp_path) as server:
        for path in ("/", "/sdk/signaling.js"):
            request = f"GET {path} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n\r\n"
            assert asyncio.run(http(server.url, request.encode())).status == 200


def test_nothing_else_gets_in(tmp_path: Path) -> None:
    """Neither tests nor settings get in, nor what make and git keep here."""
    copy_for_the_image(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    others = {".env", ".git", ".venv", "bench", "bundle", "dist", "docs", "node_modules", "tests"}
    assert names.isdisjoint(others)


def test_healthcheck() -> None:
    """The image's check succeeds when a server answers at PORT, and fails when none does."""
    check = re.search(
        r"HEALTHCHECK .*?CMD (\[.*?\])\n", (ROOT / "Dockerfile").read_text(), re.DOTALL
    )
    assert check
    command = [sys.executable, *json.loads(check[1])[1:]]

    def code(port: int, env: Mapping[str, str] = NO_VARIABLES) -> int:
        environ = os.environ | {"PORT": str(port)} | dict(env)
        return subprocess.run(command, env=environ, capture_output=True, timeout=10).returncode

    with server_process(env=files().env) as server:
        assert code(server.port, files().env) == 0
        assert code(server.port) != 0
    with server_process() as server:
        assert code(server.port) == 0
    assert code(server.port) == 1

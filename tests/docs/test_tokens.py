"""The examples in docs/tokens.md make tokens and keys that the server takes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from docs.references import ROOT
from edge.tokens import Tokens, read_public_keys

TEXT = (ROOT / "docs" / "tokens.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\| .* \| `(\w+)` \| `(openssl .*)` \|$", re.MULTILINE)

SECRET = "a-secret-of-the-application-and-the-server"


def block(language: str, word: str) -> str:
    """Return the one block in a language that has the word."""
    blocks: list[tuple[str, str]] = FENCE.findall(TEXT)
    (found,) = (text for name, text in blocks if name == language and word in text)
    return found


def run(*command: str, cwd: Path) -> str:
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "TOKEN_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def is_for_the_meeting(token: str, tokens: Tokens) -> bool:
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/connect", "HTTP/1.0"),
        headers=HTTPHeaders({"Authorization": f"Bearer {token}"}),
    )
    grant = tokens.check(request)
    return (
        grant.subject == "alice" and grant.allows("meeting-42") and not grant.allows("meeting-43")
    )


def test_python(tmp_path: Path) -> None:
    program = block("python", "jwt.encode") + "print(token)"
    token = run(sys.executable, "-c", program, cwd=tmp_path)
    assert is_for_the_meeting(token, Tokens([SECRET]))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: install Node.js")
def test_javascript(tmp_path: Path) -> None:
    """The block that needs no package."""
    program = block("js", "node:crypto") + "console.log(token);"
    token = run("node", "--input-type=module", "--eval", program, cwd=tmp_path)
    assert is_for_the_meeting(token, Tokens([SECRET]))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: install OpenSSL")
@pytest.mark.parametrize(("algorithm", "command"), COMMAND.findall(TEXT))
def test_keys(algorithm: str, command: str, tmp_path: Path) -> None:
    """Each kind of key can be made with the commands, and is used with the algorithm beside it."""
    _, public = block("bash", "private.pem").splitlines()
    run("sh", "-ec", f"{command}\n{public}", cwd=tmp_path)
    private = (tmp_path / "private.pem").read_text()
    claims = {"sub": "alice", "rooms": ["meeting-42"], "exp": 1e10}
    token = jwt.encode(claims, private, algorithm)
    assert is_for_the_meeting(token, Tokens([], read_public_keys(str(tmp_path / "public.pem"))))


def test_every_kind_of_key_is_shown() -> None:
    assert sorted(name for name, _ in COMMAND.findall(TEXT)) == ["ES256", "EdDSA", "RS256"]

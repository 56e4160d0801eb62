"""`make demo-https`: the demo page over TLS, with a certificate and a QR code for the phone."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from cryptography import x509

from tests.support.https_demo import own_address
from tests.support.server_process import run_main


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def demo(port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.https_demo", "-port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        yield demo
        demo.terminate()


async def test_the_page_is_served_over_tls(port: int, demo: subprocess.Popen[str]) -> None:
    """Until Ctrl-C. The URL has this machine's address, which is in the certificate."""
    assert demo.stdout is not None and demo.stderr is not None
    while not (line := await asyncio.to_thread(demo.stdout.readline)).startswith("https"):
        assert set(line) <= set(" \u2580\u2584\u2588\n\x1b[0123456789;m"), line
    assert line == f"https://{own_address()}:{port}/\n"
    while "demo: https://localhost" not in await asyncio.to_thread(demo.stderr.readline):
        pass

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "localhost" in names.value.get_values_for_type(x509.DNSName)
    addresses = names.value.get_values_for_type(x509.IPAddress)
    assert {ip_address("127.0.0.1"), ip_address(own_address())} <= {*addresses}
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.transport.abort()

    demo.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(demo.wait, 10) == 0


def test_a_wrong_flag() -> None:
    """It says the same as the server."""
    module = [sys.executable, "-m", "tests.support.https_demo", "-port", "x"]
    ended = subprocess.run(module, capture_output=True, text=True, timeout=30)
    server = run_main("-port", "x")
    assert (ended.returncode, ended.stdout) == (server.returncode, server.stdout)
    assert ended.stderr.splitlines()[0] == server.stderr.splitlines()[0]

"""`SIGNALING_TLS_CERT` and `SIGNALING_TLS_KEY`: the server as a user runs it, over TLS."""

import asyncio
import logging
import os
import resource
import signal
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from edge.tls import Certificate, CertificateError
from tests.support.certificates import Files, authority, client_context, files, make
from tests.support.client import Connection, Response, http, read_response
from tests.support.peer import Peer, new_client, offer
from tests.support.server_process import MAIN, TRANSPORTS, ServerProcess, run_main, server_process
from tests.support.waiting import until

SIGHUP = getattr(signal, "SIGHUP", None)


async def get(server: ServerProcess, path: str) -> Response:
    """Return the response to a request, on a connection of its own."""
    return await http(server.url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def serial_number(server: ServerProcess) -> int:
    """Return the serial number of the certificate that a new client is shown."""
    _, writer = await asyncio.open_connection(server.host, server.port, ssl=client_context())
    shown = writer.get_extra_info("ssl_object").getpeercert()
    writer.transport.abort()
    return int(shown["serialNumber"], 16)


def number(cert: Path) -> int:
    """Return the serial number of a certificate in a file."""
    return load_pem_x509_certificate(cert.read_bytes()).serial_number


@pytest.fixture
def own(tmp_path: Path) -> Files:
    """Return the files of a certificate that the test may replace."""
    own = Files(tmp_path / "cert.pem", tmp_path / "key.pem")
    own.write(make())
    return own


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    env = {**files().env, "SIGNALING_TRANSPORT": request.param}
    with server_process("-demo", env=env) as server:
        yield server


async def test_clients_over_tls(server: ServerProcess) -> None:
    one, two = await Peer.connect(server.url), await Peer.connect(server.url)
    await one.join("room")
    await two.join("room")
    assert await one.receive() == new_client(two)
    await two.say("offer", client_id=one.id, sdp="x" * 100_000)
    assert await one.receive() == offer(two, "x" * 100_000)
    assert await one.close() == 1000
    two.abort()


async def test_pages_over_tls(server: ServerProcess) -> None:
    assert (await get(server, "/health")).body == b"OK"
    assert (await get(server, "/ready")).body == b"OK"
    page = await get(server, "/")
    assert (page.status, page.body[:15]) == (200, b"<!doctype html>")
    assert server.wait_for_line(rf"demo: https://localhost:{server.port}/$")


async def test_plain_http_is_told_so(server: ServerProcess) -> None:
    plain = server.url.replace("wss:", "ws:")
    response = await http(plain, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response.status == 400
    assert response.body == b"400 Bad Request: plain HTTP on a port for HTTPS\n"


async def test_application_protocols(server: ServerProcess) -> None:
    """HTTP/1.1 is chosen, also of those that a browser offers, and nothing of others."""
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority().configure_trust(context)
        context.set_alpn_protocols(offered)
        _, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
        writer.transport.abort()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_tls_1_1_is_refused(server: ServerProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.open_connection(server.host, server.port, ssl=context)


def hello(group: int, share: bytes) -> bytes:
    """Return the first message of a TLS 1.3 client that can do nothing but this key exchange."""

    def sized(data: bytes, size: int = 2) -> bytes:
        return len(data).to_bytes(size, "big") + data

    name = group.to_bytes(2, "big")
    extensions = {
        10: sized(name),  # supported_groups
        13: sized(b"\x04\x03\x08\x04\x08\x07"),  # signature_algorithms
        43: sized(b"\x03\x04", 1),  # supported_versions
        51: sized(name + sized(share)),  # key_share
    }
    fields = b"".join(kind.to_bytes(2, "big") + sized(it) for kind, it in extensions.items())
    body = b"\x03\x03" + bytes(32) + b"\0" + sized(b"\x13\x01") + b"\x01\0" + sized(fields)
    return b"\x16\x03\x01" + sized(b"\x01" + sized(body, 3))


async def test_no_key_exchange_that_costs_much(server: ServerProcess) -> None:
    """With ffdhe8192, an answer would take 0.2 s, to a message that costs its sender nothing."""
    ffdhe8192 = 0x0104, (1 << 8190).to_bytes(1024, "big")
    client = await Connection.open(server.url.replace("wss:", "ws:"))
    client.write(hello(*ffdhe8192))
    handshake_failure = b"\x15\x03\x03\0\x02\x02\x28"
    assert await client.end() == handshake_failure
    client.abort()


async def test_clients_are_closed_when_the_server_stops() -> None:
    with server_process("-tls-cert", str(files().cert), "-tls-key", str(files().key)) as server:
        client = await Peer.connect(server.url)
        idle = await Connection.open(server.url)
        server.send_signal(signal.SIGTERM)
        assert await client.closed() == 1001
        assert await idle.end() == b""
        assert await asyncio.to_thread(server.wait) == 0


# A new certificate


@pytest.mark.skipif(SIGHUP is None, reason="needs SIGHUP: run it on Linux or macOS")
async def test_a_new_certificate_on_sighup(own: Files) -> None:
    """New clients are shown it. Those that are there notice nothing."""
    with server_process(env=own.env) as server:
        one, two = await Peer.connect(server.url), await Peer.connect(server.url)
        page = await Connection.open(server.url)
        assert await serial_number(server) == number(own.cert)
        before = number(own.cert)
        own.write(make())
        server.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for_line, "the certificate was loaded again")
        assert await serial_number(server) == number(own.cert) != before

        await one.join("room")
        await two.join("room")
        assert await one.receive() == new_client(two)
        page.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_response(page.reader)).body == b"OK"
        for client in (one, two, page):
            client.abort()


@pytest.mark.skipif(SIGHUP is None, reason="needs SIGHUP: run it on Linux or macOS")
async def test_a_bad_certificate_on_sighup(own: Files) -> None:
    """It is logged, and new clients are shown the old one."""
    before = number(own.cert)
    with server_process(env=own.env) as server:
        own.cert.write_text("no certificate")
        server.send_signal(signal.SIGHUP)
        text = rf"the certificate stays as it is: SIGNALING_TLS_CERT='{own.cert}' is not a"
        await asyncio.to_thread(server.wait_for_line, text)
        assert await serial_number(server) == before


@pytest.mark.skipif(SIGHUP is None, reason="needs SIGHUP: run it on Linux or macOS")
def test_sighup_without_tls() -> None:
    """It ends the server, as it ends any program that does not know it."""
    with server_process(exit_code=-signal.SIGHUP) as server:
        server.send_signal(signal.SIGHUP)
        assert server.wait() == -signal.SIGHUP


async def test_a_new_certificate_is_noticed(own: Files, caplog: pytest.LogCaptureFixture) -> None:
    """Also when key and certificate are replaced one after the other, and the links to them."""
    caplog.set_level(logging.INFO, "edge.tls")
    certificate = Certificate(str(own.cert), str(own.key))
    certificate.watch(0.01)
    context = certificate.context()
    await asyncio.sleep(0.05)
    assert certificate.context() is context
    assert not caplog.messages

    new = Files(own.cert.with_name("new cert"), own.key.with_name("new key"))
    new.write(make())
    os.replace(new.key, own.key)
    await until(lambda: len(caplog.messages) == 1)
    assert caplog.messages == [
        "the certificate stays as it is: "
        f"SIGNALING_TLS_KEY='{own.key}' is not the key of SIGNALING_TLS_CERT='{own.cert}'"
    ]
    assert certificate.context() is context
    os.replace(new.cert, own.cert)
    await until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1] == "the certificate was loaded again"
    assert certificate.context() is not context

    own.key.unlink()
    await until(lambda: len(caplog.messages) == 3)
    assert caplog.messages[2].endswith("cannot be read: No such file or directory")
    certificate.stop()


async def test_a_new_certificate_is_tried_again(
    own: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be readable later without having changed. That it was not is logged once."""
    caplog.set_level(logging.INFO, "edge.tls")
    certificate = Certificate(str(own.cert), str(own.key))
    own.write(make())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        certificate.watch(0.01)
        await until(lambda: bool(caplog.messages))
        await asyncio.sleep(0.05)  # It is looked at again.
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: len(caplog.messages) == 2)
    assert caplog.messages == [
        "the certificate stays as it is: "
        f"SIGNALING_TLS_CERT='{own.cert}' cannot be read: Too many open files",
        "the certificate was loaded again",
    ]
    await asyncio.sleep(0.05)
    assert len(caplog.messages) == 2
    certificate.stop()


# Settings that cannot be used


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a certificate, its key, and what is not fit for either."""
    path = tmp_path_factory.mktemp("material")
    made = make()
    Files(path / "cert", path / "key").write(made)
    Files(path / "other cert", path / "other key").write(make())
    rsa = authority().issue_cert("localhost", key_type=trustme.KeyType.RSA)
    Files(path / "rsa cert", path / "rsa key").write(rsa)
    (path / "text").write_text("-----BEGIN")
    (path / "empty").touch()
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    for name, form in (
        ("locked key", PrivateFormat.PKCS8),
        ("locked old key", PrivateFormat.TraditionalOpenSSL),
    ):
        locked = key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))
        (path / name).write_bytes(locked)
    return path


@pytest.mark.parametrize(
    ("cert", "key", "what"),
    [
        ("away", "key", "SIGNALING_TLS_CERT='away' cannot be read: No such file or directory"),
        ("cert", "away", "SIGNALING_TLS_KEY='away' cannot be read: No such file or directory"),
        (".", "key", "SIGNALING_TLS_CERT='.' cannot be read: Is a directory"),
        ("text", "key", "SIGNALING_TLS_CERT='text' is not a certificate in PEM"),
        ("empty", "key", "SIGNALING_TLS_CERT='empty' is not a certificate in PEM"),
        ("key", "cert", "SIGNALING_TLS_CERT='key' is not a certificate in PEM"),
        ("cert", "text", "SIGNALING_TLS_KEY='text' is not a key in PEM, without a passphrase"),
        ("cert", "cert", "SIGNALING_TLS_KEY='cert' is not a key in PEM, without a passphrase"),
        ("cert", "locked key", "SIGNALING_TLS_KEY='locked key' is not a key in PEM, without a"),
        ("cert", "locked old key", "SIGNALING_TLS_KEY='locked old key' is not a key in PEM"),
        ("cert", "other key", "SIGNALING_TLS_KEY='other key' is not the key of SIGNALING_TLS_CERT"),
        ("cert", "rsa key", "SIGNALING_TLS_KEY='rsa key' is not the key of SIGNALING_TLS_CERT"),
    ],
)
def test_files_that_cannot_be_used(
    cert: str, key: str, what: str, material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(material)
    with pytest.raises(CertificateError, match=what.replace(".", r"\.")) as error:
        Certificate(cert, key)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "env", "line"),
    [
        (
            ("-tls-cert", "cert"),
            {},
            "for TLS, SIGNALING_TLS_KEY (-tls-key) is missing",
        ),
        ((), {"SIGNALING_TLS_KEY": "key"}, "for TLS, SIGNALING_TLS_CERT (-tls-cert) is missing"),
        (
            ("-tls-key", "key"),
            {"SIGNALING_TLS_CERT": "away"},
            "SIGNALING_TLS_CERT='away' cannot be read: No such file or directory",
        ),
    ],
)
def test_the_command_line_says_so(
    flags: tuple[str, ...], env: dict[str, str], line: str, material: Path
) -> None:
    """In one line, and the exit code is 2."""
    ended = run_main(*flags, env=env, cwd=material)
    assert (ended.returncode, ended.stdout) == (2, "")
    (text,) = ended.stderr.splitlines()
    assert text.endswith(line)


async def test_without_tls() -> None:
    """Nothing has been imported for it."""
    program = """if True:
        import sys
        import main
        try:
            main.main()
        finally:
            print("modules:", *sorted(sys.modules), file=sys.stderr)
    """
    command = (sys.executable, "-P", "-c", program)
    for env, imported in (({}, set[str]()), (files().env, {"edge.tls", "transport.tls"})):
        env = {**env, "PYTHONPATH": str(MAIN.parent)}
        with server_process(env=env, command=command) as server:
            assert (await get(server, "/health")).status == 200
        modules = server.wait_for_line("modules: .*")[0].split()
        assert {"edge.tls", "transport.tls"} & {*modules} == imported

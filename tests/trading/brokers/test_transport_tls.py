"""The session over TLS: what it trusts, that its deadline holds inside TLS too, and what counts as sent."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.trading.brokers.raw_server import answer
from trading.brokers.budget import RateBudget
from trading.brokers.errors import ExchangeFailed
from trading.brokers.transport import BrokerSession, read_json

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
GOOD = answer(200, {"hello": "world"})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        [*words, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    both = directory / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    return both


@pytest.fixture
def serve(certificate: Path) -> Iterator[Callable[[list[bytes]], tuple[str, list[bytes]]]]:
    """Start a TLS server that sends these pieces, 50 ms apart, for each request; its URL and what it has read."""
    listeners: list[socket.socket] = []

    def start(pieces: list[bytes]) -> tuple[str, list[bytes]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        read: list[bytes] = []

        def run() -> None:
            while True:
                try:
                    raw, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(raw, server_side=True) as connection:
                        while data := connection.recv(65536):
                            read.append(data)
                            for piece in pieces:
                                connection.sendall(piece)
                                time.sleep(0.05)
                except OSError:
                    pass  # the client does not trust us, or has hung up

        threading.Thread(target=run, daemon=True).start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}/v3/x", read

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def session() -> BrokerSession:
    return BrokerSession(budget=RateBudget(per_second=1000, burst=1000, reserve=1), headers={}, deadline=0.7)


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))


def test_a_trusted_server_answers_and_its_connection_is_kept(
    serve: Callable[[list[bytes]], tuple[str, list[bytes]]], session: BrokerSession, trusted: None
) -> None:
    url, read = serve([GOOD])
    for _ in range(2):
        session.post(url, data=b"x")
        assert session.last is not None and session.last.sent
        assert read_json(session.last) == {"hello": "world"}
    pools = session.get_adapter(url).poolmanager.pools  # type: ignore[attr-defined]
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118 (not a dict)
    assert read


@pytest.mark.fault("F-016", broker="every")
def test_a_server_that_is_not_trusted_gets_nothing(
    serve: Callable[[list[bytes]], tuple[str, list[bytes]]], session: BrokerSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    url, read = serve([GOOD])
    with pytest.raises(ExchangeFailed, match="CERTIFICATE_VERIFY_FAILED"):
        session.post(url, data=b"x")
    assert session.last is not None and not session.last.sent and read == []


def test_a_body_that_drips_inside_tls_is_cut_at_the_deadline(
    serve: Callable[[list[bytes]], tuple[str, list[bytes]]], session: BrokerSession, trusted: None
) -> None:
    url, _ = serve([GOOD[:40]] + [GOOD[n : n + 1] for n in range(40, len(GOOD))])
    began = time.monotonic()
    with pytest.raises(ExchangeFailed, match=r"within 0\.7 s"):
        session.post(url, data=b"x")
    assert time.monotonic() - began < 1.2
    assert session.last is not None and session.last.sent

"""The session that SDKs are given: its deadline, its literalness, its evidence, its parser."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.brokers.raw_server import Request, always, answer, serving
from trading.brokers.budget import RateBudget
from trading.brokers.errors import BadData, ExchangeFailed
from trading.brokers.transport import BODY_LIMIT, BrokerSession, read_json, storable
from trading.brokers.wire import Exchange

TOKEN = "a-very-secret-token"


def make_session(deadline: float = 1.0, budget: RateBudget | None = None) -> BrokerSession:
    return BrokerSession(
        budget=budget or RateBudget(per_second=1000, burst=1000, reserve=10),
        headers={"Authorization": f"Bearer {TOKEN}"},
        secrets=(TOKEN,),
        deadline=deadline,
    )


def last(session: BrokerSession) -> Exchange:
    assert session.last is not None
    return session.last


def fails(session: BrokerSession, url: str, method: str = "GET") -> Exchange:
    with pytest.raises(ExchangeFailed):
        session.request(method, url, json={"order": 1} if method != "GET" else None)
    return last(session)


def test_a_server_that_never_answers_costs_the_deadline_and_no_more() -> None:
    with serving(lambda connection, request: time.sleep(5)) as server:
        began = time.monotonic()
        exchange = fails(make_session(deadline=0.5), server.url, "POST")
        assert time.monotonic() - began < 0.9
    assert exchange.sent and not exchange.complete and exchange.status is None
    assert "no complete answer within 0.5 s" in exchange.error


@pytest.mark.parametrize("start", [0, 60], ids=["dripping headers", "dripping body"])
def test_an_answer_that_drips_is_cut_at_the_deadline_though_no_single_read_is_slow(start: int) -> None:
    whole = answer(200, {"text": "x" * 200})

    def behave(connection: socket.socket, request: Request) -> None:
        connection.sendall(whole[:start])
        for number in range(start, len(whole)):
            connection.sendall(whole[number : number + 1])
            time.sleep(0.05)

    with serving(behave) as server:
        began = time.monotonic()
        exchange = fails(make_session(deadline=0.6), server.url)
        assert time.monotonic() - began < 1.0
    assert exchange.expired and not exchange.complete


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with (
        serving(always(answer(204, ""))) as elsewhere,
        serving(always(answer(307, "", f"Location: {elsewhere.url}/orders"))) as server,
    ):
        session = make_session()
        response = session.post(f"{server.url}/orders", json={})
        assert response.status_code == 307
        assert elsewhere.requests == []
        assert server.methods() == ["POST"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_error_status_is_not_tried_again(status: int) -> None:
    with serving(always(answer(status, "<html>bad gateway</html>"))) as server:
        session = make_session()
        assert session.post(server.url, json={}).status_code == status
        assert server.methods() == ["POST"]


def test_a_netrc_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(always(answer(200, {}))) as server:
        make_session().get(server.url)
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(answer(200, {}))) as proxy, serving(always(answer(200, {}))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        make_session().get(server.url)
        assert proxy.requests == [] and len(server.requests) == 1


def test_cookies_are_not_kept() -> None:
    with serving(always(answer(200, {}, "Set-Cookie: spy=1; Path=/"))) as server:
        session = make_session()
        session.get(server.url)
        session.get(server.url)
        assert "cookie" not in server.requests[1].headers


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    exchange = fails(make_session(), f"http://127.0.0.1:{port}/orders", "POST")
    assert not exchange.sent and "refused" in exchange.error


def test_a_name_that_does_not_resolve_proves_that_nothing_was_sent() -> None:
    exchange = fails(make_session(), "http://no-such-host.invalid/orders", "POST")
    assert not exchange.sent


def test_a_failed_tls_handshake_proves_that_nothing_was_sent_and_plain_http_is_not_tried() -> None:
    with serving(always(answer(200, {}))) as server:
        exchange = fails(make_session(), server.url.replace("http://", "https://"), "POST")
    assert not exchange.sent
    assert [request for request in server.requests if request.method == "POST"] == []


def test_a_connection_closed_after_the_request_counts_as_sent() -> None:
    with serving(lambda connection, request: connection.close()) as server:
        exchange = fails(make_session(), server.url, "POST")
        assert exchange.sent and exchange.status is None and not exchange.expired
        assert server.methods() == ["POST"]


def test_a_reset_after_the_request_counts_as_sent_and_is_not_repeated() -> None:
    def reset(connection: socket.socket, request: Request) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with serving(reset) as server:
        exchange = fails(make_session(), server.url, "POST")
        time.sleep(0.1)
        assert exchange.sent and not exchange.expired and server.methods() == ["POST"]


def test_a_body_shorter_than_announced_is_no_answer_but_what_came_is_evidence() -> None:
    def truncate(connection: socket.socket, request: Request) -> None:
        connection.sendall(answer(201, {"orderCreateTransaction": {"id": "7"}})[:-10])
        connection.close()

    with serving(truncate) as server:
        session = make_session()
        exchange = fails(session, server.url, "POST")
    assert exchange.status == 201 and not exchange.complete and not exchange.expired
    assert "orderCreateTransaction" in session.evidence(exchange).response_body
    with pytest.raises(BadData):
        read_json(exchange)


@pytest.mark.fault("F-035", broker="every")
def test_a_body_above_the_cap_is_not_read() -> None:
    with serving(always(answer(200, b"[" + b"1," * (BODY_LIMIT // 2 + 10)))) as server:
        exchange = fails(make_session(deadline=5), server.url)
    assert "longer than" in exchange.error and len(exchange.body) < BODY_LIMIT


@pytest.mark.fault("F-035", broker="every")
def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * (BODY_LIMIT * 20))
    with serving(always(answer(200, bomb, "Content-Encoding: gzip"))) as server:
        exchange = fails(make_session(deadline=5), server.url)
    assert "longer than" in exchange.error and len(exchange.body) < BODY_LIMIT


def test_a_compressed_answer_is_read() -> None:
    with serving(always(answer(200, gzip.compress(b'{"a": "1"}'), "Content-Encoding: gzip"))) as server:
        session = make_session()
        session.get(server.url)
        assert read_json(last(session)) == {"a": "1"}


def test_a_burst_of_writes_shares_a_connection_but_an_idle_one_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(always(answer(200, {}))) as server:
        session = make_session()
        for _ in range(5):
            session.post(server.url, json={})
        assert server.connections == 1
        monkeypatch.setattr("trading.brokers.wire.WRITE_REUSE_SECONDS", 0.05)
        time.sleep(0.1)
        session.get(server.url)
        assert server.connections == 1, "a read may use it"
        time.sleep(0.1)
        session.post(server.url, json={})
        assert server.connections == 2


@pytest.mark.fault("F-017", broker="every")
def test_a_connection_that_the_server_closed_between_requests_is_replaced_without_a_second_post() -> None:
    def close_after(connection: socket.socket, request: Request) -> None:
        connection.sendall(answer(200, {}))
        connection.shutdown(socket.SHUT_RDWR)

    with serving(close_after) as server:
        session = make_session()
        session.post(server.url, json={})
        time.sleep(0.1)
        session.post(server.url, json={})
        assert last(session).complete
        assert server.methods() == ["POST", "POST"] and server.connections == 2


def test_evidence_holds_the_exchange_but_never_the_token() -> None:
    with serving(always(answer(200, f'{{"you sent": "{TOKEN}", "nul": "\0"}}'))) as server:
        session = make_session()
        session.post(f"{server.url}/v3/x?key={TOKEN}", json={"key": TOKEN})
        evidence = session.evidence(last(session))
    assert evidence.method == "POST" and evidence.status == 200
    assert evidence.path == "/v3/x?key=[secret]" and "you sent" in evidence.response_body
    assert TOKEN not in repr(evidence)
    assert "\0" not in evidence.response_body, "PostgreSQL keeps no NUL in text"
    assert evidence.started_at <= evidence.finished_at and evidence.started_at.tzinfo is not None


def test_each_thread_has_its_own_last_exchange() -> None:
    with serving(always(answer(200, {}))) as server:
        session = make_session()
        session.get(f"{server.url}/mine")
        other = threading.Thread(target=session.get, args=(f"{server.url}/other",))
        other.start()
        other.join()
        assert last(session).path == "/mine"


def test_a_spent_budget_sends_nothing() -> None:
    with serving(always(answer(200, {}))) as server:
        session = make_session(deadline=0.1, budget=RateBudget(per_second=0.01, burst=2, reserve=1))
        session.prepare_call("general")
        session.get(server.url)
        exchange = fails(session, server.url)
        assert not exchange.sent and len(server.requests) == 1


def test_too_many_requests_silence_polls_but_not_cancels() -> None:
    with serving(always(answer(429, "", "Retry-After: 30"))) as server:
        session = make_session(deadline=0.2)
        session.prepare_call("general")
        session.get(server.url)
        assert not fails(session, server.url).sent
        session.prepare_call("reduce")
        session.put(server.url, json={})
        assert last(session).status == 429 and server.methods() == ["GET", "PUT"]


def read(text: str | bytes) -> object:
    exchange = Exchange(method="GET", path="/", request_body="", deadline_seconds=1)
    exchange.status = 200
    exchange.body = text.encode() if isinstance(text, str) else text
    return read_json(exchange)


@pytest.mark.fault("F-035", "F-038", broker="every")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html></html>",
        '{"p": NaN}',
        '{"p": Infinity}',
        '{"p": -Infinity}',
        '{"p": 1',
        "[]",
        "null",
        b'{"p": "\xff"}',
        "[" * 100_000,
        '{"p": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_not_a_plain_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadData):
        read(text)


def test_numbers_are_read_exactly() -> None:
    assert read('{"p": 0.30000000000000004, "n": 3}') == {"p": Decimal("0.30000000000000004"), "n": 3}


@pytest.mark.fault("F-036", broker="every")
@given(st.text())
def test_text_that_no_database_can_keep_is_replaced(text: str) -> None:
    document = read(json.dumps({"text": text + "\0\ud800", "list": [text]}))
    assert isinstance(document, dict)
    kept = document["text"]
    assert "\0" not in kept
    kept.encode("utf-8")
    assert document["list"][0] == text.replace("\0", "\ufffd")


def test_a_storable_body_is_plain_json_with_exact_numbers() -> None:
    assert json.dumps(storable({"a": [Decimal("1.10"), 2, None, True]})) == '{"a": ["1.10", 2, null, true]}'

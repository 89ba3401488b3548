"""The simulator as a process: its ports, its end, and that a kill -9 loses nothing that anybody saw."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .support import ACCOUNT, ROOT, Inside, Process


def _seen(process: Process) -> dict[str, Any]:
    """Everything that can be seen, without leaving a trace in the journal."""
    return {
        "journal": process.control("GET", "/journal?since=0"),
        "truth": process.control("GET", f"/accounts/{ACCOUNT}"),
        "clock": process.control("GET", "/clock"),
        "faults": process.control("GET", "/faults"),
    }


def _history(process: Process) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = process.ask("GET", "/transactions/sinceid?id=0").json()["transactions"]
    return found


def test_a_killed_simulator_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    options = ("--always-open", "--speed", "0", "--state", str(tmp_path / "state"), "--start", "2026-01-05T14:00:00Z")
    process = Process(tmp_path, *options, "--seed", "5")
    try:
        process.control("POST", "/prices", {"instrument": "EUR_USD", "bid": "1.10000", "ask": "1.10010"})
        process.buy(clientExtensions={"id": "a"}, stopLossOnFill={"price": "1.09"}, takeProfitOnFill={"price": "1.2"})
        process.ask(
            "POST", "/orders", {"order": {"type": "LIMIT", "instrument": "GBP_USD", "units": "10", "price": "1"}}
        )
        process.ask("POST", "/orders", {"order": {"type": "MARKET", "instrument": "GBP_USD", "units": "-700"}})
        process.buy("0")
        process.control("POST", "/clock", {"step": "7200"})
        start = process.control("GET", "/clock")["now"]
        bar = {"start": start, "open": "1.1", "high": "1.12", "low": "1.08", "close": "1.11", "interval": 300}
        process.control("POST", "/bars", {"instrument": "EUR_USD", "bars": [bar]})
        process.control("POST", f"/accounts/{ACCOUNT}/external", {"kind": "financing", "amount": "-3.21"})
        process.control("POST", "/accounts", {"broker": "oanda", "currency": "EUR", "cash": "77"})
        process.control(
            "POST",
            "/faults",
            {"route": "POST /v3", "when": "after", "action": "status", "times": 3, "args": {"status": 502}},
        )
        assert process.buy().status_code == 502
        history, seen = _history(process), None
        seen = _seen(process)
        candles = "/instruments/EUR_USD/candles?granularity=M5&count=10"
        process.kill()
        process.options = options
        process.start()
        assert _seen(process) == seen
        assert _history(process) == history
        assert process.ask("GET", candles).json()["candles"][-1]["mid"]["h"]
        assert process.buy().status_code == 502, "a fault that was not used up still strikes"
        following = _history(process)
        assert following[: len(history)] == history and following[len(history)]["id"] == str(len(history) + 1)
        journal = process.control("GET", "/journal?since=0")
        assert [row["seq"] for row in journal] == list(range(1, len(journal) + 1))
    finally:
        process.stop()


def test_a_checkpoint_only_saves_time(tmp_path: Path) -> None:
    def fill(sim: Inside, first: int) -> None:
        for number in range(first, first + 20):
            sim.price(f"1.1{number:04d}", f"1.1{number + 1:04d}")
            sim.order(1000 - 90 * number, clientExtensions={"id": f"n{number}"}, stopLossOnFill={"distance": "0.01000"})
            sim.control("clock", step="30")

    def seen(sim: Inside) -> list[Any]:
        return [sim.world.state.journal.rows, sim.account.history, sim.runtime.control.truth(ACCOUNT), sim.world.now]

    sim = Inside(directory=tmp_path, always_open=True)
    fill(sim, 0)
    sim.runtime.close()
    assert (tmp_path / "checkpoint.pickle").exists()
    sim = Inside(directory=tmp_path)
    fill(sim, 20)
    sim.runtime.store.close()
    with_checkpoint = Inside(directory=tmp_path)
    assert seen(with_checkpoint) == seen(sim)
    with_checkpoint.runtime.store.close()
    checkpoint = tmp_path / "checkpoint.pickle"
    for damaged in (b"of another program\n", checkpoint.read_bytes()[:-20]):
        checkpoint.write_bytes(damaged)
        assert seen(Inside(directory=tmp_path)) == seen(sim)


def test_a_half_written_line_was_never_answered_and_is_cut_off(tmp_path: Path) -> None:
    options = ("--always-open", "--speed", "0", "--state", str(tmp_path / "state"), "--start", "2026-01-05T14:00:00Z")
    process = Process(tmp_path, *options)
    try:
        process.buy()
        seen = _seen(process)
        process.kill()
        file = tmp_path / "state" / "inputs.ndjson"
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"k":"call","t":"2026-01-05T14:')
        process.start()
        assert _seen(process) == seen
        assert file.read_bytes() == whole
    finally:
        process.stop()


def test_a_late_accept_survives_a_kill(tmp_path: Path) -> None:
    options = ("--always-open", "--state", str(tmp_path / "state"))
    process = Process(tmp_path, *options)
    try:
        fault = {"route": "POST /v3", "action": "late_accept", "args": {"seconds": 2}}
        process.control("POST", "/faults", fault)
        assert process.buy(clientExtensions={"id": "late"}).status_code == 504
        process.kill()
        process.start()
        assert process.ask("GET", "/orders/@late").status_code == 404
        end = time.monotonic() + 6
        while process.ask("GET", "/orders/@late").status_code == 404:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert len(process.control("GET", f"/accounts/{ACCOUNT}")["orders"]) == 1
    finally:
        process.stop()


def test_a_running_clock_resumes_at_the_stored_time_and_speed(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"), "--start", "2026-01-05T14:00:00Z")
    process = Process(tmp_path, *options, "--speed", "600")
    try:
        time.sleep(0.3)
        before = process.control("GET", "/clock")
        assert process.stop() == 0
        process.options = options
        process.start()
        after = process.control("GET", "/clock")
        assert before["now"] < after["now"] < "2026-01-05T16:00" and after["speed"] == "600"
    finally:
        process.stop()


def test_bars_of_a_file_are_played_as_the_clock_passes_and_after_a_kill(tmp_path: Path) -> None:
    lines = ["ts,open,high,low,close,volume"]
    lines += [f"2014-05-01T00:{5 * n:02d}:00Z,1.3868{n},1.38696,1.386745,1.3868{n}5,0" for n in range(9)]
    (tmp_path / "bars.csv").write_text("\n".join(lines) + "\n")
    options = ("--bars", f"EURUSD={tmp_path / 'bars.csv'}", "--speed", "0", "--state", str(tmp_path / "state"))
    process = Process(tmp_path, *options)
    where = "/instruments/EUR_USD/candles?granularity=M5&count=50"
    try:
        assert process.control("GET", "/clock")["now"].startswith("2014-05-01T00:00:00"), "it begins with the first bar"
        process.control("POST", "/clock", {"step": "900"})
        candles = process.ask("GET", where).json()["candles"]
        assert [candle["complete"] for candle in candles] == [True, True, True, False]
        assert candles[1]["mid"] == {"o": "1.38681", "h": "1.38696", "l": "1.38675", "c": "1.38682"}
        process.kill()
        process.start()
        assert process.ask("GET", where).json()["candles"] == candles
        process.control("POST", "/clock", {"step": "3600"})
        assert len(process.ask("GET", where).json()["candles"]) == 9
    finally:
        process.stop()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_when_told(tmp_path: Path, name: signal.Signals) -> None:
    process = Process(tmp_path)
    assert process.child.stdout is not None
    first, second = process.child.stdout.readline(), process.child.stdout.readline()
    assert json.loads(first) == {"ports": process.taken}
    assert str(process.taken["oanda"]) in second and second.startswith("simulator")
    assert process.stop(name) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", process.taken["oanda"])) != 0


def test_a_busy_block_moves_to_the_next_five(tmp_path: Path) -> None:
    ports = random.randrange(11_000, 19_900, 5)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", ports + 4))
        busy.listen()
        process = Process(tmp_path, ports=ports)
        try:
            names = ("control", "oanda", "alpaca", "kite", "kite_ticker")
            assert process.taken == {name: ports + 5 + place for place, name in enumerate(names)}
            other = Process(tmp_path, ports=ports)
            try:
                assert other.taken["control"] == ports + 10
            finally:
                other.stop()
        finally:
            process.stop()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bars", "EURUSD"], "SYMBOL=CSV"),
        (["--bars", "EURUSD=/nothing.csv"], "nothing.csv"),
        (["--start", "yesterday"], "not a time"),
        (["--speed", "-1"], "--speed"),
    ],
)
def test_options_it_cannot_use_are_refused_with_a_sentence(options: list[str], sentence: str) -> None:
    ports = str(random.randrange(11_000, 19_900, 5))
    command = [sys.executable, "-m", "trading.simulator", "--ports", ports, *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2 and sentence in ended.stderr and "Traceback" not in ended.stderr


def test_the_command_simulator_hands_its_options_on_and_needs_no_database() -> None:
    command = [
        sys.executable,
        "manage.py",
        "simulator",
        "--speed",
        "-1",
        "--ports",
        str(random.randrange(11_000, 19_900, 5)),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2 and "--speed" in ended.stderr, ended.stderr


def test_it_stands_alone() -> None:
    text = "import sys, trading.simulator.__main__; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = [name for name in ended.stdout.split() if name.split(".")[0] in ("django", "trading", "backoffice")]
    assert {".".join(name.split(".")[:2]) for name in loaded} == {"trading", "trading.simulator"}

"""The simulator's command line: takes its ports, says where it listens, runs until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from .core.control import bar_row
from .core.instruments import find_instrument
from .core.numbers import at_second, moment, number
from .kite.ticker import TickerServer
from .runtime import Runtime, Settings
from .server import ControlServer, DialectServer

HOST = "127.0.0.1"
PORTS = ("control", "oanda", "alpaca", "kite", "kite_ticker")
BLOCK = len(PORTS)
_STEP_SECONDS = 0.1


def take_ports(first: int) -> list[socket.socket]:
    """The sockets, in a block of five free loopback ports: the one at `first`, or the next free one above."""
    base = first
    while base + BLOCK <= 65_536:
        taken: list[socket.socket] = []
        try:
            for port in range(base, base + BLOCK):
                one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                taken.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((HOST, port))
                # Listening at once makes the port ours: two sockets may share a port that nobody listens on.
                one.listen(128)
            return taken
        except OSError:
            for one in taken:
                one.close()
            base += BLOCK
    raise SystemExit(f"no five free ports in a row from {first} on: choose others with --ports")


def read_bars(text: str) -> tuple[str, list[list[Any]]]:
    """SYMBOL=CSV as the instrument and its bars. The interval is the shortest step between two bars."""
    symbol, separator, path = text.partition("=")
    item = find_instrument(symbol)
    if not separator or item is None:
        raise ValueError(f"--bars {text}: write SYMBOL=CSV with a known symbol")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"ts", "open", "high", "low", "close"} <= set(rows[0]):
        raise ValueError(f"{path}: the columns ts, open, high, low, close are needed, and at least one bar")
    starts = [moment(row["ts"]) for row in rows]
    steps = [int((later - earlier).total_seconds()) for earlier, later in itertools.pairwise(starts)]
    if steps and min(steps) <= 0:
        raise ValueError(f"{path}: line {steps.index(min(steps)) + 3} is not later than the line before it")
    interval = min(steps, default=300)
    bars = [bar_row({**row, "start": row["ts"], "interval": interval}, line) for line, row in enumerate(rows, 2)]
    return item.name, bars


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="simulator", description="A broker that listens on loopback ports.")
    found.add_argument("--ports", type=int, default=9100, help="first of five ports in a row (default 9100)")
    found.add_argument("--ports-file", type=Path, help="write the ports here as JSON once listening")
    found.add_argument("--bars", action="append", default=[], metavar="SYMBOL=CSV", help="play these bars")
    found.add_argument("--seed", type=int, default=1, help="seed of the random walk (default 1)")
    found.add_argument("--speed", default=None, help="times real time, 0 stands still (default 1)")
    found.add_argument("--always-open", action="store_true", help="the market never closes")
    found.add_argument("--state", type=Path, metavar="DIR", help="keep the inputs here and go on from them")
    found.add_argument("--start", metavar="ISO8601", help="first time of the clock (default: now, or the first bar)")
    return found


def make_runtime(options: argparse.Namespace, base: str) -> Runtime:
    """The simulator that the options ask for. Raises ValueError or OSError with a sentence."""
    series = dict(read_bars(text) for text in options.bars)
    start = datetime.now(UTC)
    if options.start:
        start = moment(options.start)
    elif series:
        start = at_second(min(rows[0][0] for rows in series.values()))
    speed = number(options.speed) if options.speed is not None else Decimal(1)
    if speed < 0:
        raise ValueError("--speed must not be below zero")
    runtime = Runtime(
        Settings(
            start=start, seed=options.seed, speed=speed, always_open=options.always_open, directory=options.state,
            base=base,
        )
    )  # fmt: skip
    if options.speed is not None and runtime.world.state.speed != speed:
        runtime.command("clock", {"speed": str(options.speed)})
    for name, rows in series.items():
        if name not in runtime.world.state.schedules:
            keys = ("start", "interval", "open", "high", "low", "close", "volume")
            bars = [dict(zip(keys, row, strict=True)) for row in rows]
            runtime.command("schedule", {"instrument": name, "bars": bars})
    return runtime


def announce(ports: dict[str, int], path: Path | None) -> None:
    """Say where the simulator listens: one line of JSON, one for people, and the file if one is wanted."""
    text = json.dumps({"ports": ports})
    print(text, flush=True)
    places = (("control", "control"), ("OANDA", "oanda"), ("Alpaca", "alpaca"), ("Kite", "kite"))
    where = ", ".join(f"{title} http://{HOST}:{ports[name]}" for title, name in places)
    print(f"simulator: {where}", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)


async def serve(runtime: Runtime, sockets: list[socket.socket], ports_file: Path | None) -> None:
    """Listen until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    runners = []
    dialects = (DialectServer(runtime, name) for name in ("oanda", "alpaca", "kite"))
    servers: tuple[ControlServer | DialectServer, ...] = (ControlServer(runtime), *dialects, TickerServer(runtime))
    for app, one in zip((server.app() for server in servers), sockets, strict=True):
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=75)
        await runner.setup()
        await web.SockSite(runner, one).start()
        runners.append(runner)
    base = sockets[0].getsockname()[1]
    announce({name: base + place for place, name in enumerate(PORTS)}, ports_file)
    while not stop.is_set():
        runtime.tick()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _STEP_SECONDS)
    for runner in runners:
        await runner.cleanup()
    runtime.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator; the exit code is 0 after a stop, 2 for options it cannot use."""
    options = parser().parse_args(argv)
    sockets = take_ports(options.ports)
    base = sockets[0].getsockname()[1]
    try:
        runtime = make_runtime(options, f"http://{HOST}:{base + 1}")
    except (ValueError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr, flush=True)
        return 2
    if base != options.ports:
        print(f"simulator: ports {options.ports} to {options.ports + BLOCK - 1} are not all free", file=sys.stderr)
    try:
        asyncio.run(serve(runtime, sockets, options.ports_file))
    finally:
        for one in sockets:
            one.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

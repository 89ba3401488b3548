"""What the engine's commands share: flags, session and bars from files, progress, blocks and refusals.

What always holds: standard output carries blocks alone; progress and notes go to standard error; bad input ends in a
block with `ok:false` and `error`, exit code 1, and nothing half done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trading.brokers.registry import BadConnection, MissingCredentials, credentials_from_environment
from trading.domain.bars import BadBars, BarFile
from trading.domain.broker import BrokerUnreachable
from trading.domain.money import BadNumber, parse_decimal
from trading.domain.session import BadSettings, SessionConfig, choose_symbols, load_session
from trading.engine.blocks import print_block
from trading.engine.desk import VENUES, live_setups
from trading.engine.journal import Journal
from trading.engine.live import LiveSetup, evaluate_due
from trading.engine.replay import ReplayRefused, holes_of, replay_name, run_replay
from trading.engine.stage import Stage
from trading.engine.status import RunInfo
from trading.engine.streams import Streams, stream_health
from trading.feeds.base import FeedError
from trading.feeds.csv import CsvFeed, parse_csv_arguments
from trading.services.errors import RuleBroken

from .simulated import NO_BARS, NOT_RUNNING, is_stopped, simulator_is_stopped

SOURCES = ["auto", "csv", "simulator", "oanda", "alpaca", "kite"]
REFUSALS = (
    BadSettings,
    FeedError,
    MissingCredentials,
    BadConnection,
    BrokerUnreachable,
    ReplayRefused,
    RuleBroken,
    OSError,
)
# How long the first status waits for the streams to connect.
CONNECT_SECONDS = 3.0
notes = Console(stderr=True, highlight=False)


def add_arguments(parser: CommandParser) -> None:
    """The flags of `live_port` and `live_oanda`."""
    parser.add_argument("--cfg", required=True, metavar="F", help="session file (YAML)")
    parser.add_argument("--profile", default="portfolio", metavar="P", help="profile of the session file")
    parser.add_argument("--mode", choices=["replay", "ws"], default="replay")
    parser.add_argument("--source", choices=SOURCES, default="auto", help="where the bars come from")
    parser.add_argument("--csv", action="append", default=[], metavar="SYMBOL=FILE", help="bars of a symbol (repeat)")
    parser.add_argument("--spread_pips", metavar="X", help="one spread for all symbols, in pips")
    parser.add_argument("--for_seconds", type=int, metavar="N", help="with --mode ws: stop after N seconds")


def refuse(error: object, block: str = "LIVE-PORT") -> NoReturn:
    """End with a block that says why, and exit code 1."""
    print_block(block, {"ok": False, "error": str(error)})
    raise SystemExit(1)


@contextmanager
def _nothing_run(subject: str = "") -> Iterator[None]:
    """A refusal in here names what it is about, and says that nothing was run."""
    try:
        yield
    except (BadSettings, FeedError) as error:
        raise type(error)(f"{subject}{str(error).rstrip('.')}. Nothing was run.") from error


def load(options: Mapping[str, Any]) -> SessionConfig:
    """The session file that the flags name. Raises BadSettings or FeedError with a sentence."""
    path = options["cfg"]
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadSettings(f"There is no session file {path}. Nothing was run; name one with --cfg.") from error
    except OSError as error:
        raise BadSettings(
            f"The session file {path} cannot be read ({error.strerror}). Nothing was run; name another with --cfg."
        ) from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"The session file {path} is no text in UTF-8 ({error}). Nothing was run.") from error
    with _nothing_run(f"{path}: "):
        session = load_session(text, options["profile"])
    if options["spread_pips"] is None:
        return session
    with _nothing_run():
        try:
            return session.with_spread(parse_decimal(options["spread_pips"]))
        except BadNumber as error:
            raise BadSettings(f"--spread_pips: {error}; give the spread in pips, as in 0.6") from error


def load_files(options: Mapping[str, Any], session: SessionConfig) -> dict[str, BarFile]:
    """The bars of the symbols that run; says which symbols of the profile do not."""
    with _nothing_run():
        if options["source"] not in ("auto", "csv") or not options["csv"]:
            raise FeedError("A replay needs bars from files: --source csv --csv SYMBOL=FILE for each symbol.")
        paths = parse_csv_arguments(options["csv"])
        run_these, not_run = choose_symbols(session, paths)
        if not_run:
            notes.print(f"Not run, since no file was given: {', '.join(not_run)}")
        feed = CsvFeed(paths, tz=session.portfolio.tz)
        return {symbol: feed.file(symbol, session.interval_seconds) for symbol in run_these}


def run(options: Mapping[str, Any], *, mirror: str) -> None:
    """`live_port`: no mirror."""
    try:
        session = load(options)
        if options["mode"] == "replay":
            replay(options, session, load_files(options, session), mirror=mirror, stage=None)
        else:
            live(options, session, mirror=mirror)
    except REFUSALS as error:
        refuse(error)


def replay(
    options: Mapping[str, Any],
    session: SessionConfig,
    files: Mapping[str, BarFile],
    *,
    mirror: str,
    stage: Stage | None,
) -> dict[str, Any]:
    """Run a replay with a progress bar; blocks go to standard output, and one line for people after them."""
    for hole in holes_of(session, files):
        notes.print(f"Hole in the data: {hole}; entries wait until the indicators are filled again")
    info = RunInfo(mode="replay", source="csv", mirror=mirror)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Replay", total=None)

        def progress(done: int, total: int, day: str) -> None:
            if done % 50 == 0 or done == total:
                bar.update(task, completed=done, total=total, description=f"Replay {day}")

        last = run_replay(
            session=session,
            files=files,
            info=info,
            emit=lambda payload: print_block("LIVE-PORT", payload),
            progress=progress,
            journal=Journal(Path(settings.BASE_DIR) / "logs"),
            stage=stage,
        )
    total, name = last["total"], replay_name(session, files)
    trades = f"{total['trades']} trade{'' if total['trades'] == 1 else 's'}"
    mirrored = f", mirrored to {mirror}" if mirror != "none" else ""
    _say(f"Replay: {trades}, {total['r']:+.2f} R, P&L {total['pnl']:+,.2f} {session.currency}, on {name}{mirrored}")
    return last


def _say(line: str) -> None:
    """One line on standard error, exactly as it is."""
    notes.print(line, soft_wrap=True, markup=False)


def live_setup(options: Mapping[str, Any], session: SessionConfig, *, mirror: str) -> LiveSetup:
    """What trades live: the account that the environment names, else the desk's. Raises MissingCredentials."""
    from trading.engine.live_accounts import setup_from_environment

    broker = session.portfolio.venue.lower()
    found = credentials_from_environment(broker, settings_environment())
    if found is not None and options["source"] in ("auto", broker, "simulator"):
        try:
            return setup_from_environment(session, found, mirrored=mirror != "none")
        except BrokerUnreachable as error:
            if not is_stopped(found):
                raise
            raise BrokerUnreachable(f"{NOT_RUNNING} Nothing was run.") from error
    names = [venue.paper for venue in VENUES if venue.broker == session.portfolio.venue]
    desk = [setup for setup in live_setups() if setup.account.name in names]
    if desk and options["source"] in ("auto", "simulator"):
        return LiveSetup(session=session, account=desk[0].account, feed_account=desk[0].feed_account)
    raise MissingCredentials(broker)


def settings_environment() -> Mapping[str, str]:
    """The process's environment."""
    import os

    return os.environ


def live(options: Mapping[str, Any], session: SessionConfig, *, mirror: str) -> None:
    """The live engine in the foreground, under the same leases as the desk's workers and streams."""
    setup = live_setup(options, session, mirror=mirror)
    _say_if_simulated(setup)
    info = RunInfo(mode="ws", source=setup.feed_account.broker.lower(), mirror=mirror, since=datetime.now(UTC))
    notes.print(f"Live on {setup.account.name}, bars from {setup.feed_account.name}; Ctrl-C stops.")
    began, last_status, failures, told = time.monotonic(), 0.0, 0, ""
    streams = Streams(accounts=lambda: [setup.feed_account], setups=lambda: [setup])
    streams.start()
    try:
        while not stream_health(setup)[0] and time.monotonic() - began < CONNECT_SECONDS:
            time.sleep(0.1)
        while True:
            due = time.monotonic() - last_status >= float(Decimal(session.portfolio.status_every_s)) or not last_status
            info.connected, errors = stream_health(setup)
            info.errors = errors + failures
            try:
                evaluate_due(setup, status=(lambda p: print_block("LIVE-PORT", p)) if due else None, info=info)
            except (BrokerUnreachable, BadBars) as error:
                failures += 1
                reason = NO_BARS if simulator_is_stopped(setup.feed_account) else str(error)
                if reason != told:  # the status counts the failures; the same sentence every second tells nothing
                    _say(f"No bars: {reason}")
                told = reason
            else:
                told = ""
            if due:
                last_status = time.monotonic()
            if options["for_seconds"] and time.monotonic() - began >= options["for_seconds"]:
                return
            time.sleep(1)
    except KeyboardInterrupt:
        notes.print("Stopped. Positions and orders stay as they are; the desk's workers go on with them.")
    finally:
        streams.stop()
        streams.join()


def _say_if_simulated(setup: LiveSetup) -> None:
    """Nobody may take a simulator's fills for a broker's."""
    feed = setup.feed_account
    if feed.environment != feed.Environment.SIMULATOR:
        return
    key = f"{feed.broker}_API_KEY"
    why = "" if settings_environment().get(key) else f": no {key} is set"
    _say(f"Live on {setup.account.name}; {feed.name} is the SIMULATOR at {feed.endpoint}{why}")

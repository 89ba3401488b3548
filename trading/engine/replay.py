"""Replay: bars from files through the same engine as live, on an account of the replay's own.

What always holds: the account is named by the session and the data, so the second run finds the same decisions and
adds nothing; the clock is the bars'; a mirrored replay drives a simulator's prices and clock, and one that was booked
to its end is not driven again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading.clock import replay_clock, store_broker_clock, trading_day, wall_now
from trading.domain.bars import Bar, BarFile, GapKind, find_gaps
from trading.domain.broker import OrderPort
from trading.domain.ids import replay_account_name
from trading.domain.session import SessionConfig
from trading.models import Account, Decision, Trade
from trading.services import cursors
from trading.services.settlement import settle_due
from trading.services.setup import ensure_account, ensure_session

from .accounts import new_book, session_account
from .journal import Journal
from .mirror import has_business
from .portfolio import Portfolio
from .stage import Stage, StagedBroker
from .status import RunInfo, live_port

DONE = "replay"
Progress = Callable[[int, int, str], None]


class ReplayRefused(Exception):
    """This replay cannot be run as asked. The text says why and what to do."""


def replay_name(session: SessionConfig, files: Mapping[str, BarFile]) -> str:
    """The name of the replay's paper account: it stands for the session and the data."""
    return replay_account_name(session_sha256=session.sha256, data_sha256={s: f.sha256 for s, f in files.items()})


def mirror_name(name: str, broker: str) -> str:
    """The name of the account at a broker that mirrors a replay's."""
    return f"{name}-{broker}"


def holes_of(session: SessionConfig, files: Mapping[str, BarFile]) -> list[str]:
    """Each hole in the data, in words with its line."""
    found = []
    for symbol, file in sorted(files.items()):
        for gap in find_gaps(file, session.windows(), tz=session.portfolio.tz, is_trading=session.is_trading):
            if gap.kind is GapKind.HOLE:
                found.append(f"{symbol}: {gap}")
    return found


def timeline(files: Mapping[str, BarFile]) -> list[dict[str, Bar]]:
    """The bars of all symbols by their start, in order."""
    slots: dict[datetime, dict[str, Bar]] = {}
    for symbol, file in files.items():
        for bar in file.bars:
            slots.setdefault(bar.start, {})[symbol] = bar
    return [slots[start] for start in sorted(slots)]


def run_replay(
    *,
    session: SessionConfig,
    files: Mapping[str, BarFile],
    info: RunInfo,
    emit: Callable[[dict[str, Any]], None],
    progress: Progress,
    journal: Journal,
    stage: Stage | None = None,
) -> dict[str, Any]:
    """Run the bars; `emit` gets a status a day (of daily bars: a month) and the last one with the total.

    That one is returned too.

    A `stage` is driven and mirrored to; its `reconcile` is called before the first bar and after the last one.
    """
    name = replay_name(session, files)
    slots = timeline(files)
    first = next(iter(slots[0].values())).start
    symbols = tuple(sorted(files))
    account = session_account(session, name=name, scope=name, opened_at=first)
    info.since = first
    mirrors: dict[Account, OrderPort] = {}
    staged: StagedBroker | None = None
    if stage is not None:
        mirror = mirror_account(name, account, stage, first)
        if cursors.get(account, f"{DONE}:{mirror.pk}"):
            info.notes.append("this mirrored replay is booked to its end already; the broker is not driven again")
            stage = None
        else:
            staged = StagedBroker(stage, session)
            mirrors[mirror] = staged
            _refuse_half_driven(mirror, stage)
            stage.control.set_speed(Decimal(0))
            stage.control.set_clock(first)
    started = wall_now()
    with replay_clock() as times:
        times[account.pk] = first
        times.update({mirror.pk: first for mirror in mirrors})
        engine = Portfolio(
            session=session,
            version=ensure_session(session),
            account=account,
            symbols=symbols,
            paper=new_book(session, symbols, currency=account.currency, opened_at=first),
            mirrors=mirrors,
            times=times,
        )
        for mirror in mirrors:
            if stage is not None:
                stage.reconcile(mirror, stage.broker)
        for index, slot in enumerate(slots):
            if staged is not None:
                staged.play(slot, at_once=any(has_business(mirror) for mirror in mirrors))
            decisions = engine.step(slot)
            _log(journal, decisions, started)
            if _day_ends(account, slots, index):
                for settled in (account, *mirrors):
                    settle_due(settled)
            progress(index + 1, len(slots), f"{next(iter(slot.values())).start:%Y-%m-%d}")
            if _status_is_due(account, slots, index):
                emit(live_port(engine, info))
        info.notes += engine.jumps
        last = live_port(engine, info, total=True)
        emit(last)
        for trade in Trade.objects.filter(account=account, state="CLOSED", decision__recorded_at__gte=started):
            if trade.closed_at is not None:
                journal.write(
                    "trade",
                    trade.closed_at,
                    strategy=trade.strategy,
                    r=trade.r,
                    pnl=trade.pnl,
                    reason=trade.close_reason,
                )
        if staged is not None:
            staged.flush()
        for mirror in mirrors:
            store_broker_clock(account=mirror, broker_at=times[mirror.pk], speed=Decimal(0))
            if stage is not None:
                stage.reconcile(mirror, stage.broker)
            cursors.put(account=account, name=f"{DONE}:{mirror.pk}", value="booked")
    return last


def mirror_account(name: str, paper: Account, stage: Stage, opened_at: datetime) -> Account:
    """The mirror's row for this replay's world."""
    return ensure_account(
        name=mirror_name(name, stage.broker.name),
        broker=stage.broker.name.upper(),
        environment=Account.Environment.SIMULATOR,
        external_id=stage.external_id,
        scope=name,
        currency=stage.broker.identity().currency,
        time_zone=paper.time_zone,
        policy=paper.policy,
        endpoint=stage.endpoint,
        mirror_of=paper,
        opened_at=opened_at,
    )


def _refuse_half_driven(mirror: Account, stage: Stage) -> None:
    """A replay that stopped half-way left orders in a world whose clock has moved on; it cannot be driven again."""
    if Trade.objects.filter(account=mirror).exists():
        raise ReplayRefused(
            f"The mirrored replay {mirror.name} stopped half-way before. Its broker's clock and prices have moved "
            "on, so driving it again would book a second, different history; nothing was sent. Run it against a fresh "
            "simulator on a fresh database, or change the session file."
        )


def _status_is_due(account: Account, slots: Sequence[Mapping[str, Bar]], index: int) -> bool:
    """At the end of a day; of daily bars, which would print as many blocks as bars, at the end of a month."""
    if index + 1 >= len(slots):
        return False
    this, following = (next(iter(slots[i].values())) for i in (index, index + 1))
    day, next_day = trading_day(account, this.start), trading_day(account, following.start)
    return day.replace(day=1) != next_day.replace(day=1) if this.is_daily else day != next_day


def _day_ends(account: Account, slots: Sequence[Mapping[str, Bar]], index: int) -> bool:
    """Whether the next bar is of another trading day, or there is none."""
    if index + 1 >= len(slots):
        return True
    this, following = (next(iter(slots[i].values())) for i in (index, index + 1))
    return trading_day(account, this.start) != trading_day(account, following.start)


def _log(journal: Journal, decisions: Sequence[Decision], started: datetime) -> None:
    for decision in decisions:
        if decision.recorded_at >= started:
            signal = decision.signal
            journal.write(
                "decision",
                decision.at,
                verdict=decision.verdict,
                strategy=signal.strategy,
                symbol=signal.instrument.symbol,
                side=signal.side,
                entry=signal.entry,
                stop=signal.stop,
                target=signal.target,
                units=decision.position_size,
                reason=decision.reason,
            )

"""The running simulator: the world, its dialects, its control operations, and the file it is rebuilt from.

What always holds here: the world changes only through `perform`, with an input that has been, or is then, kept; the
same inputs in the same order give the same world, journal and transaction ids included.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any, Protocol

from .alpaca.dialect import AlpacaDialect
from .alpaca.facts import Facts
from .core import faults
from .core.calls import Answer, Call
from .core.candles import Bar, Series
from .core.clock import Clock
from .core.control import Broker, Control
from .core.faults import Fault
from .core.hiding import Hidden, Veil, begin
from .core.journal import Journal
from .core.market import Driven, MarketState
from .core.model import Account, Order, SideTotals, Trade
from .core.numbers import PRECISION, iso, moment, plain
from .core.pages import rows_of
from .core.store import Store, shape_of
from .core.trouble import Doomed
from .core.world import Late, Schedule, World, WorldState
from .kite.dialect import KiteDialect
from .kite.facts import Book, Line, Session, Step
from .kite.facts import Facts as KiteFacts
from .kite.gtt import Leg, Trigger
from .oanda.dialect import OandaDialect

FORMAT = 1
CHECKPOINT_EVERY = 20_000
KEPT = (
    WorldState, MarketState, Driven, Series, Bar, Account, SideTotals, Order, Trade, Journal, Fault, Late, Schedule,
    Hidden, Doomed, Facts, KiteFacts, Step, Book, Line, Session, Trigger, Leg,
)  # fmt: skip
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a simulator begins. `base` is the address that links in OANDA's answers start with."""

    start: datetime
    seed: int = 1
    speed: Decimal = Decimal(1)
    always_open: bool = False
    directory: Path | None = None
    base: str = "http://127.0.0.1:9101"


def _beginning(settings: Settings) -> Entry:
    """The first input of all."""
    return {
        "k": "begin", "format": FORMAT, "t": iso(settings.start), "seed": settings.seed,
        "speed": plain(settings.speed), "always_open": settings.always_open,
    }  # fmt: skip


class Dialect(Broker, Protocol):
    """What a dialect offers to the running simulator."""

    def authorization(self, headers: Mapping[str, str]) -> str: ...

    def account_of(self, call: Call, authorization: str) -> str: ...

    def needs_token(self, call: Call) -> bool: ...

    def act(self, call: Call, authorization: str, request_id: str) -> Answer: ...

    def veiled(self, call: Call, answer: Answer, veil: Veil) -> Answer: ...

    def hides(self, message: dict[str, Any], veil: Veil) -> bool: ...


class Runtime:
    """One simulator."""

    def __init__(self, settings: Settings, wall: Callable[[], float] = time.monotonic) -> None:
        getcontext().prec = PRECISION
        self.store = Store(settings.directory, shape_of(KEPT))
        state: WorldState | None = self.store.checkpoint()
        entries = self.store.entries()
        begin: Entry | None = None
        if state is None:
            begin = next(entries, None)
            fresh = begin is None
            begin = begin or _beginning(settings)
            if begin.get("k") != "begin" or begin.get("format") != FORMAT:
                raise ValueError(f"{self.store.path} was not written by this version of the simulator")
            state = WorldState(
                now=moment(begin["t"]), speed=Decimal(begin["speed"]), always_open=begin["always_open"],
                market=MarketState(begin["seed"]),
            )  # fmt: skip
        self.world = World(state)
        oanda = OandaDialect(self.world, settings.base)
        alpaca = AlpacaDialect(self.world)
        kite = KiteDialect(self.world)
        self.dialects: dict[str, Dialect] = {oanda.name: oanda, alpaca.name: alpaca, kite.name: kite}
        self.control = Control(self.world, dict(self.dialects))
        if begin is not None:
            oanda.open_account("101-001-1000001-001", "sim-oanda-token", "USD", Decimal(100_000), False)
            alpaca.open_account("SIMALPACA", "SIMKEY:sim-alpaca-secret", "USD", Decimal(100_000))
            kite.open_account("SIMKITE", "simkitekey", "sim-kite-secret", "sim-kite-token", Decimal(1_000_000))
        for entry in entries:
            self._replay(entry)
        self.store.open()
        self._unsaved = 0
        if begin is not None and fresh:
            self._keep(begin)
        self.clock = Clock(self.world.now, state.speed, wall)
        self._kept = self.world.now

    def _replay(self, entry: Entry) -> None:
        # What was refused then is refused again now, at the same point: the world is the same.
        with contextlib.suppress(ValueError, LookupError, ArithmeticError, TypeError, AttributeError):
            self.perform(entry)

    # inputs

    def perform(self, entry: Entry) -> Any:
        """Do what one input says. The only way in which the world changes."""
        self.world.wall = entry.get("w", 0.0)
        self.world.advance(moment(entry["t"]))
        kind = entry["k"]
        if kind == "control":
            return self.control.apply(entry["op"], entry["body"])
        if kind == "call":
            return self._call(entry)
        if kind == "late":
            return self._late(entry)
        if kind == "doomed":
            return self._doomed(entry)
        if kind == "struck":
            self._fault(entry["fault"], used=True)
        return None

    def _fault(self, id: str | None, *, used: bool) -> Fault | None:
        """The fault with this id, used up by one unless it lasts for a time."""
        fault = next((one for one in self.world.state.faults if one.id == id), None)
        if fault is not None and used and fault.action not in faults.LASTING_ACTIONS:
            fault.left -= 1
        return fault

    def _call(self, entry: Entry) -> Answer | None:
        """A client's request: the fault it met, what the broker did, its row in the journal."""
        dialect = self.dialects[entry["broker"]]
        call = Call(entry["method"], entry["path"], entry["query"], entry["body"])
        request_id = self.world.next_request()
        fault = self._fault(entry.get("fault"), used=True)
        answer: Answer | None = None
        if entry["acted"] and (call.is_write or "status" not in entry):
            answer = self._act(dialect, call, entry["auth"], request_id, fault)
            entry.setdefault("status", answer.status)
            entry.setdefault("outcome", answer.outcome or ("read" if answer.status < 400 else "refused"))
        entry.setdefault("status", None)
        entry.setdefault("outcome", "not_acted")
        if entry.get("late") is not None:
            late = entry["late"]
            who = (entry["broker"], entry["auth"])
            what = (call.method, call.path, call.query, call.body)
            self.world.state.late.append(Late(late["id"], late["due"], *who, *what))
        data: Entry = {
            "broker": entry["broker"],
            "method": call.method,
            "path": call.path + (f"?{call.query}" if call.query else ""),
            "body": call.body,
            "status": entry.get("sent", entry["status"]),
            "answered": entry["answered"],
            "outcome": entry["outcome"],
        }
        if fault is not None:
            data["fault"] = fault.action
        self.world.record("request", dialect.account_of(call, entry["auth"]), data)
        return answer

    def _act(self, dialect: Dialect, call: Call, authorization: str, request_id: str, fault: Fault | None) -> Answer:
        """What the broker does with a request, and what of it the client sees."""
        id = dialect.account_of(call, authorization)
        account = self.world.accounts.get(id)
        action = fault.action if fault is not None else ""
        if action == "stale_page":
            return self._stale(dialect, call, authorization, request_id)
        if not call.is_write:
            return dialect.veiled(call, dialect.act(call, authorization, request_id), self.veil(id))
        if account is None or action not in faults.WRITE_ACTIONS:
            return dialect.act(call, authorization, request_id)
        assert fault is not None
        before = len(account.history), len(account.orders), len(account.trades)
        self.world.doom_next(fault if action == "reject_later" else None)
        try:
            answer = dialect.act(call, authorization, request_id)
        finally:
            self.world.doom_next(None)
        if action == "hide" and answer.status < 300:
            hidden = begin(fault, id, self.world.wall)
            hidden.events += [str(row["id"]) for row in account.history[before[0] :]]
            hidden.orders += list(account.orders)[before[1] :]
            hidden.trades += list(account.trades)[before[2] :]
            self.world.state.hidden.append(hidden)
        return answer

    def _stale(self, dialect: Dialect, call: Call, authorization: str, request_id: str) -> Answer:
        """What the broker would have answered before the account's last change."""
        id = dialect.account_of(call, authorization)
        account = self.world.accounts.get(id)
        if account is None:
            return dialect.act(call, authorization, request_id)
        self.world.accounts[id] = self.world.past.of(account)
        try:
            return dialect.act(call, authorization, request_id)
        finally:
            self.world.accounts[id] = account

    def _late(self, entry: Entry) -> None:
        """The broker acts on a request whose answer was lost a while ago."""
        waiting = self.world.state.late
        late = next((one for one in waiting if one.id == entry["id"]), None)
        if late is None:
            return
        waiting.remove(late)
        call = Call(late.method, late.path, late.query, late.body)
        self.dialects[late.broker].act(call, late.authorization, self.world.next_request())

    def _doomed(self, entry: Entry) -> None:
        """The broker rejects an order that it accepted a while ago, unless it is over already."""
        waiting = self.world.state.doomed
        found = [one for one in waiting if (one.account, one.order) == (entry["account"], entry["order"])]
        for one in found:
            waiting.remove(one)
            account = self.world.accounts.get(one.account)
            order = account.orders.get(one.order) if account is not None else None
            if account is not None and order is not None and order.id in account.pending_ids:
                self.world.venues[account.broker].reject(account, order, one.reason)

    # the running process

    def _entry(self, kind: str, **fields: Any) -> Entry:
        return {"k": kind, "t": iso(self.clock.now()), "w": round(time.time(), 3), **fields}

    def _keep(self, entry: Entry) -> None:
        self.store.append(entry)
        self._unsaved += 1

    def _settle_clock(self) -> None:
        if self.world.now > self.clock.now() or self.clock.speed != self.world.state.speed:
            self.clock.set(self.world.now, self.world.state.speed)

    def command(self, operation: str, body: Entry) -> Entry:
        """A control operation. Raises ValueError with a sentence."""
        entry = self._entry("control", op=operation, body=body)
        if operation == "fault":
            entry["body"] = {**body, "wall": entry["w"]}
        try:
            result: Entry = self.perform(entry)
        finally:
            self._keep(entry)
            if operation == "clock" and self.world.now < moment(entry["t"]):
                self.clock.put_back(self.world.now)
            self._settle_clock()
        return result

    def refresh(self) -> None:
        """Bring the world to the present time."""
        self.world.wall = time.time()
        self.world.advance(self.clock.now())

    def fault_for(self, broker: str, call: Call, authorization: str) -> Fault | None:
        """The fault that a request meets. One that strikes the rows of a page spares pages that it would not change."""
        known, where = self.world.state.faults, (broker, call.method, call.path)
        expired: Fault | None = None
        if self.dialects[broker].needs_token(call):
            expired = faults.lasting(known, "expire_token", *where, wall=time.time(), now=self.world.now)
        found = expired or faults.find(known, *where)
        if (
            found is not None
            and found.action in faults.PAGE_ACTIONS
            and not self._changes(broker, found, call, authorization)
        ):
            return faults.find(known, *where, pages=False)
        return found

    def _changes(self, broker: str, fault: Fault, call: Call, authorization: str) -> bool:
        """Whether this fault of pages would make a difference to this page."""
        dialect = self.dialects[broker]
        page = dialect.act(call, authorization, "").body
        if fault.action == "stale_page":
            return bool(self._stale(dialect, call, authorization, "").body != page)
        return max(map(len, rows_of(page)), default=0) > (fault.action == "reorder")

    def strike(self, fault: Fault) -> None:
        """An open stream has met this fault: it is used up by one."""
        entry = self._entry("struck", fault=fault.id)
        self.perform(entry)
        self._keep(entry)

    def muted(self, broker: str, path: str) -> bool:
        """Whether an open stream says nothing at the moment."""
        known = self.world.state.faults
        where = (broker, "GET", path)
        return faults.lasting(known, "mute_stream", *where, wall=time.time(), now=self.world.now) is not None

    def veil(self, account: str) -> Veil:
        """What an account's clients may not see at the moment."""
        return self.world.veil(account, time.time())

    def call(self, broker: str, call: Call, authorization: str, **how: Any) -> Answer | None:
        """A client's request, acted on unless `how` says otherwise (acted, answered, sent, fault, late)."""
        entry = self._entry(
            "call", broker=broker, method=call.method, path=call.path, query=call.query, body=call.body,
            auth=authorization, **{"acted": True, "answered": True, **how},
        )  # fmt: skip
        try:
            answer: Answer | None = self.perform(entry)
        finally:
            self._keep(entry)
        return answer

    def tick(self) -> None:
        """Let time pass: prices move, resting orders fill, late requests are acted on."""
        now = self.clock.now()
        self.world.wall = time.time()
        happened = self.world.advance(now)
        if happened or (now - self._kept).total_seconds() >= 2:
            self._keep({"k": "tick", "t": iso(now), "w": round(self.world.wall, 3)})
            self._kept = now
        if self._unsaved >= CHECKPOINT_EVERY:
            self.store.save(self.world.state)
            self._unsaved = 0
        for late in [one for one in self.world.state.late if one.due <= time.time()]:
            entry = self._entry("late", id=late.id)
            self.perform(entry)
            self._keep(entry)
        for one in [one for one in self.world.state.doomed if one.due <= time.time()]:
            entry = self._entry("doomed", account=one.account, order=one.order)
            self.perform(entry)
            self._keep(entry)

    def close(self) -> None:
        """Keep the present time and stop."""
        self.tick()
        self._keep({"k": "tick", "t": iso(self.world.now)})
        self.store.save(self.world.state)
        self.store.close()

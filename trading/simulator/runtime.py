"""The running simulator: the world, its dialects, its control operations, and the file it is rebuilt from.

What always holds here: the world changes only through `perform`, with an input that has been, or is then, kept; the
same inputs in the same order give the same world, journal and transaction ids included.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

from .core.candles import Bar, Series
from .core.clock import Clock
from .core.control import Control
from .core.faults import Fault, find
from .core.journal import Journal
from .core.market import Driven, MarketState
from .core.model import Account, Order, SideTotals, Trade
from .core.numbers import PRECISION, iso, moment, plain
from .core.store import Store, shape_of
from .core.world import Late, Schedule, World, WorldState
from .oanda.answers import Answer, Call
from .oanda.dialect import OandaDialect

FORMAT = 1
CHECKPOINT_EVERY = 20_000
KEPT = (WorldState, MarketState, Driven, Series, Bar, Account, SideTotals, Order, Trade, Journal, Fault, Late, Schedule)
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
        self.dialects = {oanda.name: oanda}
        self.control = Control(self.world, dict(self.dialects))
        if begin is not None:
            oanda.open_account("101-001-1000001-001", "sim-oanda-token", "USD", Decimal(100_000), False)
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
        self.world.advance(moment(entry["t"]))
        kind = entry["k"]
        if kind == "control":
            return self.control.apply(entry["op"], entry["body"])
        if kind == "call":
            return self._call(entry)
        if kind == "late":
            return self._late(entry)
        return None

    def _call(self, entry: Entry) -> Answer | None:
        """A client's request: the fault it met, what the broker did, its row in the journal."""
        dialect = self.dialects[entry["broker"]]
        call = Call(entry["method"], entry["path"], entry["query"], entry["body"])
        request_id = self.world.next_request()
        fault = next((one for one in self.world.state.faults if one.id == entry.get("fault")), None)
        if fault is not None:
            fault.left -= 1
        answer: Answer | None = None
        if entry["acted"] and (dialect.is_write(call) or "status" not in entry):
            answer = dialect.act(call, entry["auth"], request_id)
            answer.headers["RequestID"] = request_id
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
        self.world.record("request", dialect.account_in(call.path), data)
        return answer

    def _late(self, entry: Entry) -> None:
        """The broker acts on a request whose answer was lost a while ago."""
        waiting = self.world.state.late
        late = next((one for one in waiting if one.id == entry["id"]), None)
        if late is None:
            return
        waiting.remove(late)
        call = Call(late.method, late.path, late.query, late.body)
        self.dialects[late.broker].act(call, late.authorization, self.world.next_request())

    # the running process

    def _entry(self, kind: str, **fields: Any) -> Entry:
        return {"k": kind, "t": iso(self.clock.now()), **fields}

    def _keep(self, entry: Entry) -> None:
        self.store.append(entry)
        self._unsaved += 1

    def _settle_clock(self) -> None:
        if self.world.now > self.clock.now() or self.clock.speed != self.world.state.speed:
            self.clock.set(self.world.now, self.world.state.speed)

    def command(self, operation: str, body: Entry) -> Entry:
        """A control operation. Raises ValueError with a sentence."""
        entry = self._entry("control", op=operation, body=body)
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
        self.world.advance(self.clock.now())

    def fault_for(self, broker: str, call: Call) -> Fault | None:
        """The wire fault that a request meets."""
        return find(self.world.state.faults, broker, call.method, call.path)

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
        happened = self.world.advance(now)
        if happened or (now - self._kept).total_seconds() >= 2:
            self._keep({"k": "tick", "t": iso(now)})
            self._kept = now
        if self._unsaved >= CHECKPOINT_EVERY:
            self.store.save(self.world.state)
            self._unsaved = 0
        for late in [one for one in self.world.state.late if one.due <= time.time()]:
            entry = self._entry("late", id=late.id)
            self.perform(entry)
            self._keep(entry)

    def close(self) -> None:
        """Keep the present time and stop."""
        self.tick()
        self._keep({"k": "tick", "t": iso(self.world.now)})
        self.store.save(self.world.state)
        self.store.close()

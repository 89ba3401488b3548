"""Protection: a trade at a broker that neither a stop nor an exit covers says so, aloud, for as long as that is so.

What always holds: judged by the rows alone, so that a lost wake-up costs time and nothing else; a group says UNSAFE
while its trade is not covered; people are told once for each trade. A trade is covered by a stop that works, or by an
exit that the broker has; an exit that was only planned, or may have been lost on its way, covers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Max

from trading.clock import now, wall_now
from trading.domain.money import ZERO, plain
from trading.domain.orders import TERMINAL, OrderState, Tag
from trading.locks import lock_account
from trading.models import Account, ExitIntent, Fill, Order, OrderGroup, RiskEvent, Trade

from . import audit
from .audit import Actor
from .notifications import note

ACTOR = Actor.system("protection")
UNPROTECTED = "UNPROTECTED_TRADE"
BY_SPLIT = "PROTECTION_AFTER_SPLIT"
# The rows of one moment may come in two reads of the broker's history.
HASTE = timedelta(seconds=2)
# An exit on its way, and an entry that is just filling, end within moments.
PATIENCE = timedelta(seconds=10)
AT_BROKER = (OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING)


@dataclass(frozen=True, slots=True)
class Uncovered:
    """An open trade that nothing covers, and why."""

    trade: Trade
    why: str


def review(account: Account) -> list[Uncovered]:
    """The open trades of an account that nothing covers, each made known; a group that is safe again says so."""
    if account.is_paper_book:
        return []
    found = []
    for trade in Trade.objects.filter(account=account, state=Trade.State.OPEN).select_related("account", "instrument"):
        why = _uncovered(trade)
        if why:
            found.append(Uncovered(trade, why))
        _say(trade, why)
    return found


def _uncovered(trade: Trade) -> str:
    """Why nothing covers an open trade; "" when something does, when nothing was planned to, or not for long enough."""
    rows = Order.objects.filter(account=trade.account_id, decision=trade.decision_id)
    stops = list(rows.filter(tag=Tag.STOP))
    if not stops:
        return ""
    entry = rows.filter(tag=Tag.ENTRY).first()
    exits = Order.objects.filter(account=trade.account_id, exit_intent__decision=trade.decision_id).order_by("-id")
    last = exits.first()
    if _left(list(exits.filter(state__in=AT_BROKER))) >= trade.open_quantity:
        return ""
    # Legs that ride wait until their entry is done; ours are sent for what has filled, and need not have arrived.
    own = any(stop.rides_on_id is None for stop in stops)
    filling = not own and entry is not None and entry.state in (OrderState.PARTIAL, OrderState.CANCELLING)
    live = [stop for stop in stops if stop.state in AT_BROKER or (stop.state == OrderState.UNKNOWN and not own)]
    if not filling and _left(live) >= trade.open_quantity:
        return ""
    leaving = last is not None and last.state not in TERMINAL
    if wall_now() - _since(trade, stops) <= (PATIENCE if leaving or filling else HASTE):
        return ""
    if leaving and last is not None:
        return f"its exit {last.client_order_id} is {last.state} ({last.reason or 'not sent yet'})"
    if filling and entry is not None:
        return f"its entry has filled {plain(entry.filled_quantity)} of {plain(entry.quantity)}, and its stop waits"
    if last is not None and last.filled_quantity < last.quantity:
        return f"its exit {last.client_order_id} ended {last.state} ({last.reason})"
    latest = max(stop.sequence for stop in stops)
    return "; ".join(
        f"its stop {stop.client_order_id} is {stop.state}" for stop in stops if stop.sequence == latest or stop in live
    )


def _left(orders: list[Order]) -> Decimal:
    return sum((order.quantity - order.filled_quantity for order in orders), ZERO)


def _since(trade: Trade, stops: list[Order]) -> datetime:
    """From when on it may have been uncovered: its stop's end, or the last fill of its entry."""
    fills = Fill.objects.filter(account=trade.account_id, order__decision=trade.decision_id, order__tag=Tag.ENTRY)
    filled: datetime | None = fills.aggregate(last=Max("recorded_at"))["last"]
    ended = [stop.updated_at for stop in stops if stop.state in TERMINAL]
    return max([*ended, *([filled] if filled is not None else [])], default=trade.opened_at)


def _say(trade: Trade, why: str) -> None:
    group = OrderGroup.objects.filter(account=trade.account_id, decision=trade.decision_id).first()
    if group is None or (group.state == OrderGroup.State.UNSAFE) == bool(why):
        return
    with transaction.atomic():
        lock_account(trade.account_id)
        group = (
            OrderGroup.objects.select_related("account").select_for_update(no_key=True, of=("self",)).get(pk=group.pk)
        )
        events = RiskEvent.objects.filter(account=trade.account_id, decision=trade.decision_id)
        if why and group.state == OrderGroup.State.OPEN:
            said = Said.unprotected(
                account_name=trade.account.name,
                what=f"{trade.side} {plain(trade.open_quantity)} {trade.instrument.symbol}",
                decision_id=trade.decision_id,
                why=why,
                numbers={"open": plain(trade.open_quantity), "stop": plain(trade.initial_stop)},
            )
            make_known(group, said)
        elif not why and group.state == OrderGroup.State.UNSAFE and not events.filter(kind=BY_SPLIT).exists():
            safe_again(group, state=OrderGroup.State.OPEN, reason="a stop or an exit covers it again")


@dataclass(frozen=True, slots=True)
class Said:
    """What people are told of a group that is not safe: under which key, as which kind, why, in which words."""

    key: str
    kind: str
    why: str
    text: str
    numbers: dict[str, str]

    @classmethod
    def unprotected(cls, *, account_name: str, what: str, decision_id: int, why: str, numbers: dict[str, str]) -> Said:
        """That an open trade has no stop."""
        text = (
            f"{account_name}: {what} (decision {decision_id}) has no stop at its broker: {why}. Its loss is not "
            "limited. An exit that failed is tried again by itself; look at the position at the broker now, and place "
            "a stop or close it there if it stands."
        )
        return cls("unprotected", UNPROTECTED, f"{what} has no stop: {why}", text, numbers)


def make_known(group: OrderGroup, said: Said) -> None:
    """The group is UNSAFE now. People are told once; one that is known to be does not say it again.

    Callers hold the account's lock.
    """
    if group.state == OrderGroup.State.UNSAFE:
        return
    account, before = group.account, group.state
    group.state = OrderGroup.State.UNSAFE
    group.save(update_fields=["state"])
    note(key=f"{said.key}:{account.pk}:{group.decision_id}", text=said.text, level="CRITICAL")
    RiskEvent.objects.create(
        account=account,
        decision_id=group.decision_id,
        at=now(account),
        kind=said.kind,
        reason=said.why[:300],
        numbers=said.numbers,
    )
    audit.record(
        kind="order_group.unsafe",
        actor=ACTOR,
        account=account,
        obj=group,
        before={"state": before},
        after={"state": OrderGroup.State.UNSAFE},
        reason=said.why,
        level="WARNING",
    )


def safe_again(group: OrderGroup, *, state: str, reason: str) -> None:
    """What made the group UNSAFE is over. Callers hold the account's lock."""
    before, group.state = group.state, state
    group.save(update_fields=["state"])
    audit.record(
        kind="order_group.safe",
        actor=ACTOR,
        account=group.account,
        obj=group,
        before={"state": before},
        after={"state": state},
        reason=reason,
    )


def failed_exits(trade: Trade) -> list[Order]:
    """The exits of a trade that ended without leaving it, the last one first; none while another is under way."""
    intents = ExitIntent.objects.filter(account=trade.account_id, decision=trade.decision_id)
    if intents.filter(state__in=ExitIntent.LIVE).exists():
        return []
    return list(
        Order.objects.filter(account=trade.account_id, exit_intent__in=intents, tag=Tag.CLOSE)
        .exclude(state=OrderState.FILLED)
        .select_related("exit_intent")
        .order_by("-id")
    )

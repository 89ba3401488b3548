"""Groups of our own: the legs of a trade whose broker links no orders, planned and judged from the rows.

What always holds: `next_step` reads, judges and plans under the account's lock in one transaction, and the rows are all
it knows, so that a group after a restart is the group before it; each placed leg is an order of the decision, its id
derived from tag and sequence; a group that is not safe says so, and one that closed too much says so until people have
put that right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q

from trading.clock import day_bounds, now, trading_day, wall_now
from trading.domain import oco
from trading.domain.broker import Capabilities, Side
from trading.domain.money import ZERO, plain, round_to_step
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState, Tag
from trading.locks import lock_account
from trading.models import Account, Order, OrderEvent, OrderGroup, Position, Trade
from trading.selectors import books

from . import audit
from .audit import Actor
from .event_facts import day_was_read
from .orders import locked, move, plan_order, sent_at
from .protection import Said, make_known, safe_again

ACTOR = Actor.system("groups")
OVER_CLOSED = "OVER_CLOSED_TRADE"
_TYPES = {Tag.STOP: "STOP", Tag.TP1: "LIMIT", Tag.TP2: "LIMIT"}
_ENDS = (OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)
Step = oco.Send | oco.Resize | oco.Cancel | oco.Leave


@dataclass(frozen=True, slots=True)
class Manner:
    """How the account's broker treats legs of ours: see `Capabilities`."""

    keeps_id: bool
    can_rest_beside: bool
    day_orders: bool = False

    @classmethod
    def of(cls, able: Capabilities) -> Manner:
        """As the adapter says."""
        return cls(able.replace_keeps_id, not able.legs_reserve_units, able.day_orders)


def to_look_at(account: Account) -> list[int]:
    """The groups that may need something: a trade is open, a leg may live, or too much may have been closed."""
    own = Order.objects.filter(account=account, rides_on=None, tag__in=PROTECTIVE_TAGS)
    foreign = Position.objects.filter(account=account).exclude(external_quantity=0).values("instrument")
    traded = Trade.objects.filter(account=account, state=Trade.State.OPEN).values("decision")
    wanted = (
        Q(state=OrderGroup.State.UNSAFE)
        | Q(decision__in=traded)
        | Q(pk__in=own.exclude(state__in=TERMINAL).values("parent_group"))
        | Q(pk__in=own.filter(filled_quantity__gt=0, instrument__in=foreign).values("parent_group"))
    )
    return list(OrderGroup.objects.filter(wanted, account=account).order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def next_step(*, group_id: int, manner: Manner) -> list[Step]:
    """What is to be done at the broker now; legs that are to be placed stand as planned orders when this returns."""
    group = OrderGroup.objects.select_related("account", "decision__signal__instrument").get(pk=group_id)
    lock_account(group.account_id)
    group.refresh_from_db(fields=["state"])
    facts = facts_of(group, manner)
    if facts is None:
        return []
    plan = oco.plan(facts)
    _judge(group, facts, plan)
    steps = [_planned(group, action) if isinstance(action, oco.Place) else action for action in plan.actions]
    return [step for step in steps if not (isinstance(step, oco.Send) and _waits(step.order_id))]


def _waits(order_id: int) -> bool:
    """Whether a planned leg was turned away, and is not to be sent again yet."""
    return Order.objects.filter(pk=order_id, next_check_at__gt=wall_now()).exists()


def is_settled(account: Account, manner: Manner) -> bool:
    """Whether every group is as it should be: entries wait for that. Callers hold the account's lock."""
    for group_id in to_look_at(account):
        group = OrderGroup.objects.select_related("account", "decision__signal__instrument").get(pk=group_id)
        facts = facts_of(group, manner)
        if facts is not None and (oco.plan(facts).actions or oco.plan(facts).unsafe):
            return False
    return True


def facts_of(group: OrderGroup, manner: Manner) -> oco.GroupFacts | None:
    """What the rows say of a group; None for one without an entry, or whose units a split has changed."""
    own = list(
        Order.objects.filter(account=group.account_id)
        .filter(Q(decision=group.decision_id) | Q(exit_intent__decision=group.decision_id))
        .order_by("pk")
    )
    entry = next((order for order in own if order.tag == Tag.ENTRY), None)
    if entry is None:
        return None
    instrument, side = group.decision.signal.instrument, Side(entry.side)
    trade = Trade.objects.filter(account=group.account_id, decision=group.decision_id).first()
    splits = books.splits(group.account, instrument) if trade is not None and not instrument.is_margin else []
    if trade is not None and any(split.at >= trade.opened_at for split in splits):
        return None  # the group is unsafe since then: what its legs should be is for people to say
    legs = [order for order in own if order.tag in PROTECTIVE_TAGS]
    closing = [order for order in own if order.tag == Tag.CLOSE]
    exits = [order for order in closing if order.state not in TERMINAL]
    paid = entry.average_price
    return oco.GroupFacts(
        side=side,
        lot_size=instrument.lot_size,
        entry_id=entry.pk,
        entry_state=OrderState(entry.state),
        entered=entry.filled_quantity,
        open=trade.open_quantity if trade is not None and trade.state == Trade.State.OPEN else ZERO,
        stop=entry.stop_loss,
        first_target=entry.take_profit,
        break_even=round_to_step(paid, instrument.tick_size) if paid is not None else None,
        legs=_legs(legs, _unread_day(group.account) if manner.day_orders else None),
        over_closed=_over_closed(group, entry, [*legs, *closing]),
        leaving=_left(exits),
        leaving_at_broker=_left([order for order in exits if order.state in oco.AT_BROKER]),
        keeps_id=manner.keeps_id,
        can_rest_beside=manner.can_rest_beside,
    )


def _unread_day(account: Account) -> datetime | None:
    """When the account's day began, as long as nothing of it has been read; then None."""
    moment = now(account)
    return None if day_was_read(account, moment) else day_bounds(account, trading_day(account, moment))[0]


def _legs(rows: list[Order], unread: datetime | None = None) -> tuple[oco.Leg, ...]:
    """The legs as the planner knows them. One that ended stays ended, also when a fill of it was told after its end.

    Of a day that is `unread` at a broker whose orders are for the day, no leg from before is believed to rest.
    """
    ends = OrderEvent.objects.filter(order__in=rows, to_state__in=_ENDS).values_list("order", "from_state", "to_state")
    ended = {order: (source, to) for order, source, to in ends}
    found = []
    for row in rows:
        source, end = ended.get(row.pk, ("", ""))
        state = OrderState(row.state)
        found.append(
            oco.Leg(
                order_id=row.pk,
                tag=Tag(row.tag),
                sequence=row.sequence,
                state=_state_of(row, OrderState(end) if end and state not in TERMINAL else state, unread),
                quantity=row.quantity,
                filled=row.filled_quantity,
                price=row.price or ZERO,
                refused=end == OrderState.REJECTED or (bool(end) and source == OrderState.SENDING),
            )
        )
    return tuple(found)


def _state_of(row: Order, state: OrderState, unread: datetime | None) -> OrderState:
    if unread is None or state not in oco.AT_BROKER:
        return state
    sent = sent_at(row)
    return OrderState.UNKNOWN if sent is not None and sent < unread else state


def _over_closed(group: OrderGroup, entry: Order, closing: list[Order]) -> Decimal:
    """What the group's orders closed beyond what they had opened, as far as the account still holds that."""
    beyond: Decimal = sum((order.filled_quantity for order in closing), ZERO) - entry.filled_quantity
    if beyond <= 0:
        return ZERO
    row = Position.objects.filter(account=group.account_id, instrument=entry.instrument_id).first()
    held: Decimal = -row.external_quantity * Side(entry.side).sign if row is not None else ZERO
    return min(beyond, held) if held > 0 else ZERO


def _left(orders: list[Order]) -> Decimal:
    return sum((order.quantity - order.filled_quantity for order in orders), ZERO)


def _planned(group: OrderGroup, leg: oco.Place) -> oco.Send:
    """The leg as a planned order of the decision."""
    signal = group.decision.signal
    row = plan_order(
        account=group.account,
        intent=group.decision,
        tag=leg.tag,
        instrument=signal.instrument,
        side=Side(signal.side).opposite,
        quantity=leg.quantity,
        type=_TYPES[leg.tag],
        price=leg.price,
        at=now(group.account),
        reduce_only=True,
        group=group,
        sequence=leg.sequence,
        actor=ACTOR,
    )
    return oco.Send(row.pk)


def _judge(group: OrderGroup, facts: oco.GroupFacts, plan: oco.Plan) -> None:
    """Write down what the group is now. What lasts is said at once; what may be over in a moment, by `protection`."""
    if plan.unsafe and plan.is_lasting:
        make_known(group, _said(group, facts, plan))
    elif plan.is_over and group.state == OrderGroup.State.UNSAFE:
        safe_again(group, state=OrderGroup.State.CLOSED, reason="nothing of it is open, and nothing of it can fill")


def _said(group: OrderGroup, facts: oco.GroupFacts, plan: oco.Plan) -> Said:
    account, signal = group.account, group.decision.signal
    symbol, numbers = signal.instrument.symbol, {"open": plain(facts.open), "over": plain(facts.over_closed)}
    if facts.over_closed > 0:
        text = (
            f"{account.name}: the {signal.side} trade in {symbol} (decision {group.decision_id}) was closed twice in "
            f"part: {plan.unsafe}. The account now holds {plain(facts.over_closed)} {symbol} the other way, which no "
            "strategy wants. Nothing is sent for that by itself: propose to flatten it, or close it at the broker."
        )
        return Said("overclosed", OVER_CLOSED, plan.unsafe, text, numbers)
    return Said.unprotected(
        account_name=account.name,
        what=f"{signal.side} {plain(facts.open)} {symbol}",
        decision_id=group.decision_id,
        why=plan.unsafe,
        numbers={**numbers, "stop": plain(facts.stop or ZERO)},
    )


@transaction.atomic
def resized(*, order_id: int, left: Decimal, price: Decimal) -> None:
    """A resting leg has, where it rests, another quantity or price now; its row says so."""
    order = locked(order_id)
    before = {"quantity": order.quantity, "price": order.price}
    order.quantity, order.price = order.filled_quantity + left, price
    order.save(update_fields=["quantity", "price", "updated_at"])
    audit.record(
        kind="order.resized",
        actor=ACTOR,
        account=order.account,
        obj=order,
        before=before,
        after={"quantity": order.quantity, "price": order.price},
        reason="its broker took it in the place of what rested",
    )


@transaction.atomic
def let_go_of_riding_legs(entry: Order) -> None:
    """Before an entry is sent where no legs can ride: the planned ones end here; ours follow once it has filled."""
    lock_account(entry.account_id)
    for leg in Order.objects.filter(rides_on=entry, state=OrderState.PLANNED).order_by("pk"):
        reason = "never sent: its broker makes no legs; one of our own follows once the entry has filled"
        move(leg, OrderState.CANCELLED, at=now(entry.account), reason=reason)


def no_longer_wanted(leg: Order) -> str:
    """Why a planned leg of ours must not be sent any more; "" when it may. Callers hold the account's lock."""
    trade = Trade.objects.filter(account=leg.account_id, decision=leg.decision_id, state=Trade.State.OPEN).first()
    held = trade.open_quantity if trade is not None else ZERO
    others = Order.objects.filter(account=leg.account_id, decision=leg.decision_id, tag=leg.tag, rides_on=None).exclude(
        pk=leg.pk
    )
    resting = _left(list(others.exclude(state__in=TERMINAL)))
    if resting + leg.quantity > held:
        return f"not sent: the trade holds {plain(held)}, and {plain(resting)} rest already"
    exits = Order.objects.filter(account=leg.account_id, exit_intent__decision=leg.decision_id)
    return "not sent: its trade is being left" if exits.exclude(state__in=TERMINAL).exists() else ""

"""Which planned orders may leave now, and taking them on: all of an account in one transaction, before any is sent.

What always holds: what an order waits for, or why it never may leave, is judged under its account's lock, from the
rows; whoever takes an order on gets a new fencing token and a lease; work that killed its worker again and again is
not begun; an order whose time or purpose has passed ends here and is never sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import Capabilities, OrderType
from trading.domain.order_limits import not_allowed
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState, Tag
from trading.models import Account, Order, OrderGroup, Trade
from trading.selectors.policies import policy_of
from trading.services import attempts, cursors, groups, logins, orders
from trading.services.inbox import INFLOW
from trading.services.orders import Move
from trading.services.restrictions import OPEN, trading_state

# How long a send may wait for our own rate budget, and again how long its exchange may take.
REQUEST_DEADLINE = timedelta(seconds=3)
LEASE = timedelta(seconds=8)
# Restrictions that pass by themselves, once a reconciliation is complete, orders have been looked up, or somebody has
# logged in: what was decided waits for that.
PASSING = ("startup: ", "reconciliation: ORDER_UNCONFIRMED ", f"{logins.LOGIN}: ")


@transaction.atomic
def claim(account: Account, known: Sequence[Order], able: Capabilities) -> list[Order]:
    """Take on those that may be sent now. `known` are the rows as they were read, with the facts around them."""
    read = {order.pk: order for order in known}
    rows = orders.locked_all(sorted(read), account_id=account.pk)
    judged = _Judge(account, able, [row.decision_id for row in rows if row.decision_id is not None])
    taken: list[Order] = []
    moves: list[Move] = []
    for order in rows:
        order.decision = read[order.pk].decision  # facts do not change: they need not be read again under the lock
        if order.account.policy_id == read[order.pk].account.policy_id:
            order.account.policy = read[order.pk].account.policy
        if order.state != OrderState.PLANNED or order.rides_on_id is not None:
            continue
        end, reason = judged.end_of(order)
        if end is not None:
            moves.append(Move(order, end, reason))
        elif wait := judged.waits_for(order, beside=taken):
            orders.waits(order, wait)
        else:
            taken.append(order)
    if account.broker != Account.Broker.PAPER and taken:
        begun = attempts.begin_all(keys=[attempts.send_key(order.pk) for order in taken])
        taken = [order for order in taken if attempts.send_key(order.pk) in begun]
    for order in taken:
        _take_on(order, judged)
        moves.append(Move(order, OrderState.SENDING, f"attempt {order.attempt}"))
    if moves:
        orders.move_all(moves, at=judged.moment)
    return taken


def _take_on(order: Order, judged: _Judge) -> None:
    order.attempt += 1
    order.lease_token += 1
    order.lease_until = wall_now() + LEASE
    # The last byte can leave at the lease's end, and its exchange can last one deadline more (see `still_ours`).
    quarantine = timedelta(seconds=int(policy_of(order.account).quarantine_seconds))
    order.quarantine_until = order.lease_until + REQUEST_DEADLINE + quarantine
    if not order.since_event_id:
        order.since_event_id = judged.since_event_id
    if order.tag == Tag.ENTRY and not judged.able.native_bracket:
        groups.let_go_of_riding_legs(order)


def still_ours(claimed: Order) -> bool:
    """The fence: a worker that was stopped and woke up after its lease passed must not send.

    The lease must last for another deadline, because a send may wait that long for our own rate budget. A paper book
    has no wire and stands in this very process: no time makes it another's.
    """
    rows = Order.objects.filter(pk=claimed.pk, state=OrderState.SENDING, lease_token=claimed.lease_token)
    if claimed.account.broker != Account.Broker.PAPER:
        rows = rows.filter(lease_until__gt=wall_now() + REQUEST_DEADLINE)
    return rows.exists()


class _Judge:
    """What stands in the way of orders of one account; what several of them ask is asked once."""

    def __init__(self, account: Account, able: Capabilities, decisions: Sequence[int]) -> None:
        self.account, self.able, self.moment = account, able, now(account)
        self._decisions = decisions
        self._states: dict[tuple[str, int], tuple[str, list[str]]] = {}

    @cached_property
    def since_event_id(self) -> str:
        """Where the reading of the broker's history stands: whatever comes of these orders is told after it."""
        return cursors.get(self.account, INFLOW)

    def end_of(self, order: Order) -> tuple[OrderState | None, str]:
        """The state in which an order ends instead of being sent, and why; None when it need not end."""
        if order.good_till is not None and self.moment > order.good_till:
            return OrderState.EXPIRED, "its time had passed before it could be sent"
        if order.tag == Tag.ENTRY:
            reason = _limits_say(order) or self._forbidden(order) or self._paper_left(order)
            if reason:
                return OrderState.CANCELLED, f"not sent: {reason}"
            age = self._age(order)
            # The room that was reserved for it was measured at its own price and time.
            late = order.type == OrderType.MARKET and age > policy_of(order.account).entry_age_limit
            if late and not self.waits_for(order):
                return OrderState.EXPIRED, f"not sent: it is {age} old"
        elif order.tag in PROTECTIVE_TAGS and (reason := groups.no_longer_wanted(order)):
            return OrderState.CANCELLED, reason
        return None, ""

    def waits_for(self, order: Order, *, beside: Sequence[Order] = ()) -> str:
        """What hinders an order now and passes by itself; "" for nothing. `beside` are those sent together with it."""
        if order.tag != Tag.ENTRY:
            return ""
        if not self.able.native_bracket and any(other.tag == Tag.ENTRY for other in beside):
            return "what another entry fills is covered first"
        return "; ".join(self._reasons(order)) or self._uncovered or self._paper_entering(order)

    def _age(self, order: Order) -> timedelta:
        age = self.moment - order.at
        # Leases and quarantines pass on the wall, where a simulator's clock may run fast.
        return min(age, wall_now() - order.recorded_at) if order.attempt else age

    @cached_property
    def _uncovered(self) -> str:
        """No new risk beside a trade that is not covered, or whose legs are not yet what they should be."""
        unsafe = OrderGroup.objects.filter(account=self.account, state=OrderGroup.State.UNSAFE).order_by("pk").first()
        if unsafe is not None:
            return f"stop and target of another trade are not what they should be: group {unsafe.pk} is UNSAFE"
        if self.able.native_bracket or groups.is_settled(self.account, groups.Manner.of(self.able)):
            return ""
        return "stops and targets of other trades are not yet where they should be"

    def _reasons(self, order: Order) -> list[str]:
        """The restrictions on an entry."""
        strategy = order.decision.signal.strategy if order.decision is not None else ""
        of = (strategy, order.instrument_id)
        if of not in self._states:
            self._states[of] = trading_state(self.account, strategy, order.instrument, at=self.moment)
        state, reasons = self._states[of]
        # What stands only because nobody knew whether this very order had arrived must not keep it from leaving again.
        return [] if state == OPEN else [reason for reason in reasons if order.client_order_id not in reason]

    def _forbidden(self, order: Order) -> str:
        """The restrictions on an entry, if one of them does not pass by itself."""
        reasons = self._reasons(order)
        return "" if all(reason.startswith(PASSING) for reason in reasons) else "; ".join(reasons)

    @cached_property
    def _paper(self) -> tuple[dict[int, Order], set[int]]:
        """Of a mirror's paper account: the entries of these orders' decisions, and which of them it has left."""
        if self.account.mirror_of_id is None:
            return {}, set()
        entries = Order.objects.filter(account=self.account.mirror_of_id, decision__in=self._decisions, tag=Tag.ENTRY)
        trades = Trade.objects.filter(account=self.account.mirror_of_id, decision__in=self._decisions)
        left = trades.filter(state=Trade.State.CLOSED).values_list("decision_id", flat=True)
        return {row.decision_id: row for row in entries if row.decision_id is not None}, set(left)

    def _paper_left(self, order: Order) -> str:
        """Why a mirror never enters: it enters only what its paper account has entered."""
        entries, left = self._paper
        entry = entries.get(order.decision_id or 0)
        if entry is None:
            return ""
        if order.decision_id in left:
            return "the paper trade has ended already"
        if entry.filled_quantity == 0 and OrderState(entry.state) in TERMINAL:
            return f"the paper entry ended {entry.state} without a fill"
        return ""

    def _paper_entering(self, order: Order) -> str:
        entry = self._paper[0].get(order.decision_id or 0)
        is_on_its_way = entry is not None and entry.state in ("PLANNED", "SENDING", "UNKNOWN")
        return "the paper account has not entered yet" if is_on_its_way else ""


def _limits_say(order: Order) -> str:
    """Why the instrument does not allow this order: it is never cut here, and never sent to be refused."""
    instrument = order.instrument
    return not_allowed(
        quantity=order.quantity,
        price=order.price,
        lot=instrument.lot_size,
        least=instrument.min_units,
        most=instrument.max_units,
        freeze=instrument.freeze_quantity,
        tick=instrument.tick_size,
    )

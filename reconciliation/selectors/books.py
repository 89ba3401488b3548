"""Our books of one account as a frozen snapshot, read at one moment.

What always holds: call it inside a transaction that holds the account's lock, so that cash, positions, orders and the
cut belong together; nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal

from django.db.models import F, Q

from reconciliation.domain.snapshots import (
    BooksHolding,
    BooksOrder,
    BooksPosition,
    BooksSnapshot,
    ChangedBody,
    CorporateEvent,
    InstrumentRule,
    UnpostedEvent,
)
from reconciliation.selectors.late import last_events, late_orders, unmapped_trades
from reconciliation.selectors.opening import has_not_begun
from reconciliation.selectors.over_closed import over_closed
from trading.clock import now
from trading.domain.books import pooled_price
from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import BrokerSnapshot, EventKind, FillData, Side
from trading.domain.money import STORED_STEP, parse_decimal, round_to_step
from trading.domain.orders import TERMINAL, OrderState, Tag
from trading.models import Account, BrokerEvent, CashEvent, Fill, InstrumentAlias, Order, OrderEvent, Trade
from trading.selectors import books
from trading.selectors.inbox import reversed_cash, reversed_fills, unposted
from trading.services import cursors
from trading.services.broker_changes import as_said, cash_as_said, changes
from trading.services.event_facts import CORPORATE, cash_now, fills_now
from trading.services.inbox import INFLOW
from trading.services.linking import link
from trading.services.trades import standing
from trading.services.versions import cash_versions, fill_versions

POST_TRADE = "post_trade"
# A corporate action may explain a difference for so long.
LATELY = timedelta(days=30)


def books_snapshot(
    account: Account, *, broker: BrokerSnapshot | None = None, unread: Sequence[PortEvent] = (), cut: str | None = None
) -> BooksSnapshot:
    """The books, with the orders that matter to `broker`'s answer.

    `unread` are events that were read and deliberately not stored (a report-only comparison): they count as stored
    and unposted, and `cut` is then the newest of them.
    """
    return BooksSnapshot(
        account_id=account.external_id,
        currency=account.currency,
        at=now(account),
        cut_event_id=cut if cut is not None else cursors.get(account, INFLOW),
        cash=books.cash_balances(account),
        positions=tuple(
            BooksPosition(p.symbol, p.quantity, p.average_price, p.external_quantity, _pooled(account, p.symbol))
            for p in books.positions(account).values()
        ),
        orders=tuple(_orders(account, broker)),
        holdings=tuple(_holdings(account)),
        over_closed=tuple(over_closed(account)),
        unposted=(*stored(account), *_unread(account, unread)),
        changed=tuple(changed(account)),
        instruments=instrument_rules(account),
        hedging=account.hedging,
        late=tuple(late_orders(account)),
        unmapped=tuple(unmapped_trades(account)),
        opening=has_not_begun(account),
        corporate=tuple(_corporate(account)),
    )


def _corporate(account: Account) -> list[CorporateEvent]:
    """What has happened to shares themselves lately, by the broker's history."""
    rows = BrokerEvent.objects.filter(account=account, kind=EventKind.CORPORATE_ACTION, at__gt=now(account) - LATELY)
    return [
        CorporateEvent(
            external_id=row.external_id,
            at=row.at,
            word=told["word"],
            instrument=told["instrument"],
            units=parse_decimal(told["units"]) if told["units"] is not None else None,
        )
        for row in rows.order_by("sequence")
        for told in [row.facts[CORPORATE]]
    ]


def _pooled(account: Account, symbol: str) -> Decimal | None:
    """The cost of a cash instrument's units by averaging: how its broker may count them."""
    fills = standing(Fill.objects.filter(account=account, instrument__symbol=symbol, instrument__is_margin=False))
    executions = fills.order_by("at", "id").values_list("side", "quantity", "price")
    price = pooled_price((Side(side), quantity, price) for side, quantity, price in executions)
    return round_to_step(price, STORED_STEP) if price is not None else None


def instrument_rules(account: Account) -> dict[str, InstrumentRule]:
    """Every instrument that the account's broker has a name for, by our symbol."""
    aliases = InstrumentAlias.objects.filter(broker=account.broker, valid_until=None).select_related("instrument")
    return {
        alias.instrument.symbol: InstrumentRule(
            symbol=alias.instrument.symbol,
            broker_symbol=alias.symbol,
            quantity_step=alias.instrument.lot_size,
            price_step=alias.instrument.tick_size,
            multiplier=alias.instrument.multiplier,
            pays_cash=not alias.instrument.is_margin,
            cap=alias.instrument.max_units,
        )
        for alias in aliases
    }


def post_trade_mark(account: Account) -> str:
    """How far the account's fills and ended orders have come: what a run that reads the books now has seen."""
    fill = Fill.objects.filter(account=account).order_by("-id").values_list("id", flat=True).first() or 0
    ended = (
        OrderEvent.objects.filter(order__account=account, to_state__in=[str(state) for state in TERMINAL])
        .order_by("-id")
        .values_list("id", flat=True)
        .first()
        or 0
    )
    return f"{fill}:{ended}"


def _orders(account: Account, broker: BrokerSnapshot | None) -> list[BooksOrder]:
    wanted = ~Q(state__in=[str(state) for state in TERMINAL]) | Q(filled_quantity__gt=F("quantity"))
    if broker is not None:
        wanted |= Q(client_order_id__in=[o.client_id for o in broker.orders if o.client_id])
        wanted |= Q(broker_order_id__in=[o.broker_order_id for o in broker.orders if o.broker_order_id])
    rows = list(
        Order.objects.filter(account=account).filter(wanted).select_related("instrument", "exit_intent").order_by("id")
    )
    news = last_events(rows)
    return [
        BooksOrder(
            order_id=order.pk,
            client_id=order.client_order_id,
            broker_order_id=order.broker_order_id,
            instrument=order.instrument.symbol,
            side=order.side,
            tag=Tag(order.tag),
            state=OrderState(order.state),
            quantity=order.quantity,
            filled=order.filled_quantity,
            price=order.price,
            rides_on_entry=order.rides_on_id is not None,
            decision_id=order.decision_id or (order.exit_intent.decision_id if order.exit_intent is not None else None),
            news_at=news[order.pk].at if order.pk in news else None,
            good_till=order.good_till,
            given_up=order.pk in news and news[order.pk].application_id is not None,
        )
        for order in rows
    ]


def _holdings(account: Account) -> list[BooksHolding]:
    still_open = Trade.objects.filter(account=account, state=Trade.State.OPEN, open_quantity__gt=0)
    trades = list(still_open.select_related("instrument").order_by("decision_id"))
    stops: dict[int, list[str]] = {}
    named = Order.objects.filter(account=account, tag=Tag.STOP, decision__in=[trade.decision_id for trade in trades])
    for decision_id, client_id in named.order_by("id").values_list("decision_id", "client_order_id"):
        stops.setdefault(decision_id, []).append(client_id)
    return [
        BooksHolding(
            decision_id=trade.decision_id,
            instrument=trade.instrument.symbol,
            side=trade.side,
            quantity=trade.open_quantity,
            stop_client_ids=tuple(stops.get(trade.decision_id, [])),
            stop_planned=trade.decision_id in stops,
        )
        for trade in trades
    ]


def unposted_parts(
    account: Account, row: BrokerEvent, gone: tuple[Sequence[int], Sequence[int]] | None = None
) -> UnpostedEvent:
    """What of a stored event, as the broker says it now, is not in the books.

    `gone` are the account's fills and movements that were taken back, for who asks about many events.
    """
    fills, cash = fills_now(row), cash_now(row)
    fills_gone, cash_gone = gone or (reversed_fills(account), reversed_cash(account))
    booked = _in_force(fill_versions, fills_gone, account, row, [f.external_id for f in fills])
    paid = _in_force(cash_versions, cash_gone, account, row, [c.external_id for c in cash])
    left = tuple(fill for fill in fills if fill.external_id not in booked)
    return UnpostedEvent(
        event_id=row.pk,
        external_id=row.external_id,
        sequence=row.sequence,
        at=row.at,
        fills=left,
        cash=tuple(c for c in cash if c.external_id not in paid),
        ours=_ours(account, left),
    )


def _in_force(
    versions: Callable[[Account, BrokerEvent, str], Sequence[Fill | CashEvent]],
    gone: Sequence[int],
    account: Account,
    row: BrokerEvent,
    external_ids: Sequence[str],
) -> set[str]:
    """Those of the broker's ids under which something stands in the books."""
    return {name for name in external_ids if any(each.pk not in gone for each in versions(account, row, name))}


def _ours(account: Account, fills: Sequence[FillData]) -> frozenset[str]:
    return frozenset(
        fill.external_id
        for fill in fills
        if link(account, client_id=fill.client_id, broker_order_id=fill.broker_order_id) is not None
    )


def stored(account: Account) -> list[UnpostedEvent]:
    """The stored events of which something is not in the books."""
    rows = unposted(account)
    gone = (reversed_fills(account), reversed_cash(account)) if rows else ((), ())
    return [unposted_parts(account, row, gone) for row in rows]


def _unread(account: Account, events: Sequence[PortEvent]) -> list[UnpostedEvent]:
    rows = BrokerEvent.objects.filter(account=account, external_id__in=[event.external_id for event in events])
    known = set(rows.values_list("external_id", flat=True))
    return [
        UnpostedEvent(
            0, event.external_id, event.sequence, event.at, event.fills, event.cash, _ours(account, event.fills)
        )
        for event in events
        if event.external_id not in known and (event.fills or event.cash)
    ]


def changed(account: Account) -> list[ChangedBody]:
    """The events that the broker says otherwise now, where the books do not follow yet."""
    return [
        ChangedBody(
            external_id=change.row.external_id,
            first_sha256=change.row.body_sha256,
            later_sha256=change.reading.sha256,
            event_id=change.row.pk,
            undone=tuple(as_said(fill) for fill in change.undone),
            instead=change.instead,
            cash_undone=tuple(cash_as_said(cash) for cash in change.cash_undone),
            cash_instead=change.cash_instead,
        )
        for change in changes(account)
        if not change.settled
    ]

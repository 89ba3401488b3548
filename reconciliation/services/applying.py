"""Carrying out an approved resolution, exactly once.

What always holds: the application, its entries and its orders (as PLANNED rows) commit together; before that, version
and payload are computed again from current facts, and when anything has moved nothing is posted and the case is open
again; calling it twice finds the first application.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from reconciliation.domain.kinds import Action
from reconciliation.domain.lifecycle import State
from reconciliation.models import Discrepancy
from trading.clock import now
from trading.domain.broker import CashData, FillData
from trading.domain.money import ZERO, parse_decimal
from trading.domain.orders import OrderState, is_late, state_after_fill
from trading.locks import lock_account
from trading.models import Application, BrokerEvent, Entry, Fill, Instrument, Order, Proposal, User
from trading.selectors.instruments import UnmappedInstrument
from trading.services import approvals, booking, corrections, orders, splits, symbol_changes, trades
from trading.services.audit import Actor
from trading.services.errors import RuleBroken
from trading.services.event_facts import cash_now, fills_now
from trading.services.linking import link
from trading.wake import wake

from . import approvals_needed, discrepancies, lost_orders, stop_effects
from .correction_payloads import REVERSAL
from .payloads import FILLS, build
from .resolutions import SUBJECT

SEND_TASK = "orders.send"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an application: either `application`, or the sentence why nothing was done."""

    application: Application | None
    orders: tuple[int, ...] = ()
    refused: str = ""


def apply(*, proposal_id: int, actor: Actor, applied_by: User | None = None) -> Applied:
    """Carry out an approved proposal. Safe to call at any time, by anyone, any number of times.

    When the facts have moved since the approval, or the books refuse an entry, the case is open again and `refused`
    says why. Raises RuleBroken when the proposal is not about a difference or not approved.
    """
    try:
        return _apply(proposal_id, actor, applied_by)
    except _Refused as refusal:
        return _give_back(proposal_id, actor, str(refusal))


class _Refused(Exception):
    """Everything is rolled back, then the case is given back with this reason."""


@transaction.atomic
def _apply(proposal_id: int, actor: Actor, applied_by: User | None) -> Applied:
    proposal = Proposal.objects.select_related("account", "proposer").get(pk=proposal_id)
    if proposal.subject_type != SUBJECT or proposal.account is None:
        raise RuleBroken(f"Proposal {proposal.pk} is not about a difference.")
    lock_account(proposal.account.pk)
    standing = Application.objects.filter(proposal=proposal).first()
    if standing is not None:
        return Applied(standing, tuple(Order.objects.filter(application=standing).values_list("pk", flat=True)))
    row = discrepancies.locked(proposal.subject_id)
    state = approvals.standing(proposal)
    if state != "APPROVED":
        raise RuleBroken(f"Proposal {proposal.pk} is {state}: only an approved one is carried out. Nothing was posted.")
    if row.proposal_id != proposal.pk or row.version != proposal.subject_version or row.state != State.APPROVED:
        raise _Refused("the case has changed since the approval")
    payload = json.loads(proposal.payload)
    try:
        current = build(row, Action(payload["action"]), payload["parameters"])
    except RuleBroken as error:
        raise _Refused(str(error)) from error
    if proposal.approvals_required < approvals_needed.of(current):
        raise _Refused("by the account's policy more people must approve it than were asked to")
    if current != payload:
        raise _Refused("what would be posted now differs from what was approved")
    application = approvals.record_application(
        proposal=proposal, applied_by=applied_by, result=_result(payload), actor=actor
    )
    try:
        for entry in payload["entries"]:
            _post(row, entry, application, actor)
        for client_id in payload.get("ends", ()):
            lost_orders.end(client_id, application)
        stops = [stop_effects.carry_out(row, stop, application, actor) for stop in payload.get("stops", ())]
        planned = [_plan(row, order, application, number, actor) for number, order in enumerate(payload["orders"], 1)]
    except (RuleBroken, UnmappedInstrument) as error:
        raise _Refused(str(error)) from error
    discrepancies.application_recorded(row, application, actor, _told(payload))
    planned += [order for order in stops if order is not None]
    for order in planned:
        wake(SEND_TASK, order.pk)
    return Applied(application, tuple(order.pk for order in planned))


@transaction.atomic
def _give_back(proposal_id: int, actor: Actor, reason: str) -> Applied:
    proposal = Proposal.objects.get(pk=proposal_id)
    if proposal.account_id is not None:
        lock_account(proposal.account_id)
    row = discrepancies.locked(proposal.subject_id)
    told = f"Nothing was posted: {reason}. Look at the case again and propose anew."
    if row.proposal_id == proposal.pk and row.state == State.APPROVED:
        row.version += 1
        discrepancies.move(row, State.OPEN, kind="NOT_APPLIED", actor=actor, proposal=None, reason=told)
    return Applied(None, (), told)


def _result(payload: dict[str, Any]) -> dict[str, Any]:
    names = ("action", "discrepancy", "version", "entries", "orders", "stops")
    return {name: payload[name] for name in names if name in payload}


def _told(payload: dict[str, Any]) -> str:
    entries, orders = len(payload["entries"]), len(payload["orders"])
    posted = f"{entries} {'entry' if entries == 1 else 'entries'} posted"
    stops = "".join(f", {stop['tag']} {stop['client_id']}: {stop['do']}" for stop in payload.get("stops", ()))
    return f"{payload['action']}: {posted}, {orders} {'order' if orders == 1 else 'orders'} planned{stops}"


def _post(row: Discrepancy, entry: dict[str, Any], application: Application, actor: Actor) -> None:
    account, kind = row.account, entry["entry"]
    if kind == REVERSAL:
        if not entry["follows"]:  # what goes with an entry is reversed with it
            taken_back = Entry.objects.select_related("account", "fill__instrument", "fill__order", "cash_event")
            corrections.reverse(
                entry=taken_back.get(pk=entry["reverses"], account=account), application=application, actor=actor
            )
    elif kind in FILLS:
        event = BrokerEvent.objects.get(pk=entry["event"], account=account)
        fill = next(fill for fill in fills_now(event) if fill.external_id == entry["external_id"])
        order = link(account, client_id=fill.client_id, broker_order_id=fill.broker_order_id)
        if "instead_of" in entry:
            order = orders.locked(order.pk) if order is not None else None
            corrections.book_fill_instead(
                account=account, event=event, says=fill, order=order, application=application, actor=actor
            )
            return
        if order is not None:
            order = _filled(order.pk, fill, event)
        booking.book_fill(account=account, event=event, fill=fill, order=order, application=application, actor=actor)
    elif kind == "ADOPTION":
        booking.adopt_position(
            account=account,
            instrument=Instrument.objects.get(symbol=entry["instrument"]),
            quantity=parse_decimal(entry["quantity"]),
            price=parse_decimal(entry["price"]),
            estimated=entry.get("estimated", False),
            application=application,
            actor=actor,
        )
    elif kind == "ESTIMATE":
        booking.close_at_estimate(
            account=account,
            instrument=Instrument.objects.get(symbol=entry["instrument"]),
            quantity=parse_decimal(entry["quantity"]),
            price=parse_decimal(entry["price"]),
            realised=parse_decimal(entry["realised"]),
            application=application,
            actor=actor,
        )
    elif kind == "SPLIT":
        splits.book_split(
            account=account,
            instrument=Instrument.objects.get(symbol=entry["instrument"]),
            before=parse_decimal(entry["before"]),
            after=parse_decimal(entry["after"]),
            application=application,
            actor=actor,
        )
    elif kind == "SYMBOL_CHANGE":
        symbol_changes.book_symbol_change(
            account=account,
            instrument=Instrument.objects.get(symbol=entry["instrument"]),
            into=Instrument.objects.get(symbol=entry["into"]),
            quantity=parse_decimal(entry["before"]),
            application=application,
            actor=actor,
        )
    elif kind == "ADJUSTMENT":
        booking.adjust_cash(
            account=account,
            currency=entry["currency"],
            amount=parse_decimal(entry["amount"]),
            application=application,
            reason=application.proposal.reason[:200],
            actor=actor,
        )
    else:
        event = BrokerEvent.objects.get(pk=entry["event"], account=account)
        booking.book_cash(
            account=account, event=event, cash=_cash(event, entry["external_id"]), application=application, actor=actor
        )


def _cash(event: BrokerEvent, external_id: str) -> CashData:
    return next(cash for cash in cash_now(event) if cash.external_id == external_id)


def _filled(order_id: int, fill: FillData, event: BrokerEvent) -> Order:
    """Our order with this fill counted, moved along its states as an event of the broker would have moved it.

    Counted from the booked fills, so that a fill which moved the order without being booked is not counted twice.
    """
    order = orders.locked(order_id)
    standing = trades.standing(Fill.objects.filter(order=order))
    booked = [(f.quantity, f.price) for f in standing] + [(fill.quantity, fill.price)]
    filled = sum((quantity for quantity, _ in booked), ZERO)
    order.average_price = round(sum((quantity * price for quantity, price in booked), ZERO) / filled, 12)
    order.filled_quantity = filled
    source = OrderState(order.state)
    target = state_after_fill(source, ordered=order.quantity, filled=filled)
    late = " (late)" if is_late(source, target) else ""
    orders.move(order, target, at=event.at, reason=f"an approved fill was booked{late}", broker_event=event)
    return order


def _plan(row: Discrepancy, order: dict[str, Any], application: Application, number: int, actor: Actor) -> Order:
    return orders.plan_order(
        account=row.account,
        intent=application,
        tag=order["tag"],
        instrument=Instrument.objects.get(symbol=order["instrument"]),
        side=order["side"],
        quantity=parse_decimal(order["quantity"]),
        type=order["type"],
        at=now(row.account),
        reduce_only=order["reduce_only"],
        sequence=number,
        actor=actor,
    )

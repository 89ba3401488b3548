"""What a page shows before a decision is what is posted after it, line by line, and showing it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reconciliation.models import Discrepancy
from reconciliation.services import applying, payloads, preview, resolutions
from tests.trading.admin.world import World
from tests.trading.services import making, shares
from trading.models import Account, Application, BrokerEvent, Entry, Instrument, Order, Trade
from trading.services import booking, inbox
from trading.services.audit import Actor

Compare = Callable[..., None]
WRITES = ("INSERT", "UPDATE", "DELETE", "ledger_post", "advisory", "FOR UPDATE", "FOR NO KEY")
# Action, what the broker shows of EUR_USD, its cash, and whether our own trade is out of the way.
PLANTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "book_fills": ("10700", {}, False),
    "flatten": ("10700", {}, True),
    "adopt_position": ("11000", {"price": Decimal("1.0935")}, False),
    "close_at_estimate": ("4000", {}, False),
    "adjust": ("10000", {"cash": Decimal("99987.25")}, False),
    "accept": ("10700", {}, False),
}


def posted(entries: Any) -> list[tuple[str, Decimal, str]]:
    """Debit and credit lines as rows of the books: ledger account, signed amount, commodity."""
    lines = []
    for entry in entries.order_by("id"):
        for transfer in entry.transfers.order_by("id"):
            lines.append((str(transfer.debit), transfer.amount, transfer.commodity_id))
            lines.append((str(transfer.credit), -transfer.amount, transfer.commodity_id))
    return lines


def shown(draft: preview.Draft) -> list[tuple[str, Decimal, str]]:
    """The same of a draft."""
    return [(line.ledger_account, line.debit or -(line.credit or Decimal(0)), line.commodity) for line in draft.lines]


@pytest.mark.parametrize("action", PLANTS)
def test_the_lines_of_the_preview_are_the_lines_that_are_posted(action: str, world: World, compare: Compare) -> None:
    quantity, more, out_of_the_way = PLANTS[action]
    if out_of_the_way:
        Trade.objects.filter(account=world.account).update(state=Trade.State.CLOSED)
    if action in ("adopt_position", "close_at_estimate", "adjust"):  # the held fill of the world is no part of these
        compare("10700", times=2)
        apply(Discrepancy.objects.get(key="EURUSD"), "book_fills", world)
        quantity = str(Decimal(quantity) + 700)
    compare(quantity, times=2, **more)
    case = (
        Discrepancy.objects.get(kind="CASH_UNEXPLAINED")
        if action == "adjust"
        else Discrepancy.objects.get(key="EURUSD")
    )
    payload = payloads.preview(case, action).payload
    with CaptureQueriesContext(connection) as queries:
        draft = preview.draft(case, payload)
    assert not [q["sql"] for q in queries if any(word in q["sql"] for word in WRITES)], (
        "a preview writes and locks nothing"
    )
    before = Entry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    apply(case, action, world)
    assert shown(draft) == posted(Entry.objects.filter(pk__gt=before))
    orders = Order.objects.filter(application__isnull=False, account=world.account)
    planned = [(order.side, order.quantity) for order in orders if order.application.proposal.subject_id == case.pk]
    assert [(order["side"], Decimal(order["quantity"])) for order in payload["orders"]] == planned
    assert bool(draft.lines) == (action != "accept")


def apply(case: Discrepancy, action: str, world: World) -> None:
    """Ada proposes, bob approves, it is carried out."""
    ada, bob = world.people["ada"], world.people["bob"]
    proposal = resolutions.propose(
        discrepancy_id=case.pk,
        action=action,
        reason="seen at the broker",
        proposer=ada,
        actor=Actor.of(ada, via="test"),
    )
    resolutions.approve(
        proposal_id=proposal.pk,
        approver=bob,
        payload_sha256=proposal.payload_sha256,
        subject_version=proposal.subject_version,
        actor=Actor.of(bob, via="test"),
    )
    applied = applying.apply(proposal_id=proposal.pk, actor=Actor.of(bob, via="test"), applied_by=bob)
    assert not applied.refused, applied.refused


# What is posted of shares after 10 AAPL were bought at 100: each is paid, and realises what the lots give.
SHARES: dict[str, dict[str, Any]] = {
    "bought": {"entry": "EXTERNAL_FILL", "side": "BUY", "quantity": "5", "price": "104.25", "commission": "-0.35"},
    "sold": {"entry": "EXTERNAL_FILL", "side": "SELL", "quantity": "4", "price": "110.5", "commission": "0"},
    "adopted": {"entry": "ADOPTION", "quantity": "3", "price": "99.5"},
    "gone for money": {"entry": "ESTIMATE", "quantity": "-2", "price": "101", "realised": "202"},
    "gone for nothing": {"entry": "ESTIMATE", "quantity": "-2", "price": "101", "realised": "0"},
}


@pytest.mark.parametrize("what", SHARES)
def test_shares_are_previewed_as_they_are_posted(what: str, db: None) -> None:
    account, entry = shares.make_share_account(), {"instrument": "AAPL", **SHARES[what]}
    application = shares.approved(account)
    first = shares.bought(1, None, "10", "100")
    book(account, first, application)
    before = Entry.objects.order_by("-id").values_list("id", flat=True)[0]
    if entry["entry"] == "EXTERNAL_FILL":
        money = {"realised": "0", "financing": "0"}
        event = shares.bought(
            2, None, entry["quantity"], entry["price"], side=entry["side"], commission=entry["commission"]
        )
        inbox.receive(account=account, events=[event])
        stored = BrokerEvent.objects.get(account=account, external_id=event.external_id)
        draft = preview.draft(Discrepancy(account=account), {"entries": [{**money, **entry, "event": stored.pk}]})
        book(account, event, application)
    else:
        draft = preview.draft(Discrepancy(account=account), {"entries": [entry]})
        common: dict[str, Any] = {
            "account": account, "instrument": Instrument.objects.get(symbol="AAPL"), "application": application,
            "quantity": Decimal(entry["quantity"]), "price": Decimal(entry["price"]), "actor": making.TEST,
        }  # fmt: skip
        if entry["entry"] == "ADOPTION":
            booking.adopt_position(**common)
        else:
            booking.close_at_estimate(realised=Decimal(entry["realised"]), **common)
    assert draft.lines and shown(draft) == posted(Entry.objects.filter(pk__gt=before))


def book(account: Account, event: Any, application: Application) -> None:
    """Get somebody else's execution into the books."""
    inbox.receive(account=account, events=[event])
    row = BrokerEvent.objects.get(account=account, external_id=event.external_id)
    (fill,) = event.fills
    booking.book_fill(account=account, event=row, fill=fill, order=None, application=application, actor=making.TEST)


def test_effects_add_the_lines_up(world: World, compare: Compare) -> None:
    compare("10700", times=2)
    case = Discrepancy.objects.get(key="EURUSD")
    draft = preview.draft(case, payloads.preview(case, "book_fills").payload)
    assert [(effect.what, effect.change) for effect in draft.effects] == [("EURUSD", Decimal(700))]


def test_an_instrument_that_is_unknown_is_a_sentence_and_no_error(world: World, compare: Compare) -> None:
    compare("10700", times=2)
    case = Discrepancy.objects.get(key="EURUSD")
    payload = json.loads(json.dumps(payloads.preview(case, "book_fills").payload).replace("EUR_USD", "EUR_XXX"))
    draft = preview.draft(case, payload)
    assert draft.lines == () and "EUR_XXX" in draft.refused
    assert Account.objects.filter(pk=case.account_id).exists()

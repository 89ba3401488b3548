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
from trading.models import Account, Entry, Order, Trade
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

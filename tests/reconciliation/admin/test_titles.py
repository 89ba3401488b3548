"""What a case is called, which rows stand beside its numbers, and what a closing order leaves."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from reconciliation.admin.side_by_side import rows
from reconciliation.admin.titles import title_of_case
from reconciliation.domain.causes import own_fill_cause
from reconciliation.models import Discrepancy
from tests.trading.admin.world import World
from trading.domain.broker import FillData, Side
from trading.models import Trade

SignIn = Callable[[str], Client]
Compare = Callable[..., None]
FILL = "fill:20261120094544277::aa3f7694-0000-4000-8000-000000000001"


def page_of(client: Client, case: Discrepancy) -> str:
    return client.get(reverse("admin:reconciliation_discrepancy_change", args=[case.pk])).content.decode()


def test_a_title_is_words_and_an_instrument_and_the_key_stands_below(case: Discrepancy, signed_in: SignIn) -> None:
    case.kind, case.key = "MISSING_FILL", FILL
    case.save()
    assert title_of_case(case) == "Missing fill: EURUSD"
    page = page_of(signed_in("charlie"), case)
    assert "<h1>Missing fill: EURUSD</h1>" in page and "&rsaquo; Missing fill: EURUSD" in page
    assert f'<code class="id">{FILL}</code>' in page
    home = signed_in("charlie").get("/admin/").context["needs"]
    assert "EURUSD" in [need.about for need in home]
    case.instrument = None
    assert len(title_of_case(case)) < 45 and title_of_case(case).endswith("00000001")


def test_cash_of_another_case_is_not_shown_and_cash_of_its_own_fills_is(case: Discrepancy, compare: Compare) -> None:
    case.refresh_from_db()
    assert not [row for row in rows(case) if row.name.startswith("Cash")]
    compare("10700", times=2, cash=Decimal("99962"))
    case.refresh_from_db()
    assert not [row for row in rows(case) if row.name.startswith("Cash")]
    fills = case.evidence["evidence"]["fills"]
    fills[0]["financing"] = "-37.5"
    (shown,) = [row for row in rows(case) if row.name.startswith("Cash")]
    assert shown.difference == "-37.50"
    of_cash = Discrepancy.objects.get(kind="CASH_UNEXPLAINED")
    assert rows(of_cash)[0].difference == "-37.50"


def test_an_ended_case_says_that_its_cause_is_past(case: Discrepancy, signed_in: SignIn) -> None:
    assert "When it was last seen" not in page_of(signed_in("charlie"), case)
    Discrepancy.objects.filter(pk=case.pk).update(state="CLEARED", closed_at=case.last_seen_at)
    assert "When it was last seen: 1 fill of" in page_of(signed_in("charlie"), case)


def test_a_closing_order_says_what_is_left_when_it_has_filled(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    Trade.objects.filter(account=case.account, instrument=case.instrument).update(state=Trade.State.CLOSED)
    said = page_of(signed_in("ada"), case)
    assert "And -700 EURUSD when the order has filled: 10,000 in the end, at the market&#x27;s price." in said


def test_the_tile_counts_what_the_list_behind_it_shows(case: Discrepancy, signed_in: SignIn) -> None:
    other = Discrepancy.objects.get(pk=case.pk)
    other.pk, other.fingerprint, other.key, other.state = None, "1" * 64, "GBPUSD", "APPLIED"
    other.save(force_insert=True)
    client = signed_in("charlie")
    home = client.get("/admin/")
    assert (home.context["cases"].open, home.context["cases"].working) == (1, 1)
    assert "1 being carried out" in home.content.decode()
    listed = client.get(reverse("admin:reconciliation_discrepancy_changelist") + "?standing=people")
    assert [row.pk for row in listed.context["cl"].result_list] == [case.pk]


@pytest.mark.parametrize("stored", [True, False])
def test_a_fill_of_ours_that_waits_says_why_people_are_asked(stored: bool) -> None:
    nothing = Decimal(0)
    fill = FillData("1", "7", "", "USD_JPY", Side.BUY, Decimal(8000), Decimal(150), nothing, nothing, nothing)
    cause = own_fill_cause(fill, stored=stored, of_order=[fill])
    assert ("the account's policy asks people about such fills" in cause) is stored

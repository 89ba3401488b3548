"""What the lists leave out until somebody asks for it, and how numbers, codes and names read on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.trading.admin.world import World
from trading.admin import values
from trading.clock import now
from trading.models import Account, DayState, LedgerAccount, Order, Position, Restriction

SignIn = Callable[[str], Client]


def rows(client: Client, model: str, query: str = "") -> list[Any]:
    answer = client.get(reverse(f"admin:trading_{model}_changelist") + query)
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


@pytest.mark.parametrize("model", ["order", "fill", "entry", "signal", "decision", "position", "trade", "lot"])
def test_a_replays_rows_are_behind_their_own_link(model: str, signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    own = rows(client, model)
    assert own and not rows(client, model, "?world=replays")
    Account.objects.filter(pk=world.account.pk).update(scope="replay-1")
    assert not rows(client, model)
    assert rows(client, model, "?world=replays") == own == rows(client, model, "?world=all")
    assert rows(client, model, f"?account__id__exact={world.account.pk}") == own, "an account that was asked for"


def test_cash_events_and_days_of_replays_are_left_out_too(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    DayState.objects.get_or_create(account=world.account, trading_day="2026-03-02")
    for model in ("cashevent", "daystate"):
        assert rows(client, model) and not rows(client, model, "?world=replays"), model


def test_the_newest_by_its_own_time_is_first(signed_in: SignIn, world: World) -> None:
    first = Order.objects.order_by("id").first()
    assert first is not None
    Order.objects.filter(pk=first.pk).update(at=first.at + timedelta(days=300))
    assert rows(signed_in("charlie"), "order")[0].pk == first.pk


def test_orders_of_today_are_those_of_the_accounts_own_day(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    assert rows(client, "order") and not rows(client, "order", "?day=today")
    Order.objects.filter(pk=world.entry.pk).update(at=now(world.account))
    assert [order.pk for order in rows(client, "order", "?day=today")] == [world.entry.pk]


def test_a_position_that_is_flat_is_listed_only_on_request(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    held = rows(client, "position")
    Position.objects.update(quantity=0)
    assert not rows(client, "position")
    assert rows(client, "position", "?holding=all") == held


def test_kinds_and_standings_are_words_of_one_label(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    page = client.get(reverse("admin:trading_entry_changelist")).content.decode()
    assert "External fill" in page and "somebody else" not in page
    page = client.get(reverse("admin:trading_restriction_changelist")).content.decode()
    assert "In force" in page and "Lifted" in page and "Not empty" not in page
    in_force = rows(client, "restriction", "?lifted_at__isempty=1")
    assert in_force == list(Restriction.objects.filter(lifted_at=None).order_by("-id"))
    assert "<h1>Users</h1>" in signed_in("ulla").get(reverse("admin:trading_user_changelist")).content.decode()


def test_an_account_shows_unsettled_cash_and_both_together(signed_in: SignIn, world: World) -> None:
    cash = world.account.ledger_accounts.get(kind="CASH")
    LedgerAccount.objects.create(account=world.account, kind="UNSETTLED", commodity=cash.commodity)
    page = signed_in("charlie").get(reverse("admin:trading_account_change", args=[world.account.pk]))
    table = next(panel for panel in page.context["panels"] if panel.title == "Cash in the books")
    names = [str(row[0]) for row in table.rows]
    assert "Unsettled, payable or receivable" in names[1] and names[-1] == "Cash, trade date"
    assert table.rows[0][1] == table.rows[-1][1], "nothing is on its way"
    assert "99,999.50" in str(table.rows[-1][1])


def test_an_entry_shows_the_audit_trail_of_what_it_books(signed_in: SignIn, world: World) -> None:
    entry = world.entry.fills.get().entries.get()
    page = signed_in("charlie").get(reverse("admin:trading_entry_change", args=[entry.pk]))
    assert next(panel for panel in page.context["panels"] if panel.title == "Audit trail").rows


@pytest.mark.parametrize(
    ("value", "shown"),
    [("-37.5", "-37.50"), ("0.004", "0.00"), ("-0.004", "0.00"), ("1234567.891", "+1,234,567.89"), ("0", "0.00")],
)
def test_money_on_lists_has_two_decimals_and_never_a_negative_zero(value: str, shown: str) -> None:
    assert values.signed_rounded(Decimal(value)) == shown


def test_a_long_id_is_shortened_for_the_eye_and_whole_for_the_clipboard() -> None:
    name = "20261120094544277::aa3f7694-0000-4000-8000-000000000001"
    shown = values.short_code(name)
    assert f'title="{name}"' in shown
    start, end = shown.split("<span>")[1:]
    assert start.split("<")[0] + end.split("<")[0] == name
    assert "title" not in values.short_code("short")

"""The ledger has one door, `ledger_post`: what it lets in, and what it refuses, under the application login."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from tests.trading.services import making
from trading.domain.money import plain
from trading.models import (
    Account,
    CashEvent,
    Commodity,
    Entry,
    Fill,
    LedgerAccount,
    Lot,
    LotClose,
    Order,
    Transfer,
)
from trading.selectors import books
from trading.services.errors import RuleBroken
from trading.services.ledger import Draft, ledger_account, post

pytestmark = pytest.mark.django_db
BOOKS = (Entry, Transfer, Lot, LotClose)


@dataclass
class World:
    """An account with a deposit and an open lot of 1000, and the fill behind it."""

    account: Account
    other: Account
    order: Order
    fill: Fill
    lot: Lot
    deposit: CashEvent


@pytest.fixture
def world() -> World:
    account, other = making.make_account(), making.make_account("oanda-other")
    order = making.make_entry(account, quantity="2000")
    making.receive(account, making.cash_of(1, "TRANSFER", "5000"), making.fill_of(2, order, "1000"))
    making.receive(other, making.cash_of(1, "TRANSFER", "5000"))
    return World(account, other, order, Fill.objects.get(), Lot.objects.get(), CashEvent.objects.get(account=account))


def payload(world: World, **changes: Any) -> dict[str, Any]:
    """A transfer of 5 USD that would be fine."""
    return {
        "key": "a-test",
        "kind": "TRANSFER",
        "account_id": world.account.pk,
        "at": "2026-03-02T08:00:00Z",
        "trading_day": "2026-03-02",
        "value_date": "2026-03-02",
        "cash_event_id": world.deposit.pk,
        "transfers": [transfer(world)],
        **changes,
    }


def transfer(world: World, **changes: Any) -> dict[str, str]:
    """Cash out of capital."""
    return {
        "debit": str(ledger_account(world.account, "CASH", "USD").pk),
        "credit": str(ledger_account(world.account, "CAPITAL", "USD").pk),
        "commodity": "USD",
        "amount": "5",
        **changes,
    }


def knock(body: dict[str, Any]) -> int:
    """Call the door as the application login; a refusal leaves the test's transaction usable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger_post(%s::jsonb)", [json.dumps(body)])
        return int(cursor.fetchone()[0])


def counted() -> list[int]:
    """How many rows each table of the books has."""
    return [model._base_manager.count() for model in BOOKS]


def refused(body: dict[str, Any], match: str) -> None:
    """The door refuses this, and nothing of it stays."""
    before = counted()
    with pytest.raises(DatabaseError, match=match):
        knock(body)
    assert counted() == before


def test_the_same_key_with_the_same_payload_is_the_same_entry(world: World) -> None:
    first = knock(payload(world))
    after = counted()
    assert knock(payload(world)) == first
    assert knock(dict(reversed(payload(world).items()))) == first, "the order of keys means nothing"
    assert counted() == after


@pytest.mark.parametrize(
    "change", [{"memo": "other"}, {"at": "2026-03-02T08:00:01Z"}, {"transfers": []}, {"kind": "FEE"}]
)
def test_the_same_key_with_another_payload_is_an_error(world: World, change: dict[str, Any]) -> None:
    knock(payload(world))
    refused(payload(world, **change), "posted before with another payload")


@pytest.mark.scenario("S-79")
def test_an_entry_without_transfers_is_refused(world: World) -> None:
    refused(payload(world, transfers=[]), "has no transfer")
    refused({k: v for k, v in payload(world).items() if k != "transfers"}, "has no transfer")


@pytest.mark.parametrize("side", ["debit", "credit"])
def test_a_ledger_account_of_another_account_is_refused(world: World, side: str) -> None:
    foreign = str(ledger_account(world.other, "SUSPENSE", "USD").pk)
    refused(payload(world, transfers=[transfer(world, **{side: foreign})]), "foreign ledger account")


@pytest.mark.parametrize("side", ["debit", "credit"])
def test_a_transfer_cannot_mix_commodities(world: World, side: str) -> None:
    euros = str(ledger_account(world.account, "POSITION", "EURUSD").pk)
    refused(payload(world, transfers=[transfer(world, **{side: euros})]), "foreign key|debit_commodity")
    both = {"debit": euros, "credit": str(ledger_account(world.account, "MARKET", "EURUSD").pk)}
    refused(payload(world, transfers=[transfer(world, **both)]), "foreign key")


@pytest.mark.parametrize("amount", ["0", "-5", "-0", "NaN"])
def test_an_amount_is_a_number_above_zero(world: World, amount: str) -> None:
    refused(payload(world, transfers=[transfer(world, amount=amount)]), "check constraint")


@pytest.mark.parametrize("amount", ["Infinity", "1e30", "five", ""])
def test_an_amount_that_no_column_can_hold_is_refused(world: World, amount: str) -> None:
    refused(payload(world, transfers=[transfer(world, amount=amount)]), "overflow|infinite|invalid input syntax")


def test_more_decimals_than_the_commodity_has_are_refused_not_rounded(world: World) -> None:
    Commodity.objects.create(code="JPY", kind="CURRENCY", scale=0)
    yen = {
        "commodity": "JPY",
        "debit": str(ledger_account(world.account, "CASH", "JPY").pk),
        "credit": str(ledger_account(world.account, "CAPITAL", "JPY").pk),
    }
    refused(payload(world, transfers=[transfer(world, **yen, amount="1.5")]), "more decimals")
    refused(payload(world, transfers=[transfer(world, amount="0.0000000000001")]), "more decimals")
    assert knock(payload(world, transfers=[transfer(world, **yen, amount="2")]))


def test_a_transfer_from_an_account_to_itself_is_refused(world: World) -> None:
    cash = str(ledger_account(world.account, "CASH", "USD").pk)
    refused(payload(world, transfers=[transfer(world, credit=cash)]), "two_sides")


def unbooked(fill: Fill) -> int:
    """The number of another fill like it that no entry has booked."""
    again = Fill.objects.get(pk=fill.pk)
    again.pk, again.external_id = None, f"{fill.external_id} again {Fill.objects.count()}"
    again.save(force_insert=True)
    return int(again.pk)


def test_a_fill_is_booked_once_under_whatever_key(world: World) -> None:
    refused(payload(world, kind="FILL", fill_id=world.fill.pk, cash_event_id=None), "booked already")
    restated = payload(world, key="restated:x", kind="FILL", fill_id=world.fill.pk, cash_event_id=None)
    refused(restated, "restates a profit and moves something else")


def closing(world: World, *quantities: str, lot: int | None = None) -> dict[str, Any]:
    """An entry that closes parts of the lot."""
    return {
        "kind": "FILL",
        "fill_id": unbooked(world.fill),
        "cash_event_id": None,
        "lot_closes": [
            {"lot_id": str(lot or world.lot.pk), "quantity": q, "unit_price": "1.2", "profit_quote": "0"}
            for q in quantities
        ],
    }


def test_no_more_of_a_lot_is_closed_than_it_holds(world: World) -> None:
    refused(payload(world, **closing(world, "1000.000000000001")), "more of lot")
    assert knock(payload(world, **closing(world, "600")))
    refused(payload(world, key="again", **closing(world, "400.5")), "more of lot")
    assert knock(payload(world, key="rest", **closing(world, "400")))
    refused(payload(world, key="empty", **closing(world, "0.000000000001")), "more of lot")


def test_a_lot_of_another_account_is_never_closed(world: World) -> None:
    body = payload(world, **closing(world, "10"))
    body["account_id"] = world.other.pk
    body["transfers"] = [
        transfer(
            world,
            debit=str(ledger_account(world.other, "CASH", "USD").pk),
            credit=str(ledger_account(world.other, "CAPITAL", "USD").pk),
        )
    ]
    refused(body, "more of lot|another account")


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN"])
def test_lots_have_units_above_zero(world: World, quantity: str) -> None:
    lot = {"instrument_id": str(making.instrument().pk), "side": "1", "quantity": quantity, "unit_cost": "1"}
    opened = payload(world, kind="FILL", fill_id=unbooked(world.fill), cash_event_id=None, lots=[lot])
    refused(opened, "check constraint")
    refused(payload(world, **closing(world, quantity)), "check constraint")


def test_a_lot_with_more_decimals_than_are_stored_is_refused_not_rounded(world: World) -> None:
    lot = {"instrument_id": str(making.instrument().pk), "side": "1", "quantity": "1", "unit_cost": "1.0000000000001"}
    refused(payload(world, kind="FILL", fill_id=unbooked(world.fill), cash_event_id=None, lots=[lot]), "more decimals")
    refused(payload(world, **closing(world, "1.0000000000001")), "more decimals")


@pytest.mark.parametrize(
    "kind", ["FILL", "EXTERNAL_FILL", "ADOPTION", "ESTIMATE", "TRANSFER", "FINANCING", "DIVIDEND", "FEE", "ADJUSTMENT"]
)
def test_an_entry_without_what_happened_is_refused(world: World, kind: str) -> None:
    refused(payload(world, kind=kind, cash_event_id=None), "names nothing that happened|needs_an_application")


@pytest.mark.parametrize("kind", ["EXTERNAL_FILL", "ADOPTION", "ESTIMATE", "ADJUSTMENT", "REVERSAL"])
def test_a_correction_without_an_approved_application_is_refused(world: World, kind: str) -> None:
    refused(payload(world, kind=kind, fill_id=world.fill.pk), "check constraint|names nothing that happened")


def test_an_unknown_kind_is_refused(world: World) -> None:
    refused(payload(world, kind="GIFT"), "names nothing that happened")


@pytest.mark.parametrize("what", ["fill", "cash event"])
def test_what_happened_on_another_account_is_not_booked_here(world: World, what: str) -> None:
    changes: dict[str, Any] = {"account_id": world.other.pk}
    if what == "fill":
        changes |= {"kind": "FILL", "fill_id": world.fill.pk, "cash_event_id": None}
    own = {
        "debit": str(ledger_account(world.other, "CASH", "USD").pk),
        "credit": str(ledger_account(world.other, "CAPITAL", "USD").pk),
    }
    refused(payload(world, **changes, transfers=[transfer(world, **own)]), "another account")


def test_lots_open_and_close_only_by_a_fill(world: World) -> None:
    lot = {"instrument_id": str(making.instrument().pk), "side": "1", "quantity": "1", "unit_cost": "1"}
    refused(payload(world, lots=[lot]), "without a fill")
    refused(payload(world, lot_closes=closing(world, "1")["lot_closes"]), "without a fill")


@pytest.mark.parametrize("model", BOOKS)
@pytest.mark.scenario("S-79")
def test_the_application_login_cannot_insert_into_the_books(world: World, model: Any) -> None:
    row = model._base_manager.first() or LotClose(entry=Entry.objects.first(), lot=world.lot, **CLOSE)
    row.pk = None
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        model._base_manager.bulk_create([row])
    row.pk = None
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        row.save(force_insert=True)
    table = model._meta.db_table
    for statement in (f"INSERT INTO {table} DEFAULT VALUES", f"COPY {table} FROM STDIN"):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


CLOSE = {"quantity": 1, "unit_price": 1, "profit_quote": 0, "closed_at": timezone.now()}


@pytest.mark.parametrize("table", ["ledgeraccount", "commodity"])
def test_the_chart_of_accounts_never_changes_under_what_was_posted(world: World, table: str) -> None:
    before = books.cash_balances(world.account)
    for statement in (
        "UPDATE trading_ledgeraccount SET kind = 'FEE' WHERE kind = 'CASH'",
        f"UPDATE trading_ledgeraccount SET account_id = {world.other.pk}",
        "DELETE FROM trading_ledgeraccount",
        "UPDATE trading_commodity SET scale = 0",
        "DELETE FROM trading_commodity",
    ):
        if table in statement:
            with (
                pytest.raises(DatabaseError, match=r"append-only|permission denied"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)
    with pytest.raises(DatabaseError), transaction.atomic():
        LedgerAccount.objects.filter(kind="CASH").update(kind="FEE")
    assert books.cash_balances(world.account) == before == {"USD": Decimal(5000)}


def test_the_service_says_in_a_sentence_what_the_door_refused(world: World) -> None:
    draft = Draft(account=world.account, key="a-key", kind="FEE", at=making.START, cash_event=world.deposit)
    with pytest.raises(RuleBroken, match=r"The books refuse this entry: .* has no transfer\. Nothing was posted"):
        post(draft)
    draft.move(commodity="USD", amount=Decimal("1e30"), into="CASH", out_of="FEE")
    with pytest.raises(RuleBroken, match="The books refuse this entry"):
        post(draft)


def test_a_draft_moves_negative_amounts_the_other_way_and_leaves_zero_out(world: World) -> None:
    draft = Draft(account=world.account, key="a-key", kind="FEE", at=making.START, cash_event=world.deposit)
    draft.move(commodity="USD", amount=Decimal("-2.5"), into="CASH", out_of="FEE")
    draft.move(commodity="USD", amount=Decimal(0), into="CASH", out_of="FEE")
    entry = post(draft)
    (row,) = Transfer.objects.filter(entry=entry)
    assert (row.debit.kind, row.credit.kind, plain(row.amount)) == ("FEE", "CASH", "2.5")


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), 1.5, Decimal("0.0000000000001")])
def test_the_orm_stores_no_number_inexactly(world: World, value: Any) -> None:
    with pytest.raises(ValueError, match=r"never a float|cannot be stored exactly"):
        CashEvent.objects.create(
            account=world.account, external_id="x", kind="FEE", currency="USD", amount=value, at=making.START
        )


def test_raw_sql_stores_no_nan(world: World) -> None:
    with pytest.raises(DatabaseError, match="check constraint"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE trading_order SET quantity = 'NaN'")

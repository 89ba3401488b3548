"""Rebuild: whatever became of the projections, the facts give them back, column by column, row by row."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import models, transaction
from hypothesis import HealthCheck, Phase, given, settings

from tests.trading.services import making
from tests.trading.services.histories import History, histories, tell
from trading.models import (
    Account,
    AuditEvent,
    BalanceSnapshot,
    DayState,
    Entry,
    EquityPoint,
    Instrument,
    OrderGroup,
    Position,
    Trade,
    User,
)
from trading.selectors import balances
from trading.services import excursions, projections, reversals
from trading.services.rebuild import KEYS, rebuild
from trading.services.snapshots import take_snapshots

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> Account:
    """An account with everything: deposits, closed and open trades, two instruments, marks, an external fill."""
    account = making.make_account()
    making.receive(account, making.cash_of(1, "TRANSFER", "1000"))
    for number, (symbol, price) in enumerate((("EURUSD", "1.1"), ("XAUUSD", "2000")), 1):
        stop, target = D(price) * D("0.9"), D(price) * D("1.2")
        entry = making.make_entry(
            account, number, symbol=symbol, quantity="1000", entry=price, stop=f"{stop:f}", target=f"{target:f}"
        )
        making.receive(account, making.fill_of(10 * number, entry, "1000", price, commission="-0.5"))
        assert entry.decision is not None
        excursions.keep_extremes(
            account=account, decision=entry.decision, prices=[D(price) * D("0.95"), D(price) * D("1.05")],
            at=making.moment(10 * number + 1), source="a test",
        )  # fmt: skip
        if number != 2:
            leave = making.make_exit(account, entry, quantity="1000", number=number)
            making.receive(account, making.fill_of(10 * number + 2, leave, "1000", price, realised="33.33"))
    making.receive(account, making.cash_of(90, "FINANCING", "-3"))
    return account


def rows(*, with_numbers: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Every column of every projection but the time of writing, in the order of their keys."""
    found = {}
    for model, key in KEYS.items():
        stored = model._default_manager.order_by("account", key).values()
        left_out = {"updated_at"} | (set() if with_numbers else {"id"})
        found[model.__name__] = [{name: row[name] for name in row if name not in left_out} for row in stored]
    return found


def other_value(model: type[models.Model], field: models.Field[Any, Any], row: models.Model) -> Any:
    """A value that the column does not have now and may have."""
    if field.name == "account":
        return making.make_account("another").pk
    if field.name == "instrument":
        return Instrument.objects.exclude(pk__in=Position.objects.values("instrument")).earliest("pk").pk
    if field.name == "decision":
        return making.make_entry(row.account, 77).decision_id  # type: ignore[attr-defined]
    stands = getattr(row, field.attname)
    if isinstance(field, models.DateTimeField | models.DateField):
        return (stands or making.START) + timedelta(days=300)
    if isinstance(field, models.CharField):
        return {"BUY": "SELL", "OPEN": "CLOSED", "CLOSED": "OPEN"}.get(stands, f"{stands}x")
    return (stands or 0) + 1


def test_every_column_of_a_row_is_made_right_again(account: Account) -> None:
    """Columns that are not the row's key, all of them, table by table: the row stays, with its number."""
    stood = rows()
    for model, key in KEYS.items():
        row = model._default_manager.order_by(key).first()
        assert row is not None
        wrong = {
            field.attname: other_value(model, field, row)
            for field in model._meta.concrete_fields
            if not field.primary_key and field.attname not in (key, "account_id", "updated_at")
        }
        model._default_manager.filter(pk=row.pk).update(**wrong)
        found = rebuild(account, actor=making.TEST, check=True).differences
        assert {name for one in found if one.how == "changed" for name, _, _ in one.fields} >= set(wrong)
        assert rows() != stood, "a check changes nothing"
        assert rebuild(account, actor=making.TEST).differences == found
        assert rows() == stood


def test_a_row_under_another_key_or_account_goes_and_its_own_comes_back(account: Account) -> None:
    stood, another = rows(with_numbers=False), making.make_account("another")
    for model, key in KEYS.items():
        for column in (key, "account_id"):
            row = model._default_manager.order_by(key).first()
            assert row is not None
            field = next(field for field in model._meta.concrete_fields if field.attname == column)
            model._default_manager.filter(pk=row.pk).update(**{column: other_value(model, field, row)})
            both = [*rebuild(account, actor=making.TEST).differences, *rebuild(another, actor=making.TEST).differences]
            told = sorted(one.how for one in both if one.table == model._meta.verbose_name)
            assert told == ["missing", "surplus"], f"{model.__name__}.{column}"
            assert rows(with_numbers=False) == stood


def test_everything_gone_wrong_at_once_is_as_if_the_tables_had_been_emptied(account: Account) -> None:
    stood = rows(with_numbers=False)
    for model in KEYS:
        model._default_manager.all().delete()
    emptied = rebuild(account, actor=making.TEST)
    assert rows(with_numbers=False) == stood
    assert {one.how for one in emptied.differences} == {"missing"} and not sum(emptied.equal.values())
    numbered = rows()
    Trade.objects.update(pnl=9, r=9, mfe_r=None, state="OPEN", closed_at=None, trading_day=None, strategy="x")
    Trade.objects.filter(pk=Trade.objects.earliest("pk").pk).delete()
    Position.objects.update(quantity=5, external_quantity=7, average_price=None)
    Position.objects.create(account=account, instrument=Instrument.objects.get(symbol="USDJPY"), quantity=3)
    DayState.objects.all().delete()
    DayState.objects.create(account=account, trading_day=making.START.date() + timedelta(days=9), trades=4)
    EquityPoint.objects.filter(pk__gt=EquityPoint.objects.earliest("pk").pk).delete()
    EquityPoint.objects.create(account=account, at=making.START, balance=1, equity=1)
    result = rebuild(account, actor=making.TEST)
    assert rows(with_numbers=False) == stood
    kept = {row["id"] for row in numbered["Trade"][1:]}
    assert kept < {row["id"] for row in rows()["Trade"]}, "rows that stay keep their numbers"
    told = {(one.table, one.how) for one in result.differences}
    assert told == {
        ("trade", "changed"), ("trade", "missing"), ("position", "changed"), ("position", "surplus"),
        ("day state", "missing"), ("day state", "surplus"), ("equity point", "missing"), ("equity point", "surplus"),
    }  # fmt: skip


def test_it_touches_nothing_else_and_is_on_the_record(account: Account) -> None:
    OrderGroup.objects.update(state=OrderGroup.State.UNSAFE)
    take_snapshots()
    BalanceSnapshot.objects.update(balance=1)
    other = making.make_account("other")
    making.receive(other, making.cash_of(1, "TRANSFER", "5"))
    EquityPoint.objects.filter(account=other).update(balance=4)
    result = rebuild(account, actor=making.TEST)
    assert not result.differences and result.equal["trade"] == 2 and result.equal["position"] == 2
    assert set(OrderGroup.objects.values_list("state", flat=True)) == {"UNSAFE"}
    assert EquityPoint.objects.get(account=other).balance == 4
    assert result.snapshots == BalanceSnapshot.objects.count() > 0
    assert balances.balances(account=account) == balances.full_balances(account=account)
    event = AuditEvent.objects.get(kind="projections.rebuilt")
    assert (event.account, event.after["difference"], event.after["rows"]["trade"]) == (account, 0, 2)


def test_a_failure_in_the_middle_leaves_what_stood(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    Trade.objects.update(pnl=9)
    wrong = rows()

    def fail(*_: Any) -> None:
        raise ArithmeticError("in the middle")

    monkeypatch.setattr(projections, "project_equity", fail)
    with pytest.raises(ArithmeticError):
        rebuild(account, actor=making.TEST)
    assert rows() == wrong and not AuditEvent.objects.filter(kind="projections.rebuilt").exists()


def test_progress_goes_up_to_its_end(account: Account) -> None:
    told: list[tuple[int, int]] = []
    rebuild(account, actor=making.TEST, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1][0] == told[-1][1] and len(told) == told[-1][1] > 5


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories())
@pytest.mark.scenario("S-80")
def test_what_stands_after_any_history_is_what_a_rebuild_makes(history: History) -> None:
    with transaction.atomic():
        account = making.make_account()
        making.receive(account, *tell(account, history))
        assert not rebuild(account, actor=making.TEST, check=True).differences
        stood = rows(with_numbers=False)
        for model in KEYS:
            model._default_manager.all().delete()
        rebuild(account, actor=making.TEST)
        assert rows(with_numbers=False) == stood
        transaction.set_rollback(True)


def test_what_was_taken_back_is_no_trade_and_others_stay(account: Account) -> None:
    """A person takes the only entry fill of a trade back: its trade goes, with its points, in a rebuild as at once."""
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    for person, group in ((ada, "operator"), (bob, "approver")):
        person.groups.add(Group.objects.get(name=group))
    (open_trade,) = Trade.objects.filter(state="OPEN")
    (booked,) = Entry.objects.filter(fill__order__decision=open_trade.decision)
    proposal = reversals.propose(entry_id=booked.pk, reason="it never happened", proposer=ada, actor=making.TEST)
    reversals.decide(
        proposal_id=proposal.pk, person=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        actor=making.TEST,
    )  # fmt: skip
    reversals.apply(proposal_id=proposal.pk, actor=making.TEST, applied_by=bob)
    assert not Trade.objects.filter(pk=open_trade.pk).exists() and Trade.objects.count() == 1
    assert not rebuild(account, actor=making.TEST, check=True).differences
    Trade.objects.filter(decision=open_trade.decision).delete()
    Trade.objects.create(**{**_columns(open_trade), "state": "OPEN"})
    (surplus,) = [one for one in rebuild(account, actor=making.TEST).differences if one.table == "trade"]
    assert surplus.how == "surplus" and Trade.objects.count() == 1


def _columns(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}

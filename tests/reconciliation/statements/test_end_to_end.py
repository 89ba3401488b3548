"""A statement of the simulator's OANDA, imported end to end: a real file, a real database, the standing cases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from reconciliation.engine import statements
from reconciliation.engine.statements import Outcome, import_file, look_again, run_statement
from reconciliation.models import Discrepancy, Run, Statement, StatementLine
from reconciliation.statements.document import BadStatement
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from tests.reconciliation.statements.files import Rows, oanda_json, oanda_rows, save, written
from trading.clock import now, store_broker_clock
from trading.models import AuditEvent, Fill


@pytest.fixture
def traded(desk: Desk, people: People) -> Desk:
    """Three executions by somebody else that two people have booked, and one payment."""
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.external("trade", instrument=EURUSD, quantity="2000", price="1.1")
    desk.external("trade", instrument=EURUSD, quantity="-1000", price="1.1")
    desk.external("transfer", amount="250")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN"), "book_fills", people)
    desk.reconcile()
    assert desk.agrees() and Fill.objects.count() == 3
    return desk


def imported(desk: Desk, tmp_path: Path, change: Callable[[Rows], Rows] = list, name: str = "a.json") -> Outcome:
    """The account's history, after a change, imported."""
    path = save(tmp_path / name, oanda_json(desk.simulator, change))
    return import_file(account=desk.account, path=path, actor=TEST)


def statement_cases() -> list[tuple[str, str]]:
    """Kind and key of the cases that statements told of and that stand."""
    rows = Discrepancy.objects.filter(state__in=Discrepancy.LIVE).order_by("kind", "key")
    return [(row.kind, row.key) for row in rows]


def fills(rows: Rows) -> Rows:
    """The executions among transactions."""
    return [row for row in rows if row["type"] == "ORDER_FILL"]


def test_a_clean_statement_is_stored_whole_and_opens_no_case(traded: Desk, tmp_path: Path) -> None:
    outcome = imported(traded, tmp_path)
    row = Statement.objects.get()
    assert outcome.result.findings is not None and outcome.result.findings.findings == ()
    assert (row.kind, row.format, row.closing, row.opening) == ("CASH", "oanda-json", 100250, 0)
    assert row.lines.count() == row.line_count == 5
    run = Run.objects.get(pk=outcome.result.run_id)
    assert (run.trigger, run.status, run.statement_id) == ("STATEMENT", "COMPLETE", row.pk)
    assert all(line["holds"] and line["unexplained"] == "0" for line in run.proof.values()), run.proof
    assert run.counts["linked"] == 5
    assert AuditEvent.objects.filter(kind="statement.imported", object_id=str(row.pk)).count() == 1


def test_the_same_file_again_stores_nothing_and_says_so(traded: Desk, tmp_path: Path) -> None:
    first, again = imported(traded, tmp_path), imported(traded, tmp_path, name="copy.json")
    assert (first.imported.is_new, again.imported.is_new) == (True, False)
    assert again.imported.statement == first.imported.statement
    assert (Statement.objects.count(), StatementLine.objects.count()) == (1, 5)
    assert AuditEvent.objects.filter(kind="statement.imported").count() == 1


def test_a_fill_that_only_the_statement_has_is_one_case(traded: Desk, tmp_path: Path) -> None:
    def more(rows: Rows) -> Rows:
        last = fills(rows)[-1]
        balance = rows[-1]["accountBalance"]
        added = {**last, "id": str(int(rows[-1]["id"]) + 1), "units": "700", "pl": "0", "accountBalance": balance}
        return [*rows, added | {"time": rows[-1]["time"]}]

    imported(traded, tmp_path, more)
    case = Discrepancy.objects.get(state__in=Discrepancy.LIVE)
    assert (case.kind, case.difference, case.books_value) == ("MISSING_FILL", 700, 0)
    assert case.key == f"fill:{int(oanda_rows(traded.simulator)[-1]['id']) + 1}"
    assert case.instrument is not None and case.instrument.symbol == "EURUSD"
    assert "a.json" in case.cause and case.evidence["evidence"]["theirs"]["quantity"] == "700"
    assert case.evidence["actions"] == ["accept"]


def test_a_fill_that_only_our_books_have_is_one_case(traded: Desk, tmp_path: Path) -> None:
    gone = fills(oanda_rows(traded.simulator))[1]["id"]
    imported(traded, tmp_path, lambda rows: [row for row in rows if row["id"] != gone])
    case = Discrepancy.objects.get(state__in=Discrepancy.LIVE)
    assert (case.kind, case.key, case.difference) == ("EXTRA_FILL", f"fill:{gone}", -2000)


def test_a_fill_at_another_price_is_one_case_under_the_events_own_name(traded: Desk, tmp_path: Path) -> None:
    other = fills(oanda_rows(traded.simulator))[0]["id"]
    imported(
        traded, tmp_path, lambda rows: [row | ({"price": "1.10010"} if row["id"] == other else {}) for row in rows]
    )
    case = Discrepancy.objects.get(state__in=Discrepancy.LIVE)
    assert (case.kind, case.key) == ("FILL_MISMATCH", f"event:{other}")
    assert "at 1.1001 on" in case.cause and "at 1.1 on" in case.cause


def test_cash_that_our_books_do_not_have_is_one_case_of_its_kind(traded: Desk, tmp_path: Path) -> None:
    def paid(rows: Rows) -> Rows:
        last = rows[-1]
        after = str(float(last["accountBalance"]) - 3)
        added = {
            "id": str(int(last["id"]) + 1), "accountID": last["accountID"], "time": last["time"], "amount": "-3",
            "type": "TRANSFER_FUNDS", "accountBalance": after,
        }  # fmt: skip
        return [*rows, added]

    imported(traded, tmp_path, paid)
    assert [kind for kind, _ in statement_cases()] == ["TRANSFER_NOT_BOOKED"], "and the balance is explained by it"


def test_a_run_at_the_broker_leaves_a_statements_case_alone_and_a_corrected_statement_ends_it(
    traded: Desk, tmp_path: Path
) -> None:
    gone = fills(oanda_rows(traded.simulator))[1]["id"]
    first = imported(traded, tmp_path, lambda rows: [row for row in rows if row["id"] != gone])
    traded.reconcile()
    assert statement_cases() == [("EXTRA_FILL", f"fill:{gone}")]
    outcome = imported(traded, tmp_path, name="corrected.json")
    assert outcome.imported.statement.replaces == first.imported.statement
    case = Discrepancy.objects.get(key=f"fill:{gone}")
    assert case.state in ("CLEARED", "CLOSED") and statement_cases() == []
    assert Statement.objects.count() == 2, "what was said first is kept"


def test_what_the_history_has_told_and_waits_for_people_is_told_of_once(desk: Desk, tmp_path: Path) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    outcome = imported(desk, tmp_path)
    assert statement_cases() == [("EXTERNAL_POSITION", "EURUSD")]
    assert outcome.result.findings is not None and "wait for a decision" in " ".join(outcome.result.findings.notes)


def test_a_case_from_a_live_run_stays_as_it_is_when_a_statement_says_the_same(desk: Desk, tmp_path: Path) -> None:
    desk.reconcile()
    desk.external("silent_position", instrument=EURUSD, quantity="1000")
    desk.reconcile()
    desk.reconcile()
    case = desk.case(kind="EXTERNAL_POSITION")
    day = case.first_seen_at.date()
    text = (
        f"# statement: POSITIONS\n# account: {desk.account.external_id}\n# currency: USD\n# first_day: {day}\n"
        f"# last_day: {day}\ntime,instrument,side,quantity\n{day}T00:00:00Z,EUR_USD,buy,1000\n"
    )
    outcome = import_file(account=desk.account, path=save(tmp_path / "held.csv", text), actor=TEST)
    assert [(row.pk, row.version) for row in Discrepancy.objects.filter(kind="EXTERNAL_POSITION")] == [(case.pk, 1)]
    assert outcome.result.findings is not None
    assert f"is case {case.pk} already." in " ".join(outcome.result.findings.notes)


def test_a_fill_not_read_yet_is_a_case_that_goes_once_it_is_in_the_books(
    desk: Desk, people: People, tmp_path: Path
) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    imported(desk, tmp_path)
    (kind, key), *others = statement_cases()
    assert (kind, key[:5], others) == ("MISSING_FILL", "fill:", [])
    desk.reconcile()
    look_again(desk.account)
    assert statement_cases() == [("EXTERNAL_POSITION", "EURUSD")], "one difference is one case, whoever found it"
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN"), "book_fills", people)
    desk.reconcile()
    assert statement_cases() == [] and look_again(desk.account) == []


def generic(desk: Desk, first: str, last: str, *, opening: str = "", closing: str = "", kind: str = "CASH") -> str:
    """A statement of days long past on which nothing happened."""
    balances = f"# opening: {opening}\n# closing: {closing}\n" if opening else ""
    return (
        f"# statement: {kind}\n# account: {desk.account.external_id}\n# currency: USD\n# first_day: {first}\n"
        f"# last_day: {last}\n{balances}time,amount\n"
    )


def test_a_missing_day_is_one_case_that_the_missing_statement_ends(desk: Desk, tmp_path: Path) -> None:
    for number, (first, last) in enumerate([("2024-01-02", "2024-01-05"), ("2024-01-08", "2024-01-09")]):
        path = save(tmp_path / f"{number}.csv", generic(desk, first, last))
        import_file(account=desk.account, path=path, actor=TEST)
    assert statement_cases() == [], "a week-end without anything in our books is no gap"
    path = save(tmp_path / "late.csv", generic(desk, "2024-01-12", "2024-01-12"))
    import_file(account=desk.account, path=path, actor=TEST)
    assert statement_cases() == [("STATEMENT_GAP", "CASH:2024-01-10")]
    case = desk.case(kind="STATEMENT_GAP")
    assert (case.severity, case.state) == ("MEDIUM", "OPEN") and "2024-01-10 to 2024-01-11" in case.cause
    desk.reconcile()
    path = save(tmp_path / "missing.csv", generic(desk, "2024-01-10", "2024-01-11"))
    import_file(account=desk.account, path=path, actor=TEST)
    case.refresh_from_db()
    assert case.state == "CLEARED"


def test_a_balance_that_does_not_follow_is_a_gap(desk: Desk, tmp_path: Path) -> None:
    texts = [
        generic(desk, "2024-01-02", "2024-01-02", opening="0", closing="0"),
        generic(desk, "2024-01-03", "2024-01-03", opening="5", closing="5"),
    ]
    for number, text in enumerate(texts):
        import_file(account=desk.account, path=save(tmp_path / f"{number}.csv", text), actor=TEST)
    assert ("STATEMENT_GAP", "CASH:2024-01-03") in statement_cases()
    assert desk.case(kind="STATEMENT_GAP").difference == 5
    assert desk.case(kind="CASH_UNEXPLAINED").difference == 5, "and our books held nothing then"


def test_a_gap_gets_graver_as_it_grows_older(desk: Desk, tmp_path: Path) -> None:
    for number, day in enumerate(("2024-01-02", "2024-01-04")):
        path = save(tmp_path / f"{number}.csv", generic(desk, day, day))
        import_file(account=desk.account, path=path, actor=TEST)
    assert look_again(desk.account) == [], "nothing has changed"
    store_broker_clock(account=desk.account, broker_at=now(desk.account) + timedelta(hours=2), speed=Decimal(1))
    assert len(look_again(desk.account)) == 1
    assert desk.case(kind="STATEMENT_GAP").severity == "HIGH"


def paid_less(rows: Rows) -> Rows:
    """The last payment, changed by somebody."""
    return [*rows[:-1], rows[-1] | {"amount": "240"}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: [row | {"accountID": "101-001-9999999-001"} for row in rows], "account '101-001-9999999-001'"),
        (paid_less, "a row is missing or was changed"),
        (lambda rows: [*rows, rows[-1]], "does not follow"),
        (lambda rows: [row | {"time": "2099-01-01T00:00:00Z"} for row in rows], "still to come"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_nothing(
    desk: Desk, tmp_path: Path, change: Callable[[Rows], Rows], says: str
) -> None:
    desk.external("transfer", amount="250")
    with pytest.raises(BadStatement, match=says):
        imported(desk, tmp_path, change)
    assert not Statement.objects.exists() and not Run.objects.exists()


def test_the_same_history_as_csv_says_the_same(traded: Desk, tmp_path: Path) -> None:
    rows = oanda_rows(traded.simulator)
    columns = ["id", "time", "type", "accountID", "accountBalance", "instrument", "units", "price", "pl", "financing",
               "commission", "guaranteedExecutionFee", "amount", "orderID", "homeCurrency"]  # fmt: skip
    outcome = import_file(account=traded.account, path=save(tmp_path / "a.csv", written(rows, columns)), actor=TEST)
    assert outcome.imported.statement.format == "oanda-csv"
    assert outcome.result.findings is not None and outcome.result.findings.findings == ()
    assert outcome.result.findings.linked == 5


def test_statements_of_value_follow_one_another(desk: Desk, tmp_path: Path) -> None:
    desk.reconcile()
    text = generic(desk, "2024-01-02", "2024-01-02", opening="5", closing="0", kind="NAV") + "2024-01-02,-5\n"
    outcome = import_file(account=desk.account, path=save(tmp_path / "nav.csv", text), actor=TEST)
    assert outcome.imported.statement.opening == 5 and statement_cases() == []
    text = generic(desk, "2024-01-03", "2024-01-03", opening="8", closing="0", kind="NAV")
    import_file(account=desk.account, path=save(tmp_path / "next.csv", text), actor=TEST)
    assert statement_cases() == [("STATEMENT_GAP", "NAV:2024-01-03")]


def value(desk: Desk, closing: str) -> str:
    """A statement of the account's value at this moment."""
    at = now(desk.account)
    notes = generic(desk, str(at.date()), str(at.date()), opening="0", closing=closing, kind="NAV")
    return f"{notes}{at.isoformat()},{closing}\n"


def test_the_value_of_an_account_that_holds_nothing_is_its_cash(desk: Desk, tmp_path: Path) -> None:
    desk.reconcile()
    import_file(account=desk.account, path=save(tmp_path / "good.csv", value(desk, "100000")), actor=TEST)
    assert statement_cases() == []
    import_file(account=desk.account, path=save(tmp_path / "bad.csv", value(desk, "99990.5")), actor=TEST)
    assert statement_cases() == [("CASH_UNEXPLAINED", f"statement:NAV:{now(desk.account).date()}:USD")]
    assert Discrepancy.objects.get(kind="CASH_UNEXPLAINED").difference == Decimal("-9.5")


def test_the_value_of_positions_is_the_brokers_prices_and_not_compared(traded: Desk, tmp_path: Path) -> None:
    path = save(tmp_path / "nav.csv", value(traded, "123456"))
    outcome = import_file(account=traded.account, path=path, actor=TEST)
    assert statement_cases() == [] and outcome.result.findings is not None
    (note,) = outcome.result.findings.notes
    assert "held EURUSD at its end" in note


def test_positions_at_the_end_of_a_day_are_compared_by_their_net(traded: Desk, tmp_path: Path) -> None:
    day = now(traded.account).date()
    notes = generic(traded, str(day), str(day), kind="POSITIONS").replace(
        "time,amount", "time,instrument,side,quantity"
    )
    at = now(traded.account).isoformat()
    good = save(tmp_path / "good.csv", f"{notes}{at},EURUSD,long,2000\n")
    assert import_file(account=traded.account, path=good, actor=TEST).result.ok and statement_cases() == []
    import_file(account=traded.account, path=save(tmp_path / "bad.csv", f"{notes}{at},EURUSD,long,1500\n"), actor=TEST)
    assert statement_cases() == [("QUANTITY_MISMATCH", f"statement:POSITIONS:{day}:EURUSD")]
    assert traded.case(kind="QUANTITY_MISMATCH").difference == -500


def test_a_statements_difference_is_a_case_beside_the_one_of_a_look_unless_it_is_the_same(
    desk: Desk, people: People, tmp_path: Path
) -> None:
    desk.reconcile()
    desk.external("silent_cash", currency="USD", amount="7")
    desk.reconcile()
    desk.reconcile()
    look = desk.case(kind="CASH_UNEXPLAINED")
    import_file(account=desk.account, path=save(tmp_path / "same.csv", value(desk, "100007")), actor=TEST)
    assert [row.pk for row in Discrepancy.objects.all()] == [look.pk], "one difference is one case"
    desk.resolve(look, "accept", people)
    desk.reconcile()
    look.refresh_from_db()
    assert look.state == "CLOSED"
    import_file(account=desk.account, path=save(tmp_path / "other.csv", value(desk, "100090")), actor=TEST)
    (key,) = [key for _, key in statement_cases()]
    assert key.startswith("statement:NAV:") and Discrepancy.objects.get(key=key).difference == 90
    assert Discrepancy.objects.get(pk=look.pk).state == "CLOSED", "what was accepted of today stays accepted"


def test_balances_of_two_statements_are_two_cases(desk: Desk, tmp_path: Path) -> None:
    for day, closing in (("2024-01-02", "5"), ("2024-01-03", "5")):
        text = generic(desk, day, day, opening=closing, closing=closing)
        import_file(account=desk.account, path=save(tmp_path / f"{day}.csv", text), actor=TEST)
    assert statement_cases() == [("CASH_UNEXPLAINED", f"statement:CASH:2024-01-0{n}:USD") for n in (2, 3)]


def test_what_is_booked_after_its_days_does_not_have_a_statement_compared_again(desk: Desk, tmp_path: Path) -> None:
    desk.reconcile()
    text = generic(desk, "2024-01-02", "2024-01-02", opening="5", closing="5")
    import_file(account=desk.account, path=save(tmp_path / "a.csv", text), actor=TEST)
    assert [kind for kind, _ in statement_cases()] == ["CASH_UNEXPLAINED"]
    desk.external("transfer", amount="250")
    desk.reconcile()
    assert desk.agrees() and look_again(desk.account) == []


def test_a_decision_about_a_later_difference_is_no_part_of_an_earlier_closing_balance(
    desk: Desk, people: People, tmp_path: Path
) -> None:
    desk.reconcile()
    text = generic(desk, "2024-01-02", "2024-01-02", opening="0", closing="0")
    early = import_file(account=desk.account, path=save(tmp_path / "a.csv", text), actor=TEST)
    desk.external("silent_cash", currency="USD", amount="7")
    desk.reconcile()
    during = import_file(account=desk.account, path=save(tmp_path / "b.csv", value(desk, "100007")), actor=TEST)
    desk.reconcile()
    desk.resolve(desk.case(kind="CASH_UNEXPLAINED"), "adjust", people)
    desk.reconcile()
    assert desk.agrees()
    for outcome in (during, early):
        found = run_statement(outcome.imported.statement).findings
        assert found is not None and found.findings == (), outcome.imported.statement.file_name


def test_a_correction_that_comes_while_a_comparison_waits_is_what_is_compared(
    traded: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = fills(oanda_rows(traded.simulator))[1]["id"]
    first = imported(traded, tmp_path, lambda rows: [row for row in rows if row["id"] != gone]).imported.statement
    record = statements._record

    def corrected_first(*seen: Any) -> Any:
        monkeypatch.setattr(statements, "_record", record)
        imported(traded, tmp_path, name="corrected.json")
        return record(*seen)

    monkeypatch.setattr(statements, "_record", corrected_first)
    result = statements.run_statement(first)
    assert result.findings is not None and result.findings.findings == () and statement_cases() == []

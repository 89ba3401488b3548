"""Readers of statements: what is written is read back, and what is broken is refused with its place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.statements import formats, text
from reconciliation.statements.document import About, BadStatement, Document, Line
from tests.reconciliation.statements.files import KITE_COLUMNS, written

D = Decimal
ABOUT = About("A1", "USD", ZoneInfo("America/New_York"))
INDIAN = About("ZX1234", "INR", ZoneInfo("Asia/Kolkata"))
DAY = date(2026, 1, 5)
NOTES = "# statement: {kind}\n# account: A1\n# currency: USD\n# first_day: 2026-01-05\n# last_day: 2026-01-09\n"
COLUMNS = ["id", "order", "time", "instrument", "side", "product", "quantity", "price", "amount", "currency"]
HEADER = ",".join(COLUMNS) + "\n"
GOOD = "1,o1,2026-01-05T10:00:00Z,EURUSD,buy,,100,1.1,0,USD\n"


def read(body: str | bytes, about: About = ABOUT, named: str = "") -> Document:
    """The document of a file."""
    return formats.read_bytes(body.encode() if isinstance(body, str) else body, about, named)


def trades(rows: str, kind: str = "TRADES", header: str = HEADER) -> str:
    """A file of our own format."""
    return NOTES.format(kind=kind) + header + rows


numbers = st.decimals(min_value=D("0.000000000001"), max_value=D(10) ** 25, places=12, allow_nan=False)
names = st.text(st.characters(whitelist_categories=("Lu", "Nd"), max_codepoint=0x2FF), min_size=1, max_size=12)
moments = st.integers(0, 5 * 86_400 - 1).map(
    lambda second: datetime(2026, 1, 5, 5, tzinfo=UTC) + timedelta(seconds=second)
)
executions = st.builds(
    lambda at, symbol, side, quantity, price, amount: (at, symbol, side, quantity, price, amount),
    moments, names, st.sampled_from(["buy", "sell"]), numbers, numbers, st.none() | numbers,
)  # fmt: skip


@given(st.lists(executions, max_size=20), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]),
       st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))  # fmt: skip
def test_what_is_written_is_read_back_whatever_wrote_it(
    rows: list[tuple[datetime, str, str, Decimal, Decimal, Decimal | None]], delimiter: str, end: str, encoding: str
) -> None:
    cells = [
        {
            "id": f"i{number}", "order": "", "time": at.isoformat(), "instrument": symbol, "side": side, "product": "",
            "quantity": f"{quantity:f}", "price": f"{price:f}", "amount": "" if amount is None else f"{amount:f}",
            "currency": "USD",
        }
        for number, (at, symbol, side, quantity, price, amount) in enumerate(rows)
    ]  # fmt: skip
    body = (NOTES.format(kind="TRADES") + written(cells, COLUMNS).replace(",", delimiter)).replace("\n", end)
    found = read(body.encode(encoding))
    assert [
        (line.at, line.instrument, line.side.lower(), line.quantity, line.price, line.amount) for line in found.lines
    ] == rows
    assert all(line.day == line.at.astimezone(ABOUT.zone).date() for line in found.lines)
    assert [line.number for line in found.lines] == list(range(7, 7 + len(rows)))


def test_the_period_is_whole_days_of_the_accounts_zone() -> None:
    found = read(trades(GOOD))
    assert (found.first_day, found.last_day) == (DAY, date(2026, 1, 9))
    assert found.covers_from == datetime(2026, 1, 5, 5, tzinfo=UTC)
    assert found.covers_until == datetime(2026, 1, 10, 5, tzinfo=UTC) - timedelta(microseconds=1)


def test_a_time_without_a_zone_is_the_accounts_and_quoted_line_breaks_keep_the_count() -> None:
    rows = '1,,2026-01-05T10:00:00,EURUSD,buy,,1,1.1,0,USD\n2,,2026-01-05,"",,,,,"5",USD\n'
    found = read(trades(rows, "CASH"))
    assert found.lines[0].at == datetime(2026, 1, 5, 15, tzinfo=UTC)
    assert (found.lines[1].amount, found.lines[1].side, found.lines[1].day) == (5, "", DAY)
    with pytest.raises(BadStatement, match=r"Line 7, column instrument: it holds a line break"):
        read(trades('1,,2026-01-05,"EUR\nUSD",buy,,1,1.1,0,USD\n' + GOOD))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,NaN,1.1,0,USD\n", r"Line 7, column quantity: 'NaN' is not a plain"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,1e5,1.1,0,USD\n", r"column quantity: '1e5' is not a plain"),
        ('1,,2026-01-05T10:00:00Z,EURUSD,buy,,"1,5",1.1,0,USD\n', r"column quantity: .*Write decimals with a point"),
        (f"1,,2026-01-05T10:00:00Z,EURUSD,buy,,{'9' * 40},1.1,0,USD\n", r"column quantity: .* more digits"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,0.0000000000001,1.1,0,USD\n", r"column quantity: .* more digits"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,-1,1.1,0,USD\n", r"column quantity: -1 is not above zero"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,hold,,1,1.1,0,USD\n", r"column side: 'hold' is not buy or sell"),
        ("1,,05/01/2026,EURUSD,buy,,1,1.1,0,USD\n", r"column time: '05/01/2026' is not a time like"),
        ("1,,2026-01-11T10:00:00Z,EURUSD,buy,,1,1.1,0,USD\n", r"Line 7: 2026-01-11 is outside of the days"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,1,1.1,0,EUR\n", r"column currency: it is in 'EUR'"),
        ("1,,2026-01-05T10:00:00Z,,buy,,1,1.1,0,USD\n", r"column instrument: it is empty"),
        ("1,,2026-01-05T10:00:00Z,EURUSD,buy,,1,1.1,0\n", r"Line 7: it has 9 cells, and the header has 10"),
        ('=HYPERLINK("x"),,2026-01-05T10:00:00Z,EURUSD,buy,,1,1.1,0,USD\n', r"Line 7, column id: .* is a formula"),
        ("=1+1,,2026-01-05T10:00:00Z,EURUSD,buy,,1,1.1,0,USD\n", r"Line 7, column id: '=1\+1' is a formula"),
        ("@SUM,,2026-01-05T10:00:00Z,EURUSD,buy,,1,1.1,0,USD\n", r"column id: '@SUM' is a formula"),
        (GOOD + GOOD, r"Line 8: the id '1' was in line 7"),
        ('1,"o,2026\n', r"Line 7: the quotes or cells are broken"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_refused_with_its_place(rows: str, says: str) -> None:
    with pytest.raises(BadStatement, match=says):
        read(trades(rows))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "The file is empty"),
        (b"\xef\xbb\xbf \n", "The file is empty"),
        (trades(GOOD).encode()[:200] + b"\0" + trades(GOOD).encode()[200:], "Line 7: it holds the control character 0"),
        (trades("é".join([GOOD, ""])).encode("latin-1"), "Line 8: it is not UTF-8"),
        (trades(GOOD).replace("A1", "A2").encode(), "It is a statement of account 'A2', and this account is 'A1'"),
        (trades(GOOD).replace("# currency: USD", "# currency: EUR").encode(), "It is in 'EUR', and the account"),
        (trades(GOOD).replace("# account: A1\n", "").encode(), "The note '# account: …' is missing"),
        (trades(GOOD).replace("# account", "# acount").encode(), "Line 2: the note 'acount' is not known"),
        (trades(GOOD).replace("2026-01-09", "2026-01-04").encode(), "It begins on 2026-01-05 and ends before"),
        (trades(GOOD).replace("TRADES", "TALES").encode(), "column statement: 'TALES' is none of"),
        (trades(GOOD).replace(",price", ",pryce").encode(), "In the header the column 'pryce' is not known"),
        (trades(GOOD).replace(",price", ",quantity").encode(), "column 8 is there twice"),
        (b"a,b\n1,2\n", "It does not look like any known format"),
        (b'{"a": NaN}', "NaN, which is no number"),
        (b'[{"a": 1, "a": 2}]', "says 'a' twice"),
        (b'{"a": \n', "Line 2: it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"accountID": "\\u0000"}]', "character zero"),
        (b'[{"accountID": "\\ud800"}]', "half of a character"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(BadStatement, match=says):
        read(body)


def test_a_file_of_100_megabytes_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadStatement, match="104,857,600 bytes; at most 33,554,432"):
        read(b"x" * (100 * 1024 * 1024))
    monkeypatch.setattr(text, "MOST_ROWS", 1000)
    with pytest.raises(BadStatement, match="more than 1,000 rows"):
        read("# statement: TRADES\ntime\n" + "x\n" * 1001)


odd = st.text(max_size=80).map(lambda cell: trades(f"1,o,2026-01-05T10:00:00Z,{cell},buy,,1,1.1,0,USD\n"))


@given(st.binary(max_size=300) | (st.text(max_size=300) | odd).map(lambda body: body.encode(errors="replace")))
def test_whatever_a_file_holds_it_is_read_or_refused(body: bytes) -> None:
    try:
        found = read(body)
    except BadStatement as error:
        assert str(error)
    else:
        assert isinstance(found, Document)


def test_a_cash_statement_must_add_up() -> None:
    notes = NOTES.format(kind="CASH") + "# opening: 100\n# closing: {closing}\n"
    rows = "time,amount\n2026-01-05,-30.25\n2026-01-06,0.5\n"
    found = read(notes.format(closing="70.25") + rows)
    assert (found.opening, found.closing, len(found.lines)) == (100, D("70.25"), 2)
    with pytest.raises(BadStatement, match=r"opens with 100, its lines move -29.75, which makes 70.25, but it closes"):
        read(notes.format(closing="70.26") + rows)


TRADE = {
    "symbol": "INFY", "isin": "INE009A01021", "trade_date": "2026-01-05", "exchange": "NSE", "segment": "EQ",
    "series": "EQ", "trade_type": "buy", "auction": "false", "quantity": "10.000000", "price": "1500.100000",
    "trade_id": "7001", "order_id": "1300", "order_execution_time": "2026-01-05T09:30:01",
}  # fmt: skip
LEDGER = (
    "particulars,posting_date,cost_center,voucher_type,debit,credit,net_balance\n"
    "Opening Balance,,,,,,0.000000\n"
    "Funds added using UPI,2026-01-05,NSE-EQ - Z,Bank Receipts,0.000000,10000.000000,10000.000000\n"
    "Net settlement for Equity with settlement number: 2026001,2026-01-06,NSE-EQ - Z,Book Voucher,6000.500000,"
    "0.000000,3999.500000\n"
    "Closing Balance,,,,,,3999.500000\n"
)


def test_a_tradebook_names_its_trades_as_our_adapter_does() -> None:
    found = read(written([TRADE], KITE_COLUMNS), INDIAN)
    (line,) = found.lines
    assert (found.format, found.covers, found.first_day) == ("kite-tradebook", "TRADES", DAY)
    assert (line.external_id, line.instrument, line.side) == ("20260105:NSE:7001", "NSE:INFY", "BUY")
    assert (line.quantity, line.price, line.at) == (10, D("1500.1"), datetime(2026, 1, 5, 4, 0, 1, tzinfo=UTC))
    twice = written([TRADE, TRADE | {"exchange": "BSE"}, TRADE], KITE_COLUMNS)
    with pytest.raises(BadStatement, match="Line 4: the id '20260105:NSE:7001' was in line 2"):
        read(twice, INDIAN)
    with pytest.raises(BadStatement, match="is in 'INR', and the account is kept in USD"):
        read(written([TRADE], KITE_COLUMNS))


def test_a_ledger_follows_its_own_balance() -> None:
    found = read(LEDGER, INDIAN)
    assert (found.format, found.opening, found.closing) == ("kite-ledger", 0, D("3999.5"))
    assert [line.amount for line in found.lines] == [10000, D("-6000.5")]
    with pytest.raises(BadStatement, match="Line 4, column net_balance: it was 10000, this row moves -6000"):
        read(LEDGER.replace("6000.500000,0.0", "6000.000000,0.0"), INDIAN)
    with pytest.raises(BadStatement, match="it is not whole"):
        read(LEDGER.replace("Closing Balance,,,,,,3999.500000\n", ""), INDIAN)


def test_alpacas_activities_are_lines_where_they_move_units_or_cash() -> None:
    rows = [
        {"activity_type": "FILL", "id": "20260105100000000::a", "transaction_time": "2026-01-05T15:00:00.123Z",
         "side": "sell_short", "qty": "3", "price": "200.05", "symbol": "AAPL", "order_id": "o", "type": "fill"},
        {"activity_type": "DIV", "id": "20260106000000000::b", "date": "2026-01-06", "net_amount": "1.02",
         "symbol": "AAPL", "qty": "3", "status": "executed"},
        {"activity_type": "SSP", "id": "20260106000000000::c", "date": "2026-01-06", "qty": "3", "symbol": "AAPL"},
        {"activity_type": "FEE", "id": "20260106000000000::d", "date": "2026-01-06", "net_amount": "-1",
         "status": "canceled"},
    ]  # fmt: skip
    found = read(json.dumps(rows))
    fill, dividend = found.lines
    assert (fill.side, fill.quantity, fill.price, fill.amount, fill.order_id) == ("SELL", 3, D("200.05"), None, "o")
    assert (dividend.amount, dividend.side, dividend.day) == (D("1.02"), "", date(2026, 1, 6))
    same = read(written(rows))
    assert [_terms(line) for line in same.lines] == [_terms(line) for line in found.lines]


def _terms(line: Line) -> tuple[object, ...]:
    return line.external_id, line.at, line.side, line.quantity, line.price, line.amount


def test_the_days_that_a_person_names_count_where_the_file_says_none() -> None:
    named = About("ZX1234", "INR", ZoneInfo("Asia/Kolkata"), date(2026, 1, 1), date(2026, 1, 31))
    found = read(written([TRADE], KITE_COLUMNS), named)
    assert (found.first_day, found.last_day) == (date(2026, 1, 1), date(2026, 1, 31))
    with pytest.raises(BadStatement, match="It has no line, and does not say which days"):
        read(written([], KITE_COLUMNS), INDIAN)
    assert read(written([], KITE_COLUMNS), named).lines == ()
    with pytest.raises(BadStatement, match="It begins on 2026-01-05, not on 2026-01-01"):
        read(trades(GOOD), About("A1", "USD", ABOUT.zone, date(2026, 1, 1), None))

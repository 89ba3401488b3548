"""Our books under measurement: the posting functions, called as the product's application login calls them.

What always holds: all guards are on (append-only, chain, foreign keys, idempotency keys); every event has a fill of
its own, made before the clock starts, because the books refuse an entry that names nothing that happened. The clock
runs from the event to the answer after the commit: writing the payload as JSON is in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from . import data
from .server import PRODUCT, Server

BOOKS_TABLES = ("trading_entry", "trading_transfer", "trading_ledgeraccount", "trading_chainblock")
_FILLS = """
    INSERT INTO trading_fill (account_id, external_id, order_id, broker_event_id, instrument_id, side, quantity, price,
                              realised, financing, commission, reason, is_estimate, at, recorded_at)
    SELECT (%(accounts)s::bigint[])[n %% %(owners)s + 1], 'fill-' || n, (%(orders)s::bigint[])[n %% %(owners)s + 1],
           (%(events)s::bigint[])[n %% %(owners)s + 1], %(instrument)s, 'BUY', 1000, 1.1, 0, 0, 0, 'MARKET_ORDER',
           false, %(begin)s::timestamptz + n * interval '17 ms', %(begin)s::timestamptz + n * interval '17 ms'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n ORDER BY n"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The database's numbers of what the data name by place."""

    accounts: Sequence[int]
    books: Sequence[int]
    first_fill: int


def prepare(server: Server, fills: int) -> Numbers:
    """Accounts at a broker, their books, and `fills` fills. Returns their numbers."""
    from tests.trading.services import making
    from trading.models import BrokerEvent, Order
    from trading.services.ledger import contract, currency, ledger_account
    from trading.services.setup import ensure_instruments

    accounts, orders, events = [], [], []
    ensure_instruments()
    currency(data.CURRENCY)
    for symbol in data.CONTRACTS:
        contract(making.instrument(symbol))
    for owner in range(data.ACCOUNTS):
        account = making.make_account(f"measured-{owner}")
        order = making.make_entry(account, state="WORKING")
        making.receive(account, making.created(1, order))
        accounts.append(account)
        orders.append(order.pk)
        events.append(BrokerEvent.objects.get(account=account).pk)
    books = [ledger_account(accounts[book.owner], book.kind, book.commodity).pk for book in data.BOOKS]
    instrument = Order.objects.get(pk=orders[0]).instrument_id
    with server.application(PRODUCT) as connection:
        for first in range(0, fills, 50_000):
            connection.execute(
                _FILLS,
                {
                    "accounts": [account.pk for account in accounts],
                    "orders": orders,
                    "events": events,
                    "owners": data.ACCOUNTS,
                    "instrument": instrument,
                    "begin": data.BEGIN,
                    "first": first,
                    "last": min(first + 50_000, fills) - 1,
                },
            )
        found = connection.execute("SELECT id FROM trading_fill WHERE external_id = 'fill-0'").fetchone()
    with server.superuser(PRODUCT) as connection:
        connection.execute("VACUUM ANALYZE")
    assert found is not None
    return Numbers([account.pk for account in accounts], books, found[0])


class Books:
    """One database of ours, with one client."""

    def __init__(self, server: Server, database: str, numbers: Numbers) -> None:
        self._server, self._database, self._numbers = server, database, numbers
        self._connection = server.application(database)

    def bulk(self, first: int, count: int) -> float:
        """Post events by `ledger_post_many`, one commit a batch; seconds."""
        batches = data.batches(data.events(first, count))
        begin = time.perf_counter()
        for batch in batches:
            payload = json.dumps([self._payload(event) for event in batch])
            self._connection.execute("SELECT ledger_post_many(%s::jsonb)", [payload])
        return time.perf_counter() - begin

    def single(self, first: int, count: int, clients: int = 1) -> float:
        """Post events by `ledger_post`, one commit each, from so many clients at once; seconds."""
        rows = data.events(first, count)
        if clients == 1:
            begin = time.perf_counter()
            self._post_each(self._connection, rows)
            return time.perf_counter() - begin
        connections = [self._server.application(self._database) for _ in range(clients)]
        with ThreadPoolExecutor(clients) as pool:
            begin = time.perf_counter()
            list(pool.map(self._post_each, connections, [rows[place::clients] for place in range(clients)]))
            seconds = time.perf_counter() - begin
        for connection in connections:
            connection.close()
        return seconds

    def close(self) -> None:
        """End the client."""
        self._connection.close()

    def _post_each(self, connection: psycopg.Connection[Any], rows: Sequence[data.Event]) -> None:
        for event in rows:
            connection.execute("SELECT ledger_post(%s::jsonb)", [json.dumps(self._payload(event))])

    def _payload(self, event: data.Event) -> dict[str, Any]:
        day = event.at.date().isoformat()
        books = self._numbers.books
        return {
            "key": event.key,
            "kind": "FILL",
            "account_id": self._numbers.accounts[event.owner],
            "at": event.at.isoformat(),
            "trading_day": day,
            "value_date": day,
            "memo": "",
            "fill_id": self._numbers.first_fill + event.number,
            "transfers": [
                {
                    "debit": str(books[move.debit]),
                    "credit": str(books[move.credit]),
                    "commodity": move.commodity,
                    "amount": str(move.amount),
                }
                for move in event.moves
            ],
            "lots": [],
            "lot_closes": [],
        }

    def holds(self) -> tuple[int, str]:
        """How many transfers there are and what they add up to."""
        row = self._connection.execute("SELECT count(*), coalesce(sum(amount), 0) FROM trading_transfer").fetchone()
        assert row is not None
        return row[0], f"{Decimal(row[1]):.2f}"


def service_single(numbers: Numbers, first: int, count: int) -> float:
    """The same single entries through Django and `services.ledger.post`, as the product books a fill; seconds."""
    from trading.models import Account, Fill
    from trading.services.ledger import Draft, post

    accounts = list(Account.objects.filter(pk__in=numbers.accounts).order_by("pk"))
    fills = Fill.objects.in_bulk(range(numbers.first_fill + first, numbers.first_fill + first + count))
    rows = data.events(first, count)
    begin = time.perf_counter()
    for event in rows:
        fill = fills[numbers.first_fill + event.number]
        draft = Draft(accounts[event.owner], event.key, "FILL", event.at, fill=fill)
        for move in event.moves:
            debit, credit = data.BOOKS[move.debit], data.BOOKS[move.credit]
            draft.move(commodity=move.commodity, amount=move.amount, into=debit.kind, out_of=credit.kind)
        post(draft)
    return time.perf_counter() - begin


def table_bytes(server: Server) -> dict[str, int]:
    """What each table of the books takes, its indexes and all else included."""
    with server.superuser(PRODUCT) as connection:
        rows = connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname = ANY(%s)", [list(BOOKS_TABLES)]
        )
        return dict(rows.fetchall())


def sizes(server: Server, before: dict[str, int]) -> dict[str, float]:
    """Bytes a transfer that each table has grown by since `before`, and what each bigger index takes."""
    with server.superuser(PRODUCT) as connection:
        counted = connection.execute("SELECT count(*) FROM trading_transfer").fetchone()
        assert counted is not None
        indexes = connection.execute(
            "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index "
            "WHERE indrelid = ANY(%s::regclass[]) AND pg_relation_size(indexrelid) > 100000 ORDER BY 2 DESC",
            [list(BOOKS_TABLES)],
        ).fetchall()
    found = {name: size - before[name] for name, size in table_bytes(server).items()}
    found |= {f"index {name}": size for name, size in indexes}
    return {name: round(size / counted[0], 1) for name, size in found.items()}

"""The measured rounds: bulk and verification, single entries, balances; in this order, on one server.

What always holds: within a round everybody does the same events, one after another, in an order that turns; sums are
compared before any figure is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from . import balances, data, verification
from .books import Books, prepare, service_single, sizes, table_bytes
from .figures import Plan, Rounds
from .hordak import HordakPeer
from .server import PEERS, PRODUCT, UNCHAINED, Server
from .two_rows import TwoRows

T = TypeVar("T")
ROWS_PER_ENTRY = 1 + data.TRANSFERS_PER_ENTRY
# Numbers of events that the two-row ledger takes in one commit, far from those that it takes in batches.
ONE_COMMIT = 100_000_000


class Run:
    """One run over a fresh server."""

    def __init__(self, server: Server, plan: Plan, show: Callable[[str], None]) -> None:
        self._server, self._plan, self._show = server, plan, show
        self._rounds = Rounds()
        self._numbers = prepare(server, plan.fills)
        self._before = table_bytes(server)
        server.copy_without_chain()
        self._ours = Books(server, PRODUCT, self._numbers)
        self._unchained = Books(server, UNCHAINED, self._numbers)
        url = server.owner_url(PEERS)
        self._two_rows = TwoRows(url, "two_rows", checked=False)
        self._checked = TwoRows(url, "two_rows_checked", checked=True)
        self._hordak = HordakPeer(url) if plan.with_hordak else None

    def all(self) -> Rounds:
        """Everything; the rates of all rounds."""
        self._bulk()
        self._sizes()
        self._single()
        self._balances()
        return self._rounds

    def close(self) -> None:
        """End all clients."""
        for each in (self._ours, self._unchained, self._two_rows, self._checked, self._hordak):
            if each is not None:
                each.close()

    def _bulk(self) -> None:
        count = self._plan.bulk
        competitors: list[tuple[str, Callable[[int], float]]] = [
            ("ours", self._bulk_ours),
            ("unchained", lambda first: self._unchained.bulk(first, count)),
            ("two_rows", lambda first: self._two_rows.bulk(first, count)),
            ("two_rows_one_commit", lambda first: self._two_rows.bulk(ONE_COMMIT + first, count, count)),
            ("two_rows_checked", lambda first: self._checked.bulk(first, count)),
        ]
        if self._hordak is not None:
            competitors.append(("hordak", self._bulk_hordak))
        for number in range(self._plan.rounds):
            for name, act in _turned(competitors, number):
                self._show(f"bulk, round {number + 1}: {name}")
                seconds = act(number * count)
                self._rounds.add(f"bulk_{name}_postings_per_s", count * data.POSTINGS_PER_ENTRY / seconds)
                if name == "ours":
                    self._rounds.add("bulk_ours_rows_per_s", count * ROWS_PER_ENTRY / seconds)
            self._show(f"bulk, round {number + 1}: verify")
            rows, seconds = verification.verify()
            self._rounds.add("verify_rows_per_s", rows / seconds)
        self._compare_work()

    def _bulk_ours(self, first: int) -> float:
        before = self._wal()
        seconds = self._ours.bulk(first, self._plan.bulk)
        self._rounds.add("wal_bytes_a_posting", (self._wal() - before) / (self._plan.bulk * data.POSTINGS_PER_ENTRY))
        return seconds

    def _bulk_hordak(self, first: int) -> float:
        assert self._hordak is not None
        answer = self._hordak.bulk(first, self._plan.bulk)
        expected = data.total(data.events(0, first + self._plan.bulk))
        if answer["postings"] != self._plan.bulk * data.POSTINGS_PER_ENTRY or answer["total"] != expected:
            raise SystemExit(f"django-hordak did other work than we: {answer} instead of {expected}")
        return float(answer["seconds"])

    def _compare_work(self) -> None:
        entries = self._plan.rounds * self._plan.bulk
        total = data.total(data.events(0, entries))
        transfers = entries * data.TRANSFERS_PER_ENTRY
        for name, holds, expected in (
            ("our books", self._ours.holds(), transfers),
            ("our books without chain", self._unchained.holds(), transfers),
            ("the two-row ledger with a check", self._checked.holds(), 2 * transfers),
        ):
            if holds != (expected, total):
                raise SystemExit(f"{name} did other work: {holds} instead of {(expected, total)}")

    def _wal(self) -> int:
        with self._server.superuser(PRODUCT) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    def _sizes(self) -> None:
        parts = sizes(self._server, self._before)
        self._rounds.facts["bytes_a_transfer"] = round(
            sum(size for name, size in parts.items() if not name.startswith("index ")), 1
        )
        self._rounds.facts["bytes_by_part"] = parts

    def _single(self) -> None:
        count, clients = self._plan.single, self._plan.clients
        first = self._plan.rounds * self._plan.bulk
        competitors: list[tuple[str, int, Callable[[int], float]]] = [
            ("ours", count, lambda begin: self._ours.single(begin, count)),
            ("ours_by_service", count, lambda begin: service_single(self._numbers, begin, count)),
            (
                f"ours_{clients}_clients",
                clients * count,
                lambda begin: self._ours.single(begin, clients * count, clients),
            ),
        ]
        if self._hordak is not None:
            competitors.append(("hordak", count, self._single_hordak))
        for number in range(self._plan.rounds):
            for name, entries, act in _turned(competitors, number):
                self._show(f"single, round {number + 1}: {name}")
                self._rounds.add(f"single_{name}_entries_per_s", entries / act(first))
                first += entries if name != "hordak" else 0

    def _single_hordak(self, first: int) -> float:
        assert self._hordak is not None
        return float(self._hordak.single(first, self._plan.single)["seconds"])

    def _balances(self) -> None:
        self._show("balances: filling the books")
        balances.fill(self._server, self._numbers, self._plan.stock_postings // data.POSTINGS_PER_ENTRY)
        self._show("balances: snapshot")
        balances.snapshot()
        self._ours.bulk(self._plan.fills - self._plan.tail, self._plan.tail)
        self._rounds.facts["balances_postings"] = 2 * self._ours.holds()[0]
        for number in range(self._plan.readings):
            self._show(f"balances, reading {number + 1}")
            for name, seconds in balances.read(number).items():
                self._rounds.add(f"balances_{name}_per_s", 1 / seconds)
                self._rounds.add(f"balances_{name}_ms", 1000 * seconds)


def _turned(rows: list[T], by: int) -> list[T]:
    place = by % len(rows)
    return rows[place:] + rows[:place]

"""Cases in numbers: how many of which kind, how soon they were found and how soon they were over, day by day.

What always holds: everything is counted from facts (cases, their steps, runs, the broker's events), nothing is kept;
times are on the accounts' clocks, days are UTC's; a case whose begin at the broker is not known counts in no time to
detect, and one that never opened in no time to resolve.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count

from reconciliation.models import Discrepancy
from trading.models import Account

ENDED = "('CLOSED', 'CLEARED')"


@dataclass(frozen=True, slots=True)
class Spread:
    """So many durations: the middle one, the one that nine of ten do not exceed, and the longest. Seconds."""

    number: int
    median: float
    p90: float
    longest: float


@dataclass(frozen=True, slots=True)
class Day:
    """One day: cases first seen, confirmed and ended in it, and what the times of those came to."""

    day: date
    seen: int
    opened: int
    ended: int
    detect: Spread | None
    resolve: Spread | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """The whole, over a span of days; `detect_runs` counts complete runs from the event to the one that saw it."""

    by_kind: list[tuple[str, dict[str, int]]]
    by_severity: list[tuple[str, dict[str, int]]]
    days: list[Day]
    detect: Spread | None
    detect_runs: Spread | None
    resolve: Spread | None
    begin_unknown: int


def statistics(*, until: datetime, days: int, account: Account | None = None) -> Statistics:
    """Count the cases that were first seen, confirmed or ended in the `days` days up to `until`, its day included."""
    first = until.date() - timedelta(days=days - 1)
    wanted = {"account": account.pk if account is not None else None, "since": first, "until": until}
    detect, detect_runs = _rows(_DETECT + _PER_DAY, wanted), _rows(_DETECT + _RUNS, wanted)
    resolve, counts = _rows(_RESOLVE + _PER_DAY, wanted), _rows(_COUNTS, wanted)
    numbers = {row[0]: row[1:] for row in counts}
    found = {row[0]: Spread(*row[1:]) for row in detect if row[0] is not None}
    over = {row[0]: Spread(*row[1:]) for row in resolve if row[0] is not None}
    series = []
    for place in range(days):
        day = first + timedelta(days=place)
        seen, opened, ended = numbers.get(day, (0, 0, 0))
        series.append(Day(day, int(seen), int(opened), int(ended), found.get(day), over.get(day)))
    whole = _whole(detect)
    seen_in_all = sum(day.seen for day in series)
    return Statistics(
        by_kind=_by("kind", account),
        by_severity=_by("severity", account),
        days=series,
        detect=whole,
        detect_runs=_whole(detect_runs),
        resolve=_whole(resolve),
        begin_unknown=seen_in_all - (whole.number if whole is not None else 0),
    )


def _by(what: str, account: Account | None) -> list[tuple[str, dict[str, int]]]:
    """How many cases stand in each state, by one of their columns; the most frequent first."""
    rows = Discrepancy.objects.all() if account is None else Discrepancy.objects.filter(account=account)
    found: dict[str, dict[str, int]] = {}
    for row in rows.order_by().values(what, "state").annotate(number=Count("pk")):
        found.setdefault(str(row[what]), {})[str(row["state"])] = int(row["number"])
    return sorted(found.items(), key=lambda pair: (-sum(pair[1].values()), pair[0]))


def _rows(query: str, wanted: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, wanted)
        return list(cursor.fetchall())


def _whole(rows: list[tuple[Any, ...]]) -> Spread | None:
    """The row of all days together, which `GROUPING SETS` gives without a day."""
    found = next((row for row in rows if row[0] is None), None)
    return Spread(*found[1:]) if found is not None and found[1] else None


_SPREAD = """
    count(*), coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY {took}), 0),
    coalesce(percentile_cont(0.9) WITHIN GROUP (ORDER BY {took}), 0), coalesce(max({took}), 0)::float8
"""
_PER_DAY = f"""
    SELECT day, {_SPREAD.format(took="took")} FROM spans GROUP BY GROUPING SETS ((day), ())
"""
_RUNS = f"""
    , runs AS (
        SELECT (SELECT count(*) FROM reconciliation_run r
                WHERE r.account_id = spans.account_id AND r.status = 'COMPLETE' AND r.trigger <> 'STATEMENT'
                  AND r.at > spans.began AND r.at <= spans.found) AS took FROM spans)
    SELECT NULL::date, {_SPREAD.format(took="took")} FROM runs
"""
_DETECT = """
    WITH spans AS (
        SELECT d.account_id, r.at AS found, began.at AS began, (r.at AT TIME ZONE 'UTC')::date AS day,
               greatest(extract(epoch FROM r.at - began.at), 0)::float8 AS took
        FROM reconciliation_discrepancy d JOIN reconciliation_run r ON r.id = d.first_run_id
        CROSS JOIN LATERAL (
            SELECT min(e.at) AS at FROM trading_brokerevent e
            WHERE e.account_id = d.account_id AND e.id IN (
                SELECT word::bigint FROM jsonb_array_elements_text(d.evidence->'events') word
                WHERE word ~ '^[0-9]{1,18}$')
        ) began
        WHERE began.at IS NOT NULL AND (r.at AT TIME ZONE 'UTC')::date >= %(since)s AND r.at <= %(until)s
          AND (%(account)s::bigint IS NULL OR d.account_id = %(account)s))
"""
"""From the earliest of the broker's events behind a case to the run that saw it first."""
_RESOLVE = f"""
    WITH spans AS (
        SELECT (e.at AT TIME ZONE 'UTC')::date AS day, greatest(extract(epoch FROM e.at - o.at), 0)::float8 AS took
        FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
        CROSS JOIN LATERAL (
            SELECT b.at FROM reconciliation_discrepancyevent b
            WHERE b.discrepancy_id = e.discrepancy_id AND b.sequence < e.sequence AND b.kind = 'OPENED'
            ORDER BY b.sequence DESC LIMIT 1) o
        WHERE e.to_state IN {ENDED} AND e.from_state NOT IN {ENDED} AND e.from_state <> 'SUSPECTED'
          AND (e.at AT TIME ZONE 'UTC')::date >= %(since)s AND e.at <= %(until)s
          AND (%(account)s::bigint IS NULL OR d.account_id = %(account)s))
"""
"""From the confirmation of a case to its end, each time that it ended."""
_COUNTS = f"""
    SELECT (e.at AT TIME ZONE 'UTC')::date AS day,
           count(*) FILTER (WHERE e.sequence = 1), count(*) FILTER (WHERE e.kind = 'OPENED'),
           count(*) FILTER (WHERE e.to_state IN {ENDED} AND e.from_state NOT IN {ENDED})
    FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
    WHERE (e.at AT TIME ZONE 'UTC')::date >= %(since)s AND e.at <= %(until)s
      AND (%(account)s::bigint IS NULL OR d.account_id = %(account)s)
    GROUP BY 1
"""
